"""Report files: refused before the work begins, and written whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lipcert

Run = Callable[..., Any]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computing anything fails the test."""

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("work has begun")

    for name in ("inspect", "bound", "certify"):
        monkeypatch.setattr(lipcert, name, fail, raising=False)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--report", "json=there.json"], "there.json: exists already; pass --overwrite"),
        (["--radii", "there.json"], "exists already"),
        (["--report", "json=no/out.json"], "does not exist"),
        (["--report", "json=."], "is a folder"),
        (["--report", "json=/dev/null", "--overwrite"], "is not a regular file"),
        (["--report", "json=data.npz", "--overwrite"], "is read by this run"),
        (["--report", "json=mlp.onnx", "--overwrite"], "is read by this run"),
        (["--report", "json=a", "--radii", "./a"], "is named twice"),
        (["--report", "json=a", "--report", "text=a"], "is named twice"),
    ],
)
def test_targets_are_checked_first(
    run: Run, mlp: Path, data: Path, tmp_path: Path, options: list[str], fragment: str
) -> None:
    Path("there.json").write_text("kept")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = run("certify", mlp, data, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fragment in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite_replaces(run: Run, mlp: Path) -> None:
    Path("out.json").write_text("old")
    words = ("bound", mlp, "--method", "autolip", "--report", "json=out.json")
    assert run(*words).exit_code == 2
    assert Path("out.json").read_text() == "old"
    assert run(*words, "--overwrite").exit_code == 0
    assert "lipcert/bound/1" in Path("out.json").read_text()


@pytest.mark.parametrize(
    ("crash", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (KeyboardInterrupt(), 130),
        (RuntimeError("boom"), 4),
    ],
)
def test_a_crash_leaves_nothing_half_written(
    run: Run,
    mlp: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    crash: BaseException,
    code: int,
) -> None:
    def fail(*args: object) -> None:
        raise crash

    Path("out.json").write_text("old")
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("os.fsync", fail)
    result = run("certify", mlp, data, "--report", "json=out.json", "--radii", "r", "--overwrite")
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert Path("out.json").read_text() == "old"
