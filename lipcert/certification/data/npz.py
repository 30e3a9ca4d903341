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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lipcert.certification.data.arrays import FileBytes, PackedBytes, StoredSamples, skip
from lipcert.certification.data.files import FileOrigin, open_file
from lipcert.certification.data.formats import FORMATS, Format, Opened, Request, by_suffix
from lipcert.certification.data.labels import Labels
from lipcert.certification.data.npy import checked_samples, stored_array
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


def open_npz(request: Request) -> Opened:
    """The wanted arrays of an archive, by the names in ``PARTNERS``."""
    path, place = request.path, request.path.name
    stream, size = open_file(path)
    with ExitStack() as failed:
        failed.callback(stream.close)
        if stream.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
            raise InputError(place, "is not a zip archive, as npz files are", _RESAVE)
        with _damage_told(place):
            archive = zipfile.ZipFile(stream)
            members = _members(archive, place)
        names = _names(list(members), request.wanted, place)
        chosen = [(f"{place}[{name}]", members[name]) for name in names.values()]
        for called, info in chosen:
            _check_member(info, called, size)
        arrays = {
            key: _array(archive, stream, size, info, called)
            for key, (called, info) in zip(names, chosen, strict=True)
        }
        samples = checked_samples(arrays["x"]) if "x" in arrays else None
        labels = Labels(arrays["y"].array(), arrays["y"].place) if "y" in arrays else None
        if samples is not None:
            failed.pop_all()
    origin = FileOrigin(path, size, partial(_verify, path, chosen))
    return Opened(origin, samples, labels)


FORMATS.register("npz")(Format(".npz", by_suffix(".npz"), open_npz))


def _array(
    archive: zipfile.ZipFile, stream: BinaryIO, size: int, info: zipfile.ZipInfo, place: str
) -> StoredSamples:
    """The array of a member: a stored one lies in the file as an npy file would."""
    told = partial(_damage_told, place)
    with told(), archive.open(info) as member:
        if info.compress_type != zipfile.ZIP_STORED:
            packed = PackedBytes(partial(archive.open, info), told, stream.close)
            return stored_array(packed, member, info.file_size, place)
        stream.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", stream.read(4))
        start = info.header_offset + 30 + name + extra
        if start + info.file_size > size:
            raise zipfile.BadZipFile(f"it ends {start + info.file_size - size} bytes early")
        return stored_array(FileBytes(stream, start), member, info.file_size, place)


def _verify(path: Path, chosen: list[tuple[str, zipfile.ZipInfo]]) -> None:
    """Read the members that are used to their end, where zipfile compares their CRC-32."""
    stream, _ = open_file(path)
    with stream, _damage_told(path.name), zipfile.ZipFile(stream) as archive:
        for place, info in chosen:
            with _damage_told(place), archive.open(info) as member:
                held = skip(member, info.file_size + 1)
            if held != info.file_size:
                finding = f"ends after {held} of {info.file_size} bytes"
                raise InputError(place, finding, f"it is cut short: {_RESAVE}")


@contextmanager
def _damage_told(place: str) -> Iterator[None]:
    """Whatever ``zipfile`` raises on a damaged archive, as one sentence."""
    try:
        yield
    except _DAMAGE as error:
        reason = str(error)[:200] or type(error).__name__
        finding = f"is a damaged zip archive ({reason})"
        raise InputError(place, finding, _RESAVE) from None


def _members(archive: zipfile.ZipFile, place: str) -> dict[str, zipfile.ZipInfo]:
    """The ``.npy`` members by their array names."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            continue
        if name in members:
            finding = f"holds two arrays called {name[:40]!r}"
            raise InputError(place, finding, _RESAVE)
        members[name] = info
    return members


def _names(held: list[str], wanted: frozenset[str], place: str) -> dict[str, str]:
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
        raise InputError(place, finding, _RESAVE)
    if "y" in wanted and labels is None:
        tried = ", ".join(dict.fromkeys((partner, *others)))
        finding = f"holds no labels: no array called {tried} (it holds: {listing})"
        raise InputError(place, finding, f"{_RESAVE}, or pass --labels")
    found = {"x": samples, "y": labels}
    return {key: name for key, name in found.items() if key in wanted and name is not None}


def _check_member(info: zipfile.ZipInfo, place: str, size: int) -> None:
    """Refuse a member that cannot be read, or whose size its compressed bytes cannot give."""
    if info.flag_bits & _ENCRYPTED:
        raise InputError(place, "is encrypted", _RESAVE)
    if info.compress_type not in _METHODS:
        finding = f"is packed by zip method {info.compress_type}; stored and deflate are read"
        raise InputError(place, finding, _RESAVE)
    ratio = 1 if info.compress_type == zipfile.ZIP_STORED else MAX_DEFLATE_RATIO
    possible = ratio * min(info.compress_size, size)
    if info.file_size > possible:
        finding = f"declares {info.file_size} bytes where the archive can hold at most {possible}"
        raise InputError(place, finding, f"it is cut short or forged: {_RESAVE}")
