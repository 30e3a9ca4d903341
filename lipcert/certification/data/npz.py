"""NumPy's ``.npz`` archives: the samples and labels among their members; others are not opened.

Names tried for the samples, in this order: ``x``, ``images``, ``X``, ``data``, ``x_test``.  The
labels are the partner (``y``, ``labels``, ``Y``, ``target``, ``y_test``); where it is missing,
the first there of ``y``, ``labels``, ``Y``, ``target``, except that ``x_test`` takes only
``y_test``.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lipcert.certification.data.dataset import FORMATS, Column, Source
from lipcert.certification.data.npy import read_array
from lipcert.errors import InputError

PARTNERS = {"x": "y", "images": "labels", "X": "Y", "data": "target", "x_test": "y_test"}
"""Names of the samples and of the labels that go with them."""
MAX_DEFLATE_RATIO = 1032
"""Deflate writes at least 2 bits for each run of 258 bytes (zlib, Technical Details)."""

_ENCRYPTED = 0x1 | 0x40
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_RESAVE = "save it again with np.savez(path, x=..., y=...)"
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


@FORMATS.register(".npz")
def read_npz(source: Source, wanted: frozenset[str]) -> Mapping[str, Column]:
    """The wanted arrays of an archive, by the names in ``PARTNERS``."""
    if not _looks_like_zip(source):
        raise InputError(source.name, "is not a zip archive, as npz files are", _RESAVE)
    with _damage_told(source.name), zipfile.ZipFile(source.stream) as archive:
        members = _members(archive, source)
        names = _names(list(members), wanted, source)
        chosen = {key: members[name] for key, name in names.items()}
        for key, info in chosen.items():
            _check_member(info, f"{source.name}[{names[key]}]", source)
        total = sum(info.file_size for info in chosen.values())
        if total > source.max_bytes:
            finding = f"its arrays declare {total} bytes, above the limit of {source.max_bytes}"
            raise InputError(source.name, finding, "keep fewer samples or raise the limit")
        columns = {}
        for key, info in chosen.items():
            place = f"{source.name}[{names[key]}]"
            with _damage_told(place), archive.open(info) as stream:
                columns[key] = Column(read_array(stream, info.file_size, place), place)
        return columns


@contextmanager
def _damage_told(place: str) -> Iterator[None]:
    """Whatever ``zipfile`` raises on a damaged archive, as one sentence."""
    try:
        yield
    except _DAMAGE as error:
        reason = str(error)[:200] or type(error).__name__
        finding = f"is a damaged zip archive ({reason})"
        raise InputError(place, finding, _RESAVE) from None


def _looks_like_zip(source: Source) -> bool:
    """Whether the file starts as a zip archive does; empty archives start with their end."""
    source.stream.seek(0)
    start = source.stream.read(4)
    source.stream.seek(0)
    return start in (b"PK\x03\x04", b"PK\x05\x06")


def _members(archive: zipfile.ZipFile, source: Source) -> dict[str, zipfile.ZipInfo]:
    """The ``.npy`` members by their array names."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            continue
        if name in members:
            finding = f"holds two arrays called {name[:40]!r}"
            raise InputError(source.name, finding, _RESAVE)
        members[name] = info
    return members


def _names(held: list[str], wanted: frozenset[str], source: Source) -> dict[str, str]:
    """The names of the wanted arrays among those held."""
    samples = next((name for name in PARTNERS if name in held), None)
    partner = "y" if samples is None else PARTNERS[samples]
    others = [] if samples == "x_test" else [y for y in PARTNERS.values() if y != "y_test"]
    if "x" not in wanted:
        others = list(PARTNERS.values())
    labels = next((name for name in (partner, *others) if name in held), None)
    listing = ", ".join(repr(name[:40]) for name in held[:10]) or "none"
    listing += ", ..." if len(held) > 10 else ""
    if "x" in wanted and samples is None:
        finding = f"holds no samples: no array called {', '.join(PARTNERS)} (it holds: {listing})"
        raise InputError(source.name, finding, _RESAVE)
    if "y" in wanted and labels is None:
        tried = ", ".join(dict.fromkeys((partner, *others)))
        finding = f"holds no labels: no array called {tried} (it holds: {listing})"
        raise InputError(source.name, finding, f"{_RESAVE}, or pass --labels")
    found = {"x": samples, "y": labels}
    return {key: name for key, name in found.items() if key in wanted and name is not None}


def _check_member(info: zipfile.ZipInfo, place: str, source: Source) -> None:
    """Refuse a member that cannot be read, or whose size its compressed bytes cannot give."""
    if info.flag_bits & _ENCRYPTED:
        raise InputError(place, "is encrypted", _RESAVE)
    if info.compress_type not in _METHODS:
        finding = f"is packed by zip method {info.compress_type}; stored and deflate are read"
        raise InputError(place, finding, _RESAVE)
    ratio = 1 if info.compress_type == zipfile.ZIP_STORED else MAX_DEFLATE_RATIO
    possible = ratio * min(info.compress_size, source.size)
    if info.file_size > possible:
        finding = f"declares {info.file_size} bytes where the archive can hold at most {possible}"
        raise InputError(place, finding, f"it is cut short or forged: {_RESAVE}")
