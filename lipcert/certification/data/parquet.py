"""Parquet files, read batch after batch: a row group may be larger than memory.

Pages are read through a small buffer, and a batch holds a few megabytes of samples.  Going back
starts a row group again.  One page of every column is in memory: much, where each of a thousand
pixels has its own column, whatever the number of rows; lists take one page in all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lipcert.certification.data.arrow import (
    choose,
    damage_told,
    labels_of,
    rows_per_block,
    samples_of,
)
from lipcert.certification.data.extras import imported
from lipcert.certification.data.files import FileOrigin, open_file
from lipcert.certification.data.formats import (
    FORMATS,
    Format,
    Opened,
    Request,
    by_suffix,
)
from lipcert.certification.data.pages import check_pages
from lipcert.errors import InputError

BUFFER_BYTES = 1 << 16
"""Bytes of each column read in one go, fewer where there are many columns."""
ALL_BUFFERS = 16 << 20
LABELS_AT_ONCE = 1 << 16
MAX_ROWS_PER_BYTE = 1000
"""Rows a file may declare for each of its bytes: more is a forged footer."""


@dataclass(eq=False)
class ParquetBatches:
    """The rows of some columns of a Parquet file."""

    file: Any
    columns: tuple[str, ...]
    path: Path
    rows_at_once: int = 1
    starts: np.ndarray = field(init=False)
    batches: Iterator[Any] | None = field(default=None, init=False)
    batch: Any = field(default=None, init=False)
    next_row: int = field(default=0, init=False)

    @property
    def place(self) -> str:
        """The file in messages."""
        return self.path.name

    def __post_init__(self) -> None:
        metadata = self.file.metadata
        sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64))])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, start: int, stop: int) -> Iterator[Any]:
        while start < stop:
            with damage_told(self.place, "Parquet"):
                batch, first = self._batch_with(start)
            until = min(stop, first + len(batch))
            yield batch.slice(start - first, until - start)
            start = until

    def restart(self, rows_at_once: int) -> None:
        """From now on, decode so many rows in one go."""
        self.rows_at_once = rows_at_once
        self.batches = self.batch = None

    def close(self) -> None:
        self.batches = self.batch = None
        self.file.close(force=True)

    def _is_read(self, path: str) -> bool:
        return any(path == name or path.startswith(f"{name}.") for name in self.columns)

    def _batch_with(self, row: int) -> tuple[Any, int]:
        """The batch that holds a row, and its first row."""
        group = int(np.searchsorted(self.starts, row, side="right")) - 1
        first = self.next_row - (0 if self.batch is None else len(self.batch))
        if self.batches is None or row < first or self.starts[group] > self.next_row:
            self._start(group)
        while self.batch is None or self.next_row <= row:
            batches, self.batches, self.batch = self.batches, None, None
            batch = None if batches is None else next(batches, None)
            if batch is None:
                finding = f"ends after {self.next_row} of {len(self)} rows"
                raise InputError(self.place, finding, "save it again")
            if tuple(batch.schema.names) != self.columns:
                raise InputError(self.place, "has columns with like names", "rename them")
            self.batches, self.batch = batches, batch
            self.next_row += len(batch)
        return self.batch, self.next_row - len(self.batch)

    def _start(self, group: int) -> None:
        """Start reading at a row group."""
        self.next_row, self.batch = int(self.starts[group]), None
        self.batches = self._from(group)

    def _from(self, first: int) -> Iterator[Any]:
        """The batches of a row group and of those behind it, once their pages are looked at."""
        for group in range(first, len(self.starts) - 1):
            found = self.file.metadata.row_group(group)
            chunks = map(found.column, range(found.num_columns))
            own = [chunk for chunk in chunks if self._is_read(chunk.path_in_schema)]
            stream, size = open_file(self.path)
            with stream:
                check_pages(stream, own, size, self.place)
            yield from self.file.iter_batches(
                batch_size=self.rows_at_once,
                row_groups=[group],
                columns=list(self.columns),
                use_threads=False,
            )


def open_parquet(request: Request) -> Opened:
    """The samples and labels among the columns."""
    path, place = request.path, request.path.name
    stream, size = open_file(path)
    stream.close()
    origin = FileOrigin(path, size)
    with ExitStack() as failed, damage_told(place, "Parquet"):
        file = _file(path, 1)
        failed.callback(file.close, force=True)
        if file.metadata.num_rows > MAX_ROWS_PER_BYTE * size:
            finding = f"declares {file.metadata.num_rows} rows in {size} bytes"
            raise InputError(place, finding, "save it again")
        choice = choose(file.schema_arrow, request.wanted, place)
        labels = samples = None
        if choice.label is not None and "y" in request.wanted:
            batches = ParquetBatches(file, (choice.label,), path, LABELS_AT_ONCE)
            labels = labels_of(batches.read(0, len(batches)), choice.label, place)
        if "x" in request.wanted:
            with_buffers = _file(path, len(choice.samples))
            failed.callback(with_buffers.close, force=True)
            batches = ParquetBatches(with_buffers, choice.samples, path)
            samples = samples_of(batches, choice, request.pixel_range, place)
            batches.restart(rows_per_block(samples.decoder))
            failed.pop_all()
            file.close(force=True)
    return Opened(origin, samples, labels)


FORMATS.register("parquet")(Format(".parquet", by_suffix(".parquet"), open_parquet))


def _file(path: Path, columns: int) -> Any:
    """The file, opened to be read through buffers that are small for many columns too."""
    pyarrow, parquet = imported("pyarrow", path.name), imported("pyarrow.parquet", path.name)
    return parquet.ParquetFile(
        pyarrow.OSFile(os.fsencode(path)),
        memory_map=False,
        pre_buffer=False,
        buffer_size=max(4096, min(BUFFER_BYTES, ALL_BUFFERS // columns)),
        page_checksum_verification=True,
    )
