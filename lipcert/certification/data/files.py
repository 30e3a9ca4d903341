"""Files and folders that data come from: regular, readable, and hashed a block at a time."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from lipcert.errors import InputError

HASHED_AT_ONCE = 1 << 20
"""Bytes of a file in memory while it is hashed."""


class Origin(Protocol):
    """Where samples or labels came from."""

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Name and size in bytes of each file, in an order of its own that does not change."""
        ...

    def digest(self) -> str:
        """The sha256 of all that is there, in hex; damage that the format can tell is told."""
        ...

    def check_unchanged(self) -> None:
        """Raise InputError for a file that is another one than when it was opened."""
        ...


@dataclass(frozen=True)
class Stamp:
    """What tells whether a file has been written to or replaced: size, time in ns, inode."""

    path: Path
    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Of a file as it is now."""
        with failures_told(path):
            status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ino)

    def check(self) -> None:
        """Raise InputError unless the file is as it was."""
        if Stamp.of(self.path) != self:
            raise InputError(
                self.path.name, "was changed while it was in use", "run again with files at rest"
            )


def _nothing_to_verify() -> None:
    """For formats without checksums of their own."""


@dataclass(frozen=True)
class FileOrigin:
    """One regular file of ``size`` bytes; ``verify`` checks the format's own checksums.

    What is read and what is hashed are the same: the file must not change from here on.
    """

    path: Path
    size: int
    verify: Callable[[], None] = _nothing_to_verify
    stamp: Stamp = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stamp", Stamp.of(self.path))

    def sizes(self) -> Iterator[tuple[str, int]]:
        yield self.path.name, self.size

    def digest(self) -> str:
        self.verify()
        found = file_digest(self.path)
        self.check_unchanged()
        return found

    def check_unchanged(self) -> None:
        self.stamp.check()


@dataclass(frozen=True)
class FolderOrigin:
    """The files of a folder that are read; ``names`` are their paths in it, with ``/``."""

    root: Path
    names: Sequence[str]

    def sizes(self) -> Iterator[tuple[str, int]]:
        for name in sorted(self.names):
            yield name, regular_size(self.root / name, name)

    def digest(self) -> str:
        total = hashlib.sha256()
        for name, size in self.sizes():
            line = f"{name}\0{size}\0{file_digest(self.root / name)}\n"
            total.update(line.encode("utf-8", "surrogateescape"))
        return total.hexdigest()

    def check_unchanged(self) -> None:
        """Nothing: its many files are not looked at twice."""


@dataclass(frozen=True, eq=False)
class MemoryOrigin:
    """Arrays that were given in memory, hashed by their bytes in row-major order."""

    arrays: tuple[np.ndarray, ...]

    def sizes(self) -> Iterator[tuple[str, int]]:
        return iter(())

    def digest(self) -> str:
        total = hashlib.sha256()
        for array in self.arrays:
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()

    def check_unchanged(self) -> None:
        """Nothing: there is no file."""


def file_digest(path: Path) -> str:
    """The sha256 of a file in hex."""
    total = hashlib.sha256()
    with failures_told(path), path.open("rb") as stream:
        while block := stream.read(HASHED_AT_ONCE):
            total.update(block)
    return total.hexdigest()


def open_file(path: Path) -> tuple[BinaryIO, int]:
    """A regular file that is not empty, open for reading, and its size in bytes.

    Raises
    ------
    InputError : the file is not there, cannot be read, is empty, or is not a regular file.
    """
    with failures_told(path):
        size = regular_size(path, path.name)
        if size == 0:
            raise InputError(path.name, "is empty (0 bytes)", "save the data again")
        return path.open("rb"), size


def regular_size(path: Path, place: str) -> int:
    """The size of a regular file in bytes; anything else, which could block or have no end, no."""
    with failures_told(path):
        try:
            status = path.stat()
        except ValueError as error:
            finding = f"cannot be a path ({error})"
            raise InputError(repr(place), finding, "check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(place, "is a folder", "name the data file in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(place, "is not a regular file", "save the data in one")
    return status.st_size


def check_inside(root: Path, name: str) -> None:
    """Refuse what a symbolic link leads out of the folder ``root``."""
    if not (root / name).resolve().is_relative_to(root.resolve()):
        finding = "is a link that leads out of the data folder"
        raise InputError(name, finding, "copy what it points to into the folder")


@contextmanager
def failures_told(path: Path) -> Iterator[None]:
    """Whatever the system refuses for ``path``, as one sentence."""
    place = path.name or str(path)
    try:
        yield
    except FileNotFoundError:
        finding = f"does not exist in {str(path.parent)!r}"
        raise InputError(place, finding, "check the path") from None
    except OSError as error:
        finding = f"cannot be read ({error.strerror or error})"
        raise InputError(place, finding, "check the path and its permissions") from None
