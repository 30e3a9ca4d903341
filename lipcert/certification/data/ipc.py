"""Arrow IPC streams in files, memory-mapped: where each record batch lies, and its columns.

Nothing is copied until samples are decoded.  Compressed batches are refused: what they unpack to
is not bounded by the file.  Batches are validated in full before use, as Arrow asks for files
that are not trusted.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lipcert.certification.data.arrow import damage_told
from lipcert.certification.data.extras import imported
from lipcert.errors import InputError

MAX_ROWS_PER_BYTE = 8
"""Rows a file can hold for each of its bytes: a bool takes a bit."""

_ENDS = (b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0")
"""What a stream ends with: the second before Arrow 0.15."""
_AGAIN = "save it again with save_to_disk"


@dataclass(frozen=True)
class Stream:
    """One file: its schema, and byte offset and rows of each of its batches."""

    path: Path
    schema: Any
    offsets: list[int]
    rows: list[int]


def indexed(path: Path) -> Stream:
    """Run through the headers of a stream.

    Raises
    ------
    InputError : not a stream that ends, or compressed or dictionary-encoded batches.
    """
    ipc = imported("pyarrow.ipc", path.name)
    with damage_told(path.name, "Arrow"), _mapped(path) as source:
        first = ipc.read_message(source)
        if first.type != "schema":  # Arrow itself reads past the end of other messages
            raise InputError(path.name, "does not begin with a schema: it is damaged", _AGAIN)
        schema = ipc.read_schema(first)
        offsets: list[int] = []
        rows: list[int] = []
        while True:
            offset = source.tell()
            try:
                message = ipc.read_message(source)
            except EOFError:
                break
            _check_message(message, path.name)
            offsets.append(offset)
            rows.append(ipc.read_record_batch(message, schema).num_rows)
        source.seek(offset)
        if source.read(16) not in _ENDS:
            raise InputError(path.name, "has no end mark: it is cut short", _AGAIN)
        if sum(rows) > MAX_ROWS_PER_BYTE * source.size():
            finding = f"declares {sum(rows)} rows in {source.size()} bytes"
            raise InputError(path.name, finding, _AGAIN)
    return Stream(path, schema, offsets, rows)


@dataclass(eq=False)
class StreamBatches:
    """The rows of some columns of streams, one after another."""

    streams: Sequence[Stream]
    columns: tuple[str, ...]
    starts: np.ndarray = field(init=False)
    where: list[tuple[Stream, int]] = field(init=False)
    source: Any = field(default=None, init=False)
    opened: Path | None = field(default=None, init=False)
    held: tuple[int, Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.where = [(it, offset) for it in self.streams for offset in it.offsets]
        rows = [count for it in self.streams for count in it.rows]
        self.starts = np.concatenate([[0], np.cumsum(np.array(rows, dtype=np.int64))])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, start: int, stop: int) -> Iterator[Any]:
        while start < stop:
            index = int(np.searchsorted(self.starts, start, side="right")) - 1
            batch, first = self._batch(index), int(self.starts[index])
            until = min(stop, first + len(batch))
            yield batch.slice(start - first, until - start)
            start = until

    def close(self) -> None:
        self.held = None
        if self.source is not None:
            self.source.close()
            self.source = self.opened = None

    def _batch(self, index: int) -> Any:
        """The chosen columns of a batch, validated; the last one is kept."""
        if self.held is not None and self.held[0] == index:
            return self.held[1]
        stream, offset = self.where[index]
        ipc = imported("pyarrow.ipc", stream.path.name)
        with damage_told(stream.path.name, "Arrow"):
            if self.opened != stream.path:
                self.close()
                self.source, self.opened = _mapped(stream.path), stream.path
            self.source.seek(offset)
            message = ipc.read_message(self.source)
            batch = ipc.read_record_batch(message, stream.schema).select(list(self.columns))
            batch.validate(full=True)
            expected = int(self.starts[index + 1] - self.starts[index])
            if len(batch) != expected:
                raise InputError(stream.path.name, "has changed", "start again")
        self.held = (index, batch)
        return batch


def _mapped(path: Path) -> Any:
    """The file, memory-mapped."""
    return imported("pyarrow", path.name).memory_map(os.fsencode(path))


def _check_message(message: Any, place: str) -> None:
    """Refuse what is not a plain record batch."""
    if message.type != "record batch":
        finding = f"holds a message of the kind {message.type!r}: dictionary-encoded columns"
        raise InputError(place, finding, "save plain columns")
    metadata = message.metadata.to_pybytes()
    try:
        table = _table(metadata, struct.unpack_from("<I", metadata, 0)[0], 2)
        compressed = _field(metadata, table, 3)
    except (struct.error, IndexError) as error:
        finding = f"is a damaged Arrow file ({error})"
        raise InputError(place, finding, _AGAIN) from None
    if compressed:
        raise InputError(place, "holds compressed batches, which are not read", _AGAIN)


def _field(buffer: bytes, table: int, index: int) -> int:
    """Where a field of a FlatBuffers table lies from the table's start; 0 if it is not there."""
    slots = table - struct.unpack_from("<i", buffer, table)[0]
    slot = 4 + 2 * index
    if slots < 0:
        raise IndexError("a table before the start")
    if slot >= struct.unpack_from("<H", buffer, slots)[0]:
        return 0
    return int(struct.unpack_from("<H", buffer, slots + slot)[0])


def _table(buffer: bytes, table: int, index: int) -> int:
    """The position of the table that a field refers to."""
    position = table + _field(buffer, table, index)
    return int(position + struct.unpack_from("<I", buffer, position)[0])
