"""Report files: checked before the work begins, and written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from lipcert.errors import InputError


def check_targets(
    targets: Iterable[Path], *, overwrite: bool = False, inputs: Iterable[Path] = ()
) -> None:
    """Refuse files that could not be written later, without touching any.

    Parameters
    ----------
    overwrite : whether existing files may be replaced.
    inputs : files that the run reads, which may not be replaced in any case.

    Raises
    ------
    InputError : a target that exists, is named twice, is an input, or cannot be created.
    """
    taken = {path.resolve() for path in inputs}
    seen: set[Path] = set()
    for target in targets:
        place = target.resolve()
        if place in seen:
            raise InputError(str(target), "is named twice as an output", "name two files")
        if place in taken:
            raise InputError(str(target), "is read by this run", "name another output file")
        seen.add(place)
        _check_target(target, overwrite)


def _check_target(target: Path, overwrite: bool) -> None:
    folder = target.resolve().parent
    try:
        exists = target.exists()
        if exists and not target.is_file():
            kind = "a folder" if target.is_dir() else "not a regular file"
            raise InputError(str(target), f"is {kind}", "name a file to write")
        if exists and not overwrite:
            raise InputError(str(target), "exists already", "pass --overwrite to replace it")
        if not folder.is_dir():
            raise InputError(str(target), f"its folder {str(folder)!r} does not exist", "make it")
        descriptor, probe = _temporary(target.resolve())
        os.close(descriptor)
        probe.unlink()
    except (OSError, ValueError) as error:
        raise _unwritable(target, error) from error


def write_atomic(target: Path, content: str | bytes, *, overwrite: bool = False) -> None:
    """Write a file, text in UTF-8: to a temporary file beside it, which then takes its name.

    Raises
    ------
    InputError : it cannot be written, or it has come into being since it was checked; what was
        there before is unchanged.
    """
    place = target.resolve()
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    probe: Path | None = None
    try:
        descriptor, probe = _temporary(place)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if not overwrite and place.exists():
            raise InputError(str(target), "exists already", "pass --overwrite to replace it")
        probe.replace(place)
        probe = None
    except (OSError, ValueError) as error:
        raise _unwritable(target, error) from error
    finally:
        if probe is not None:
            probe.unlink(missing_ok=True)


def _temporary(place: Path) -> tuple[int, Path]:
    """A new, empty file beside ``place``, open for writing; its permissions follow the umask."""
    path = place.with_name(f".lipcert-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path


def _unwritable(target: Path, error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(str(target), f"cannot be written: {reason}", "name a file that can be")


def free_name(target: Path) -> Path:
    """``target``, or with a number before its suffix where a file of that name exists."""
    place, number = target, 1
    while place.exists():
        place = target.with_stem(f"{target.stem}-{number}")
        number += 1
    return place
