"""Comma-separated text, one sample a row, as MNIST is handed round.

The first row is a header if none of its cells is a number or one of them names the labels.  The
labels are the column called ``label``, ``y``, ``class``, ``target`` or ``labels`` (any case), else
the first one.  Where labels come from another file, a column so called is left out and all others
are samples.  A file read for its labels alone has one column, or one so called.

Opening runs through the file once: it counts the cells of every row, takes the labels, and keeps
where some of the rows start.  Numbers are read when the samples are asked for.
"""

from __future__ import annotations

from array import array
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from lipcert.certification.data.files import FileOrigin, open_file
from lipcert.certification.data.formats import (
    FORMATS,
    Format,
    Opened,
    Request,
    by_suffix,
    check_sample_shape,
)
from lipcert.certification.data.labels import LABEL_NAMES, Labels, label_index
from lipcert.certification.data.rows import Row, Rows, is_number, numbers
from lipcert.errors import InputError, NothingEvaluatedError

MARK_BYTES = 1 << 16
"""Bytes of text between the rows whose place is kept."""


@dataclass(frozen=True)
class Layout:
    """Cells of a row, and the index of the label column among them (None: there is none)."""

    width: int
    label: int | None
    place: str

    def check(self, row: Row) -> None:
        """Refuse a row with another number of cells."""
        if row.width != self.width:
            finding = f"line {row.line} has {row.width} cells where the first row has {self.width}"
            raise InputError(self.place, finding, "give every row the same number of cells")

    def features(self, row: Row) -> array[float]:
        """The numbers of a row without its label."""
        cells = row.cells()
        if self.label is None:
            return numbers(cells, row.line, 0, self.place)
        after = self.label + 1
        found = numbers(cells[: self.label], row.line, 0, self.place)
        found.extend(numbers(cells[after:], row.line, after, self.place))
        return found

    def label_of(self, row: Row, label: int) -> array[float]:
        """The label of a row, one number."""
        return numbers([row.cell(label)], row.line, label, self.place)


@dataclass(eq=False)
class Marks:
    """Where some of the rows start: row index, byte, and lines before it."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))

    def add(self, index: int, row: Row) -> None:
        if not self.offsets or row.offset - self.offsets[-1] >= MARK_BYTES:
            self.rows.append(index)
            self.offsets.append(row.offset)
            self.lines.append(row.lines_before)

    def before(self, index: int) -> tuple[int, int, int]:
        """The last mark at or before a row."""
        at = int(np.searchsorted(np.frombuffer(self.rows, np.int64), index, side="right")) - 1
        return self.rows[at], self.offsets[at], self.lines[at]


@dataclass(eq=False)
class CsvSamples:
    """Rows as float64 samples of shape (features,)."""

    stream: BinaryIO
    layout: Layout
    count: int
    marks: Marks
    rows: Rows | None = field(default=None, init=False)
    next_row: int = field(default=0, init=False)

    @property
    def place(self) -> str:
        return self.layout.place

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.layout.width - (self.layout.label is not None),)

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, *self.shape), dtype=np.float64)
        rows = self.rows
        mark, offset, lines = self.marks.before(start)
        if rows is None or not mark <= self.next_row <= start:
            rows, self.next_row = Rows(self.stream, self.place, offset, lines), mark
        self.rows = None  # rows that fail are not used again
        while self.next_row < stop:
            row = next(rows, None)
            if row is None:
                finding = f"ends after {self.next_row} of {self.count} samples"
                raise InputError(self.place, finding, "it has changed: start again")
            if self.next_row >= start:
                self.layout.check(row)
                block[self.next_row - start] = self.layout.features(row)
            self.next_row += 1
        self.rows = rows
        return block

    def close(self) -> None:
        self.stream.close()


def open_csv(request: Request) -> Opened:
    """Samples as (samples, features), float64."""
    path, place = request.path, request.path.name
    stream, size = open_file(path)
    with ExitStack() as failed:
        failed.callback(stream.close)
        rows = Rows(stream, place)
        first = next(rows, None)
        if first is None:
            raise InputError(place, "is empty: it has no row", "save the data again")
        header = _header(first.cells(), first.line, place)
        layout = Layout(first.width, _label_column(header, first.width, request, place), place)
        marks, labels = Marks(), array("d")
        label = layout.label if "y" in request.wanted else None
        row, count = first if header is None else next(rows, None), 0
        while row is not None:
            layout.check(row)
            marks.add(count, row)
            if label is not None:
                labels.extend(layout.label_of(row, label))
            row, count = next(rows, None), count + 1
        if count == 0:
            raise NothingEvaluatedError(place, "holds a header and no samples", "add a row")
        found = None if label is None else Labels(np.frombuffer(labels, np.float64), place)
        if "x" not in request.wanted:
            return Opened(FileOrigin(path, size), labels=found)
        samples = CsvSamples(stream, layout, count, marks)
        check_sample_shape(count, samples.shape, 8, place)
        failed.pop_all()
    return Opened(FileOrigin(path, size), samples, found)


FORMATS.register("csv")(Format(".csv", by_suffix(".csv"), open_csv))


def _header(cells: list[str], line: int, place: str) -> list[str] | None:
    """The column names in lower case, or None if the row is a sample."""
    names = [cell.strip().lstrip("#").strip().lower() for cell in cells]
    found = sum(map(is_number, cells))
    if not any(name in LABEL_NAMES for name in names):
        if found == len(cells):
            return None
        if found:
            numbers(cells, line, 0, place)
    if "" in names:
        finding = f"column {names.index('') + 1} has no name in the header: a row index, perhaps"
        raise InputError(place, finding, "leave it out (pandas: index=False) or name it")
    return names


def _label_column(header: list[str] | None, width: int, request: Request, place: str) -> int | None:
    """The index of the label column, or None where the file is read for its samples alone."""
    named = None if header is None else label_index(header, place)
    if named is not None:
        return named
    if "y" not in request.wanted:
        return None
    if "x" not in request.wanted and width > 1:
        finding = f"has {width} columns, none of them called {', '.join(LABEL_NAMES)}"
        raise InputError(place, finding, "call the label column label")
    return 0
