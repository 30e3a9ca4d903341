"""Labelled data sets: a file is opened, read by the reader of its suffix, and checked.

A reader is one function in one file of this folder, entered with ``@FORMATS.register(".suffix")``.
It takes no memory that the file's own size does not justify, and runs nothing found in the file.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lipcert.errors import InputError, NothingEvaluatedError
from lipcert.registry import Registry

BLOCK_VALUES = 1 << 20
"""Values looked at in one go when checking samples: bounds the memory of a check."""

MAX_EXACT_WHOLE = 2.0**53
"""Whole numbers of at most this size are exact in float64."""


@dataclass(frozen=True)
class Source:
    """An open regular file of ``size`` bytes; ``max_bytes`` limits what reading it may take."""

    path: Path
    stream: BinaryIO
    size: int
    max_bytes: int

    @property
    def name(self) -> str:
        """The file name, for the place of an error."""
        return self.path.name

    def sha256(self) -> str:
        """The hex digest of the whole file."""
        digest = hashlib.sha256()
        self.stream.seek(0)
        while block := self.stream.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


@dataclass(frozen=True)
class Column:
    """One array as read, with the place it came from, such as ``data.npz[x]``."""

    values: np.ndarray
    place: str


Reader = Callable[[Source, frozenset[str]], Mapping[str, Column]]
"""Reads what is wanted of ``{"x", "y"}``; without "y" only if the format has no place for it."""

FORMATS: Registry[Reader] = Registry("data format")


@dataclass(frozen=True)
class Dataset:
    """Samples and their labels, checked.

    Parameters
    ----------
    x : (samples, *shape), finite, dtype as stored (floats, integers or bool) in native byte order.
    y : (samples,) int64: class indices from 0, or only -1 and +1.
    path : the file the samples came from, as given.
    sha256 : of that file; with labels from a second file, of the two hex digests put together.
    name : a short name for reports.
    """

    x: np.ndarray
    y: np.ndarray
    path: str
    sha256: str
    name: str


def load_dataset(
    path: str | Path, *, labels: str | Path | None = None, max_bytes: int = 8 << 30
) -> Dataset:
    """Read a labelled data set.

    Parameters
    ----------
    path : a file whose suffix is in ``FORMATS``.
    labels : a file with the labels, which then replace any in ``path``; for a format without
        labels, ``y.npy`` beside ``x.npy`` (``a_y.npy`` beside ``a_x.npy``) is found unasked.
    max_bytes : limit for each file, on its size and on the arrays read from it, in bytes.

    Raises
    ------
    InputError : a file that cannot be used, or samples and labels that do not go together.
    NothingEvaluatedError : no sample.
    """
    path = Path(path)
    wanted = frozenset({"x", "y"} if labels is None else {"x"})
    columns, digest = _read(path, wanted, max_bytes)
    samples, classes = columns["x"], columns.get("y")
    if classes is None:
        beside = _labels_beside(path) if labels is None else Path(labels)
        others, digest_of_labels = _read(beside, frozenset({"y"}), max_bytes)
        classes = others["y"]
        digest = hashlib.sha256((digest + digest_of_labels).encode()).hexdigest()
    x = _checked_samples(samples)
    y = _checked_labels(classes, len(x))
    return Dataset(x, y, str(path), digest, path.stem.removesuffix("_x"))


def _read(path: Path, wanted: frozenset[str], max_bytes: int) -> tuple[Mapping[str, Column], str]:
    """The wanted columns of a file and its sha256."""
    with _open_source(path, max_bytes) as source:
        suffix = path.suffix.lower()
        if suffix not in FORMATS:
            finding = f"has the suffix {suffix!r}, which no data format reads"
            raise InputError(path.name, finding, f"choose one of: {', '.join(sorted(FORMATS))}")
        return FORMATS[suffix](source, wanted), source.sha256()


@contextmanager
def _open_source(path: Path, max_bytes: int) -> Iterator[Source]:
    """Open a regular file that is neither empty nor above ``max_bytes``."""
    place = path.name or str(path)
    try:
        size = _file_size(path, place)
        if size == 0:
            raise InputError(place, "is empty (0 bytes)", "save the data again")
        if size > max_bytes:
            finding = f"is {size} bytes, above the limit of {max_bytes}"
            raise InputError(place, finding, "keep fewer samples or raise the limit")
        with path.open("rb") as stream:
            yield Source(path, stream, size, max_bytes)
    except FileNotFoundError:
        finding = f"does not exist in {str(path.parent)!r}"
        raise InputError(place, finding, "check the path") from None
    except OSError as error:
        finding = f"cannot be read ({error.strerror or error})"
        raise InputError(place, finding, "check the path and its permissions") from None


def _file_size(path: Path, place: str) -> int:
    """The size of a regular file in bytes; anything else, which could block or have no end, no."""
    try:
        status = path.stat()
    except ValueError as error:
        raise InputError(repr(place), f"cannot be a path ({error})", "check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(place, "is a folder", "name the data file in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(place, "is not a regular file", "save the data in one")
    return status.st_size


def _labels_beside(path: Path) -> Path:
    """``y.npy`` for ``x.npy`` and ``a_y.npy`` for ``a_x.npy``, where that file is there."""
    if path.stem != "x" and not path.stem.endswith("_x"):
        raise InputError(path.name, "holds samples without labels", "pass --labels")
    beside = path.with_name(path.stem[:-1] + "y" + path.suffix)
    if not beside.is_file():
        finding = f"holds samples without labels, and there is no {beside.name} beside it"
        raise InputError(path.name, finding, "pass --labels")
    return beside


def _checked_samples(column: Column) -> np.ndarray:
    """The samples, found to be there, to hold values, and all of them finite."""
    x, place = column.values, column.place
    if x.ndim == 0:
        raise InputError(place, "is a single number", "save an array of shape (samples, ...)")
    if len(x) == 0:
        raise NothingEvaluatedError(place, "holds no samples", "give at least one sample")
    if x.size == 0:
        finding = f"has shape {x.shape}: its samples hold no values"
        raise InputError(place, finding, "save an array of shape (samples, ...)")
    if x.dtype.kind == "f":
        step = max(1, BLOCK_VALUES * len(x) // x.size)
        for start in range(0, len(x), step):
            block = x[start : start + step].reshape(min(step, len(x) - start), -1)
            wrong = np.argwhere(~np.isfinite(block))
            if len(wrong):
                row, cell = wrong[0]
                finding = f"sample {start + row} holds {block[row, cell]}"
                raise InputError(place, finding, "repair or remove that sample (counted from 0)")
    return x


def _checked_labels(column: Column, samples: int) -> np.ndarray:
    """The labels as (samples,) int64; a column of shape (samples, 1) is accepted."""
    y, place = column.values, column.place
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2:
        finding = f"has shape {y.shape}: one-hot labels or scores, not class indices"
        raise InputError(place, finding, "save y.argmax(axis=1)")
    if y.ndim != 1:
        finding = f"has shape {y.shape} where labels take ({samples},)"
        raise InputError(place, finding, "save one class index a sample")
    if len(y) != samples:
        finding = f"holds {len(y)} labels for {samples} samples"
        raise InputError(place, finding, "give one label a sample")
    if y.dtype.kind == "f":
        y = y.astype(np.float64)
        whole = (np.abs(y) <= MAX_EXACT_WHOLE) & (y == np.floor(y))
    else:
        whole = y <= np.iinfo(np.int64).max
    _refuse_label(place, y, ~whole, "not a class index", "save whole numbers counted from 0")
    negative = (y < 0) & ~np.all((y == -1) | (y == 1))
    _refuse_label(place, y, negative, "below zero", "number the classes from 0")
    return y.astype(np.int64)


def _refuse_label(place: str, y: np.ndarray, wrong: np.ndarray, what: str, remedy: str) -> None:
    """Raise for the first sample whose label is ``wrong``."""
    if wrong.any():
        first = int(np.argmax(wrong))
        finding = f"the label of sample {first} is {y[first]}, {what}"
        raise InputError(place, finding, remedy)
