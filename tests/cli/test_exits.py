"""Every way a run can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lipcert
from lipcert.errors import (
    InputError,
    NothingEvaluatedError,
    SolverError,
    SoundnessError,
    UnboundedError,
    UnsupportedError,
)

Run = Callable[..., Any]
LIPCERT = [sys.executable, "-m", "lipcert_cli"]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(lipcert, "bound", fail, raising=False)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (InputError, 2),
        (UnsupportedError, 3),
        (UnboundedError, 3),
        (SolverError, 4),
        (NothingEvaluatedError, 5),
        (SoundnessError, 6),
    ],
)
def test_each_error_has_its_code(
    run: Run, mlp: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, code: int
) -> None:
    failing(monkeypatch, kind("the place", "is bad", "mend it"))
    result = run("bound", mlp)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == "error: the place: is bad; mend it\n"


@pytest.mark.parametrize(
    ("error", "code", "fragment"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 4, "not enough memory"),
        (ValueError("bad\nthing"), 4, "internal error (ValueError: bad thing); please report it"),
        (AssertionError(), 4, "internal error (AssertionError"),
    ],
)
def test_the_unexpected_is_one_line(
    run: Run,
    mlp: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    fragment: str,
) -> None:
    failing(monkeypatch, error)
    result = run("bound", mlp)
    assert (result.exit_code, result.stdout) == (code, "")
    assert fragment in result.stderr
    assert result.stderr.count("\n") == 1


def test_tracebacks_are_on_request(run: Run, mlp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ValueError("boom"))
    assert "Traceback" not in run("bound", mlp, "-v").stderr
    told = run("bound", mlp, "-vv").stderr
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("error: internal error (ValueError: boom)")


def test_control_characters_of_a_message_are_escaped(run: Run) -> None:
    result = run("bound", "no\x1b[31m\n.onnx")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error(mlp: Path) -> None:
    command = [*LIPCERT, "inspect", str(mlp)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(mlp: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*LIPCERT, "inspect", str(mlp)], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "error: stdout: cannot be written: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_interrupt(mlp: Path, tmp_path: Path) -> None:
    code = (
        "import time, lipcert\n"
        "from lipcert_cli.main import cli\n"
        "def wait(*args, **options): print('ready', flush=True); time.sleep(60)\n"
        "lipcert.bound = wait\n"
        f"cli.main(['bound', {str(mlp)!r}, '--report', 'json=out.json'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=30)
    assert (process.returncode, out, told) == (130, "", "interrupted\n")
    assert not (tmp_path / "out.json").exists()
