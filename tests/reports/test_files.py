"""Report files: refused early, or written whole."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from lipcert.errors import InputError
from lipcert.reports.files import check_targets, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "größe.txt"
    write_atomic(target, "ü\udcff\n")
    assert target.read_bytes() == "ü\\udcff\n".encode()
    with pytest.raises(InputError, match=r"exists already; pass --overwrite"):
        write_atomic(target, "new")
    write_atomic(target, "new", overwrite=True)
    assert target.read_text() == "new"
    assert names(tmp_path) == ["größe.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", "")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("crash", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_crash_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: BaseException, step: str
) -> None:
    def fail(*args: object) -> None:
        raise crash

    target = tmp_path / "report.json"
    target.write_text("before")
    monkeypatch.setattr(step, fail)
    wanted = InputError if isinstance(crash, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        write_atomic(target, "after", overwrite=True)
    assert target.read_text() == "before"
    assert names(tmp_path) == ["report.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", "after", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"


def test_targets_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    there.write_text("kept")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    refused = {
        "exists already": [there],
        "is a folder": [tmp_path / "folder"],
        "does not exist": [tmp_path / "no" / "a"],
        "is named twice": [tmp_path / "a", Path("a")],
        "is not a regular file": [Path(os.devnull)],
        "cannot be written": [tmp_path / ("a" * 300)],
    }
    for finding, targets in refused.items():
        with pytest.raises(InputError, match=finding):
            check_targets(targets, overwrite=finding != "exists already")
    with pytest.raises(InputError, match="is read by this run"):
        check_targets([Path("there")], overwrite=True, inputs=[there])
    assert there.read_text() == "kept"
    assert names(tmp_path) == ["folder", "there"]


def test_checking_touches_nothing(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("kept")
    check_targets([there, tmp_path / "new"], overwrite=True)
    assert there.read_text() == "kept"
    assert names(tmp_path) == ["there"]
