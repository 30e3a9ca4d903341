"""Samples that lie one after another as plain numbers: in memory, in a file, in a packed stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Protocol

import numpy as np

from lipcert.errors import InputError

CHUNK = 1 << 20
"""Bytes read in one go from a stream."""


@dataclass(frozen=True, eq=False)
class ArraySamples:
    """An array in memory, (samples, *shape)."""

    x: np.ndarray
    place: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.x.shape[1:]

    def __len__(self) -> int:
        return len(self.x)

    def read(self, start: int, stop: int) -> np.ndarray:
        block = self.x[start:stop]
        return block.astype(block.dtype.newbyteorder("="), order="C", copy=False)

    def close(self) -> None:
        """There is nothing to give back."""


class Bytes(Protocol):
    """Bytes by their position."""

    def fill(self, position: int, view: memoryview) -> int:
        """Read into ``view`` from ``position`` on; the number of bytes that were there."""
        ...

    def close(self) -> None: ...


@dataclass(eq=False)
class FileBytes:
    """A seekable file, from its byte ``base`` on."""

    stream: IO[bytes]
    base: int = 0

    def fill(self, position: int, view: memoryview) -> int:
        self.stream.seek(self.base + position)
        return _fill(self.stream, view)

    def close(self) -> None:
        self.stream.close()


@dataclass(eq=False)
class PackedBytes:
    """A stream that only runs forward, such as a deflated one: started again to go back.

    ``damage_told`` makes sentences of what the stream raises; ``release`` closes what it reads.
    """

    start: Callable[[], IO[bytes]]
    damage_told: Callable[[], AbstractContextManager[None]]
    release: Callable[[], None]
    stream: IO[bytes] | None = field(default=None, init=False)
    position: int = field(default=0, init=False)

    def fill(self, position: int, view: memoryview) -> int:
        with self.damage_told():
            stream = self.stream
            if stream is None or position < self.position:
                self._stop()
                stream, self.position = self.start(), 0
            self.stream = None  # a stream that fails is not used again
            self.position += skip(stream, position - self.position)
            filled = _fill(stream, view) if self.position == position else 0
            self.position += filled
            self.stream = stream
        return filled

    def close(self) -> None:
        self._stop()
        self.release()

    def _stop(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None


def skip(stream: IO[bytes], count: int) -> int:
    """Read ``count`` bytes and forget them; the number that were there."""
    position = 0
    while position < count and (chunk := stream.read(min(CHUNK, count - position))):
        position += len(chunk)
    return position


def _fill(stream: IO[bytes], view: memoryview) -> int:
    """Fill ``view`` a chunk at a time; the number of bytes until the stream ended."""
    position = 0
    while position < len(view):
        chunk = stream.read(min(CHUNK, len(view) - position))
        if not chunk:
            break
        view[position : position + len(chunk)] = chunk
        position += len(chunk)
    return position


@dataclass(eq=False)
class StoredSamples:
    """An array whose values lie in ``source`` from byte ``offset`` on.

    Parameters
    ----------
    declared : (samples, *shape), which the bytes there are known to justify.
    fortran_order : the first index runs fastest: then the whole array is loaded when first read.
    remedy : what to do where the values end early.
    """

    source: Bytes
    place: str
    declared: tuple[int, ...]
    dtype: np.dtype
    offset: int
    fortran_order: bool = False
    remedy: str = "save it again"
    whole: np.ndarray | None = field(default=None, init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.declared[1:]

    def __len__(self) -> int:
        return self.declared[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        if self.fortran_order:
            if self.whole is None:
                shape = self.declared[::-1]
                self.whole = self._values(0, math.prod(shape)).reshape(shape).transpose()
            return np.ascontiguousarray(self.whole[start:stop])
        each = math.prod(self.shape)
        return self._values(start * each, stop * each).reshape(stop - start, *self.shape)

    def array(self) -> np.ndarray:
        """The whole array, of any number of dimensions."""
        values = self._values(0, math.prod(self.declared))
        if self.fortran_order:
            return values.reshape(self.declared[::-1]).transpose()
        return values.reshape(self.declared)

    def close(self) -> None:
        self.source.close()

    def _values(self, start: int, stop: int) -> np.ndarray:
        """Values ``start`` to ``stop`` - 1 in the order of the file, native byte order."""
        size = self.dtype.itemsize
        count = (stop - start) * size
        try:
            buffer = np.empty(count, dtype=np.uint8)
        except MemoryError:
            finding = f"needs {count} bytes of memory, more than there is"
            raise InputError(self.place, finding, "keep fewer samples") from None
        filled = self.source.fill(self.offset + start * size, buffer.data) if count else 0
        if filled != count:
            held, declared = start * size + filled, math.prod(self.declared) * size
            finding = f"ends after {held} of {declared} bytes of values"
            raise InputError(self.place, finding, f"it is cut short: {self.remedy}")
        if self.dtype.kind == "b":
            np.minimum(buffer, 1, out=buffer)
        values = buffer.view(self.dtype)
        if not self.dtype.isnative:
            values = values.byteswap(inplace=True).view(self.dtype.newbyteorder("="))
        return values
