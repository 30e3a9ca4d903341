"""A labelled data set whose samples are read when asked for, a block at a time."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

import numpy as np

from lipcert.certification.data.files import Origin
from lipcert.errors import InputError

BLOCK_VALUES = 1 << 20
"""Values looked at in one go when checking samples: bounds the memory of a check."""


class Samples(Protocol):
    """What a format gives: samples by their index, cheap when read in order.

    One reader at a time: reading moves a cursor.
    """

    @property
    def place(self) -> str:
        """Where they are, for errors, such as ``data.npz[x]``."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        ...

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop`` - 1, (stop - start, *shape), in native byte order."""
        ...

    def close(self) -> None:
        """Give back what is held open; reading ends with it."""
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and their labels, opened and checked; the values are checked as they are read.

    Parameters
    ----------
    samples : floats, integers or bools as stored.
    y : (samples,) int64: class indices from 0, or only -1 and +1.
    path : the file or folder the samples came from, as given; empty for arrays in memory.
    name : a short name for reports.
    origins : what is hashed: where the samples came from, and the labels if from elsewhere.
    """

    samples: Samples
    y: np.ndarray
    path: str
    name: str
    origins: tuple[Origin, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.samples.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop`` - 1 as (stop - start, *shape), dtype as stored.

        Raises
        ------
        InputError : the data cannot be read, or a value is not finite: names the sample, counted
            from 0.
        """
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"samples {start}..{stop} of {len(self)}")
        place = self.samples.place
        try:
            block = self.samples.read(start, stop)
        except OSError as error:
            finding = f"cannot be read ({error.strerror or error})"
            raise InputError(place, finding, "check the path and its permissions") from None
        except MemoryError:
            finding = f"needs more memory than there is for samples {start} to {stop - 1}"
            raise InputError(place, finding, "read fewer samples at a time") from None
        _check_finite(block, start, place)
        return block

    def digest(self) -> str:
        """The sha256 in hex of the file, or of the two hex digests with labels from a second.

        For a folder, of the lines ``relative/path NUL size NUL sha256`` of the files read, sorted.
        Reads everything once, and checks what checksums the format has.
        """
        digests = [origin.digest() for origin in self.origins]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def check_unchanged(self) -> None:
        """Raise InputError for a file that was written to or replaced since it was opened."""
        for origin in self.origins:
            origin.check_unchanged()

    def signature(self) -> str:
        """A cheap identity, the same on every machine: names, sizes, shape and labels; sha256."""
        total = hashlib.sha256()
        for origin in self.origins:
            for name, size in origin.sizes():
                total.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
        total.update(f"{len(self)}\0{self.shape}\n".encode())
        total.update(self.y.astype("<i8").data)
        return total.hexdigest()

    def first(self, count: int) -> Dataset:
        """The first ``count`` samples, or all if there are fewer; shares what is open."""
        if count < 1:
            raise InputError(self.samples.place, f"no samples are left of {count}", "keep one")
        if count >= len(self):
            return self
        return replace(self, samples=FirstSamples(self.samples, count), y=self.y[:count])

    def close(self) -> None:
        """Give back what is held open."""
        self.samples.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class FirstSamples:
    """The first ``count`` of other samples."""

    others: Samples
    count: int

    @property
    def place(self) -> str:
        return self.others.place

    @property
    def shape(self) -> tuple[int, ...]:
        return self.others.shape

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.others.read(start, stop)

    def close(self) -> None:
        self.others.close()


def _check_finite(block: np.ndarray, first: int, place: str) -> None:
    """Refuse samples with a value that is not finite; ``first`` is the index of the first one."""
    if block.dtype.kind != "f" or not len(block):
        return
    values = math.prod(block.shape[1:])
    step = max(1, BLOCK_VALUES // max(1, values))
    for start in range(0, len(block), step):
        part = block[start : start + step]
        part = part.reshape(len(part), values)
        wrong = np.argwhere(~np.isfinite(part))
        if len(wrong):
            row, cell = wrong[0]
            finding = f"sample {first + start + row} holds {part[row, cell]}"
            raise InputError(place, finding, "repair or remove that sample (counted from 0)")
