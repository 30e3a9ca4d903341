"""NumPy's ``.npy`` files, read without pickle and without trusting what the header declares.

The header is matched against a pattern, not evaluated: only plain numbers are accepted, so its
grammar is small.  Format: numpy.lib.format, versions 1.0, 2.0 and 3.0.
"""

from __future__ import annotations

import math
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from lipcert.certification.data.arrays import Bytes, FileBytes, StoredSamples
from lipcert.certification.data.files import FileOrigin, open_file
from lipcert.certification.data.formats import (
    FORMATS,
    Format,
    Opened,
    Request,
    by_suffix,
    check_sample_shape,
)
from lipcert.certification.data.labels import Labels
from lipcert.errors import InputError

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000
"""Longest header read, in bytes; NumPy's own limit, and above any header of plain numbers."""
MAX_DIMENSIONS = 32

_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_NUMBERS = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_ENTRY = re.compile(
    r"""(?P<quote>['"])(?P<key>descr|fortran_order|shape)(?P=quote)\s*:\s*
    (?P<value>True|False|'[^']*'|"[^"]*"|\([-\d\sL,]*\)|\[.*\])\s*,?\s*""",
    re.VERBOSE | re.DOTALL,
)
_RESAVE = "save it again with np.save or np.savez"
_PLAIN = "save plain numbers with np.savez(x=..., y=...)"
_KINDS = {
    "O": "holds Python objects",
    "U": "holds text",
    "S": "holds text",
    "a": "holds text",
    "c": "holds complex numbers",
    "M": "holds dates",
    "m": "holds time differences",
    "V": "holds raw bytes (a type that numpy alone does not know, such as bfloat16)",
    "[": "holds structured records",
}


@dataclass(frozen=True)
class Header:
    """What an npy header declares, and the bytes that come before the values."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int

    @property
    def declared(self) -> int:
        """Bytes of the whole file by the header; a Python int, so nothing overflows."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def open_npy(request: Request) -> Opened:
    """One array: the samples where they are wanted, else the labels."""
    path = request.path
    stream, size = open_file(path)
    origin = FileOrigin(path, size)
    with ExitStack() as failed:
        failed.callback(stream.close)
        array = stored_array(FileBytes(stream), stream, size, path.name)
        if "x" not in request.wanted:
            return Opened(origin, labels=Labels(array.array(), path.name))
        beside = _labels_beside(path) if "y" in request.wanted else None
        samples = checked_samples(array)
        failed.pop_all()
    return Opened(origin, samples, labels_beside=beside)


FORMATS.register("npy")(Format(".npy", by_suffix(".npy"), open_npy))


def _labels_beside(path: Path) -> Path:
    """``y.npy`` for ``x.npy`` and ``a_y.npy`` for ``a_x.npy``, where that file is there."""
    if path.stem != "x" and not path.stem.endswith("_x"):
        raise InputError(path.name, "holds samples without labels", "pass --labels")
    beside = path.with_name(path.stem[:-1] + "y" + path.suffix)
    if not beside.is_file():
        finding = f"holds samples without labels, and there is no {beside.name} beside it"
        raise InputError(path.name, finding, "pass --labels")
    return beside


def stored_array(source: Bytes, stream: IO[bytes], held: int, place: str) -> StoredSamples:
    """The array of the ``held`` bytes of ``source``; ``stream`` is at their start.

    Raises
    ------
    InputError : not an npy array of plain numbers, or one that declares another size than
        ``held``: said before memory for the values is taken.
    """
    header = read_header(stream, place)
    if header.declared != held:
        finding = (
            f"declares {header.dtype} of shape {header.shape}, {header.declared} bytes with its "
            f"header, and holds {held} bytes"
        )
        less = header.declared > held
        remedy = f"it is cut short: {_RESAVE}" if less else "save one array a file with np.save"
        raise InputError(place, finding, remedy)
    return StoredSamples(
        source, place, header.shape, header.dtype, header.offset, header.fortran_order, _RESAVE
    )


def checked_samples(array: StoredSamples) -> StoredSamples:
    """The array, found to hold samples."""
    if not array.declared:
        finding = "is a single number"
        raise InputError(array.place, finding, "save an array of shape (samples, ...)")
    check_sample_shape(len(array), array.shape, array.dtype.itemsize, array.place)
    return array


def read_header(stream: IO[bytes], place: str) -> Header:
    """Magic, version, length and dictionary of an npy file; reads at most ``MAX_HEADER`` bytes."""
    start = stream.read(len(MAGIC) + 2)
    if start[: len(MAGIC)] != MAGIC:
        raise InputError(place, "is not an npy array (wrong first bytes)", _RESAVE)
    version = tuple(start[len(MAGIC) :])
    if version not in _LENGTH_BYTES:
        found = ".".join(map(str, version)) or "unreadable"
        raise InputError(place, f"npy format version {found} is not known", _RESAVE)
    width = _LENGTH_BYTES[version]
    length = int.from_bytes(_exactly(stream, width, place), "little")
    if length > MAX_HEADER:
        finding = f"its header declares {length} bytes, above {MAX_HEADER}"
        raise InputError(place, finding, _PLAIN)
    encoding = "utf-8" if version == (3, 0) else "latin-1"
    entries = _entries(_exactly(stream, length, place).decode(encoding, "replace"), place)
    return Header(
        _dtype(entries["descr"], place),
        _shape(entries["shape"], place),
        _flag(entries["fortran_order"], place),
        len(start) + width + length,
    )


def _exactly(stream: IO[bytes], count: int, place: str) -> bytes:
    """The next ``count`` bytes of a header."""
    found = stream.read(count)
    if len(found) != count:
        raise InputError(place, "ends inside its header: it is cut short", _RESAVE)
    return found


def _entries(text: str, place: str) -> dict[str, str]:
    """The three entries of the header's dictionary, as text."""
    body = text.strip()
    inner = body[1:-1].strip() if body[:1] == "{" and body[-1:] == "}" else ""
    entries: dict[str, str] = {}
    position = 0
    while match := _ENTRY.match(inner, position):
        entries[match["key"]] = match["value"]
        position = match.end()
    if position != len(inner) or len(entries) != 3:
        raise InputError(place, f"its header cannot be read ({text[:60].strip()!r})", _RESAVE)
    return entries


def _dtype(value: str, place: str) -> np.dtype:
    """The dtype of a ``descr`` such as ``'<f4'``, if it is one of plain numbers."""
    descr = value.strip("'\"")
    order, code = (descr[0], descr[1:]) if descr[:1] in ("<", ">", "|", "=") else ("=", descr)
    if code in _NUMBERS:
        return np.dtype(order + code)
    what = _KINDS.get(code[:1], f"has the type {descr[:20]!r}, which is not read")
    raise InputError(place, what, _PLAIN)


def _shape(value: str, place: str) -> tuple[int, ...]:
    """The shape, with no negative dimension and a size that an address space could hold."""
    cells = [cell.strip().removesuffix("L") for cell in value[1:-1].split(",")]
    if cells[-1] == "":
        cells.pop()
    if not value.startswith("(") or not all(re.fullmatch(r"-?[0-9]{1,20}", c) for c in cells):
        raise InputError(place, f"its header declares the shape {value[:60]}", _RESAVE)
    shape = tuple(map(int, cells))
    if any(size < 0 for size in shape):
        finding = f"its header declares a negative dimension: {shape}"
        raise InputError(place, finding, _RESAVE)
    if len(shape) > MAX_DIMENSIONS or math.prod(max(size, 1) for size in shape) > sys.maxsize // 8:
        raise InputError(place, f"its header declares an impossible shape: {shape}", _RESAVE)
    return shape


def _flag(value: str, place: str) -> bool:
    """The value of ``fortran_order``."""
    if value not in ("True", "False"):
        raise InputError(place, f"its header declares fortran_order {value[:20]}", _RESAVE)
    return value == "True"
