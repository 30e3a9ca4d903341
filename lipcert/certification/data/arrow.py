"""Which columns of an Arrow table are the samples and which the labels, for Parquet and others.

The labels are the column called as in CSV files, else the only one that Hugging Face's metadata
call a class label.  The samples are one column of lists or images: the one with a name in
``SAMPLE_NAMES``, else the only one besides the labels; or, where all others are single numbers,
these in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lipcert.certification.data.columns import Decoder, decoder_of, kind_of, numbers_of
from lipcert.certification.data.formats import check_sample_shape
from lipcert.certification.data.labels import LABEL_NAMES, Labels, label_index
from lipcert.errors import InputError, LipcertError

SAMPLE_NAMES = ("x", "image", "images", "img", "features", "pixels", "data")
BLOCK_BYTES = 4 << 20
"""Bytes of samples decoded in one go."""


@dataclass(frozen=True)
class Choice:
    """The names of the columns to read, and the kind of those of the samples."""

    samples: tuple[str, ...]
    label: str | None
    kind: str


class Batches(Protocol):
    """The rows of chosen columns, in batches."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Iterator[Any]:
        """Record batches that together are the rows ``start`` to ``stop`` - 1."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class ArrowSamples:
    """Rows of Arrow columns as samples."""

    batches: Batches
    decoder: Decoder
    place: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.decoder.shape

    def __len__(self) -> int:
        return len(self.batches)

    def read(self, start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, *self.shape), dtype=self.decoder.dtype)
        at = start
        for batch in self.batches.read(start, stop):
            with damage_told(self.place, "Arrow"):
                block[at - start : at - start + len(batch)] = self.decoder.decode(batch, at)
            at += len(batch)
        if at != stop:
            raise InputError(self.place, f"ends after {at} of {len(self)} rows", "save it again")
        return block

    def close(self) -> None:
        self.batches.close()


def samples_of(
    batches: Batches, choice: Choice, pixel_range: tuple[float, float], place: str
) -> ArrowSamples:
    """The samples, their shape learned from the first row."""
    called = f"{place}[{choice.samples[0]}]" if len(choice.samples) == 1 else place
    check_sample_shape(len(batches), (1,), 1, called)
    first = next(batches.read(0, 1), None)
    if first is None:
        raise InputError(called, "ends after 0 rows", "save it again")
    decoder = decoder_of(choice.kind, first, pixel_range, called)
    check_sample_shape(len(batches), decoder.shape, decoder.dtype.itemsize, called)
    return ArrowSamples(batches, decoder, called)


def labels_of(batches: Iterator[Any], label: str, place: str) -> Labels:
    """All labels, from batches of their column alone."""
    called = f"{place}[{label}]"
    found, at = [], 0
    for batch in batches:
        found.append(numbers_of(batch.column(0), at, called, "the label of sample"))
        at += len(batch)
    return Labels(np.concatenate(found) if found else np.empty(0, np.int64), called)


def rows_per_block(decoder: Decoder) -> int:
    """Rows that are decoded in one go."""
    each = int(np.prod(decoder.shape)) * decoder.dtype.itemsize
    return max(1, min(4096, BLOCK_BYTES // max(1, each)))


def choose(schema: Any, wanted: frozenset[str], place: str) -> Choice:
    """The columns of the wanted samples and labels.

    Raises
    ------
    InputError : none or several could be meant, or their type is not read.
    """
    names: list[str] = list(schema.names)
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise InputError(place, f"has two columns called {twice[:40]!r}", "rename one")
    label = _label(schema, names, place)
    if label is None and "y" in wanted and "x" not in wanted and len(names) == 1:
        label = names[0]
    if label is None and "y" in wanted:
        finding = f"has no label column ({', '.join(LABEL_NAMES)}): {_listing(names)}"
        raise InputError(place, finding, "call the label column label, or pass --labels")
    if label is not None and "y" in wanted and kind_of(schema.field(label).type) != "number":
        finding = f"holds {_type(schema, label)}, not class indices"
        raise InputError(f"{place}[{label}]", finding, "save whole numbers counted from 0")
    if "x" not in wanted:
        return Choice((), label, "")
    samples, kind = _samples(schema, [name for name in names if name != label], place)
    return Choice(samples, label, kind)


def _label(schema: Any, names: list[str], place: str) -> str | None:
    """The name of the label column, if there is one."""
    index = label_index(names, place)
    if index is not None:
        return names[index]
    marked = [name for name in _class_labels(schema) if name in names]
    return marked[0] if len(marked) == 1 else None


def _class_labels(schema: Any) -> list[str]:
    """The columns that Hugging Face's metadata in the schema call class labels."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, it in features.items() if it.get("_type") == "ClassLabel"]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return []


def _samples(schema: Any, others: list[str], place: str) -> tuple[tuple[str, ...], str]:
    """The columns of the samples and their kind."""
    kinds = {name: kind_of(schema.field(name).type) for name in others}
    named = [name for name in others if name.lower() in SAMPLE_NAMES and kinds[name] != "number"]
    if len(named) > 1:
        finding = f"has several columns that may be the samples: {_listing(named)}"
        raise InputError(place, finding, "keep one of them")
    if len(others) == 1 and kinds[others[0]] != "number":
        named = others
    if named:
        (name,) = named
        if not kinds[name]:
            finding = f"holds {_type(schema, name)}, neither numbers nor images"
            raise InputError(f"{place}[{name}]", finding, "save lists of numbers, or images")
        return (name,), kinds[name]
    index = next((name for name in others if name.startswith("__index_level_")), None)
    if index is not None:
        finding = f"has a row index among its columns ({index!r})"
        raise InputError(place, finding, "leave it out (pandas: index=False)")
    if not others:
        raise InputError(place, "has no column besides the labels", "add the samples")
    if all(kind == "number" for kind in kinds.values()):
        return tuple(others), "number"
    finding = f"does not tell which of its columns holds the samples: {_listing(others)}"
    raise InputError(place, finding, f"call it {SAMPLE_NAMES[0]}")


def _type(schema: Any, name: str) -> str:
    """A short name of a column's type."""
    return f"the type {str(schema.field(name).type)[:60]}".replace("\n", " ")


def _listing(names: list[str]) -> str:
    """Some of the names, quoted."""
    listing = ", ".join(repr(name[:40]) for name in names[:10]) or "none"
    return listing + (", ..." if len(names) > 10 else "")


@contextmanager
def damage_told(place: str, kind: str) -> Iterator[None]:
    """Whatever Arrow raises on a file that is damaged or forged, as one sentence."""
    try:
        yield
    except (LipcertError, MemoryError):
        raise
    except Exception as error:  # Arrow raises of every kind on damage
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        finding = f"is a damaged {kind} file ({reason})"
        raise InputError(place, finding, "save it again") from None
