"""IDX files, as MNIST was published: ``train-images-idx3-ubyte``, packed by gzip or not.

Bytes in three dimensions are grey images and become (1, height, width) float32; anything else is
plain numbers.  The labels are in the partner file, ``train-labels-idx1-ubyte``.

Format: two zero bytes, the type, the number of dimensions, each of them in 4 bytes, the values;
most significant byte first.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from lipcert.certification.data.arrays import Bytes, FileBytes, PackedBytes, StoredSamples, skip
from lipcert.certification.data.dataset import BLOCK_VALUES, Samples
from lipcert.certification.data.files import FileOrigin, open_file
from lipcert.certification.data.formats import (
    FORMATS,
    Format,
    Opened,
    Request,
    check_sample_shape,
)
from lipcert.certification.data.labels import Labels
from lipcert.certification.data.pictures import pixel_table
from lipcert.errors import InputError

MAX_DEFLATE_RATIO = 1032
"""Deflate writes at least 2 bits for each run of 258 bytes (zlib, Technical Details)."""

_NAME = re.compile(r"[-._]idx\d*(-[a-z]+)?(\.gz)?", re.IGNORECASE)
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_AGAIN = "download it again"


@dataclass(frozen=True, eq=False)
class GreyImages:
    """Bytes of shape (height, width) as float32 images of shape (1, height, width)."""

    bytes_read: StoredSamples
    table: np.ndarray

    @property
    def place(self) -> str:
        return self.bytes_read.place

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, *self.bytes_read.shape)

    def __len__(self) -> int:
        return len(self.bytes_read)

    def read(self, start: int, stop: int) -> np.ndarray:
        pixels = self.bytes_read.read(start, stop)[:, None]
        block = np.empty(pixels.shape, dtype=np.float32)
        step = max(1, BLOCK_VALUES // math.prod(self.shape))
        for at in range(0, len(block), step):  # NumPy takes 8 bytes for each index meanwhile
            block[at : at + step] = self.table[pixels[at : at + step]]
        return block

    def close(self) -> None:
        self.bytes_read.close()


def is_idx(path: Path) -> bool:
    """Whether a file is called as IDX files are."""
    found = list(_NAME.finditer(path.name))
    return bool(found) and found[-1].end() == len(path.name) and not path.is_dir()


def open_idx(request: Request) -> Opened:
    """One array: the samples where they are wanted, else the labels."""
    path, place = request.path, request.path.name
    stream, size = open_file(path)
    with ExitStack() as failed:
        failed.callback(stream.close)
        array = _array(stream, size, path)
        end = array.offset + math.prod(array.declared) * array.dtype.itemsize
        packed = isinstance(array.source, PackedBytes)
        origin = FileOrigin(path, size, partial(_verify, path, end)) if packed else None
        origin = origin or FileOrigin(path, size)
        if "x" not in request.wanted:
            return Opened(origin, labels=Labels(array.array(), place))
        beside = _labels_beside(path) if "y" in request.wanted else None
        samples: Samples = array
        if array.dtype == np.uint8 and len(array.declared) == 3:
            samples = GreyImages(array, pixel_table(request.pixel_range))
        itemsize = 4 if isinstance(samples, GreyImages) else array.dtype.itemsize
        check_sample_shape(len(samples), samples.shape, itemsize, place)
        failed.pop_all()
    return Opened(origin, samples, labels_beside=beside)


FORMATS.register("idx")(Format("-idx3-ubyte (or .gz)", is_idx, open_idx))


def _array(stream: BinaryIO, size: int, path: Path) -> StoredSamples:
    """The array that the header declares, held against the size of the file."""
    place = path.name
    told = partial(_damage_told, place)
    packed = stream.read(2) == b"\x1f\x8b"
    source: Bytes = FileBytes(stream)
    if packed:
        source = PackedBytes(partial(_unpacked, stream), told, stream.close)
    start = bytearray(4)
    if source.fill(0, memoryview(start)) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise InputError(place, "is not an IDX file (wrong first bytes)", _AGAIN)
    dimensions = start[3]
    sizes = bytearray(4 * dimensions)
    if dimensions == 0 or dimensions > 32 or source.fill(4, memoryview(sizes)) < len(sizes):
        finding = f"declares {dimensions} dimensions and does not hold their sizes"
        raise InputError(place, finding, _AGAIN)
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4))
    dtype = np.dtype(_TYPES[start[2]])
    declared = 4 + len(sizes) + math.prod(shape) * dtype.itemsize
    if (declared > size * MAX_DEFLATE_RATIO) if packed else (declared != size):
        finding = f"declares {dtype} of shape {shape}, {declared} bytes, and holds {size}"
        raise InputError(place, f"{finding}{' packed ones' if packed else ''}", _AGAIN)
    return StoredSamples(source, place, shape, dtype, 4 + len(sizes), remedy=_AGAIN)


def _unpacked(stream: BinaryIO) -> IO[bytes]:
    """What gzip packed, from its start."""
    stream.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=stream, mode="rb"))


def _verify(path: Path, declared: int) -> None:
    """Unpack a file to its end, where gzip compares its CRC-32."""
    stream, _ = open_file(path)
    with stream, _damage_told(path.name), _unpacked(stream) as unpacked:
        held = skip(unpacked, declared + 1)
    if held != declared:
        more = f"more than {declared}" if held > declared else str(held)
        finding = f"declares {declared} bytes and holds {more}"
        raise InputError(path.name, finding, _AGAIN)


@contextmanager
def _damage_told(place: str) -> Iterator[None]:
    """Whatever gzip raises on a damaged file, as one sentence."""
    try:
        yield
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise InputError(place, f"is a damaged gzip file ({reason})", _AGAIN) from None


def _labels_beside(path: Path) -> Path:
    """The file beside it that MNIST's naming gives the labels."""
    name = path.name
    if "images" not in name:
        raise InputError(name, "holds samples without labels", "pass --labels")
    unpacked = re.sub(r"idx\d", "idx1", name.replace("images", "labels")).removesuffix(".gz")
    others = (unpacked.replace("-idx1", ".idx1"), unpacked.replace(".idx1", "-idx1"))
    for stem in (unpacked, *others):
        for tried in (f"{stem}.gz", stem)[:: 1 if name.endswith(".gz") else -1]:
            if path.with_name(tried).is_file():
                return path.with_name(tried)
    finding = f"holds samples without labels, and there is no {unpacked} beside it"
    raise InputError(name, finding, "pass --labels")
