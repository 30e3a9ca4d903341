"""Comma-separated text, one sample a row, as MNIST is handed round.

The first row is a header if none of its cells is a number or one of them names the labels.  The
labels are the column called ``label``, ``y``, ``class`` or ``target`` (any case), else the first
one.  Where labels come from another file, a column so called is left out and all others are
samples.  A file read for its labels alone has one column, or one so called.
"""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from lipcert.certification.data.dataset import FORMATS, Column, Source
from lipcert.errors import InputError, NothingEvaluatedError

LABEL_NAMES = ("label", "y", "class", "target")
MAX_LINE = 8 << 20
"""Longest line read, in characters."""

_NUMBERS = "separate plain numbers by commas; classes are whole numbers counted from 0"


@dataclass
class Table:
    """The rows read so far; ``label`` is the index of the label column, None if there is none."""

    source: Source
    wanted: frozenset[str]
    width: int
    label: int | None
    rows: int = 0
    x: array[float] = field(default_factory=lambda: array("d"))
    y: array[float] = field(default_factory=lambda: array("d"))

    def add(self, cells: list[str], line: int) -> None:
        """Enter one row."""
        place = self.source.name
        if len(cells) != self.width:
            finding = f"line {line} has {len(cells)} cells where the first row has {self.width}"
            raise InputError(place, finding, "give every row the same number of cells")
        after = 0
        if self.label is not None:
            after = self.label + 1
            if "y" in self.wanted:
                self.y.extend(_numbers(cells[self.label : after], line, self.label, place))
            if "x" in self.wanted:
                self.x.extend(_numbers(cells[: self.label], line, 0, place))
        if "x" in self.wanted:
            self.x.extend(_numbers(cells[after:], line, after, place))
        self.rows += 1
        taken = (len(self.x) + len(self.y)) * self.x.itemsize
        if taken > self.source.max_bytes:
            finding = f"its values take more than the limit of {self.source.max_bytes} bytes"
            raise InputError(place, finding, "keep fewer samples or raise the limit")

    def columns(self) -> Mapping[str, Column]:
        """The columns asked for."""
        place = self.source.name
        columns = {}
        if "x" in self.wanted:
            features = self.width - (self.label is not None)
            samples = _narrow(_values(self.x)).reshape(self.rows, features)
            columns["x"] = Column(samples, place)
        if "y" in self.wanted:
            columns["y"] = Column(_values(self.y), place)
        return columns


@FORMATS.register(".csv")
def read_csv(source: Source, wanted: frozenset[str]) -> Mapping[str, Column]:
    """Samples as (samples, features): float32 where that is exact, else float64."""
    text = io.TextIOWrapper(source.stream, encoding="utf-8-sig", newline="")
    try:
        return _table(source, wanted, text).columns()
    except UnicodeDecodeError:
        finding = "is not text in UTF-8"
        raise InputError(source.name, finding, "save it as UTF-8, or the data as npz") from None
    except csv.Error as error:
        raise InputError(source.name, f"is not comma-separated text ({error})", _NUMBERS) from None
    finally:
        text.detach()


def _table(source: Source, wanted: frozenset[str], text: io.TextIOWrapper) -> Table:
    """All rows; blank lines are skipped."""
    rows = csv.reader(_lines(source, text), strict=True)
    first = next((row for row in rows if row), None)
    if first is None:
        raise InputError(source.name, "is empty: it has no row", "save the data again")
    header = _header(first, rows.line_num, source.name)
    label = _label_column(header, len(first), wanted, source.name)
    table = Table(source, wanted, len(first), label)
    if header is None:
        table.add(first, rows.line_num)
    for row in filter(None, rows):
        table.add(row, rows.line_num)
    if table.rows == 0:
        raise NothingEvaluatedError(source.name, "holds a header and no samples", "add a row")
    return table


def _lines(source: Source, text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a file, none longer than ``MAX_LINE``."""
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            finding = f"line {number} is longer than {MAX_LINE} characters"
            raise InputError(source.name, finding, "give one sample a row, or save npz")
        yield line


def _header(cells: list[str], line: int, place: str) -> list[str] | None:
    """The column names in lower case, or None if the row is a sample."""
    names = [cell.strip().lstrip("#").strip().lower() for cell in cells]
    numbers = sum(map(_is_number, cells))
    if not any(name in LABEL_NAMES for name in names):
        if numbers == len(cells):
            return None
        if numbers:
            _numbers(cells, line, 0, place)
    if "" in names:
        finding = f"column {names.index('') + 1} has no name in the header: a row index, perhaps"
        raise InputError(place, finding, "leave it out (pandas: index=False) or name it")
    return names


def _label_column(
    header: list[str] | None, width: int, wanted: frozenset[str], place: str
) -> int | None:
    """The index of the label column, or None where the file is read for its samples alone."""
    if header is None:
        named = []
    else:
        named = [index for index, name in enumerate(header) if name in LABEL_NAMES]
        named = [index for index in named if header[index] == LABEL_NAMES[0]] or named
    if len(named) > 1:
        found = ", ".join(repr(header[index]) for index in named) if header else ""
        raise InputError(place, f"has several label columns: {found}", "call one of them label")
    if named:
        return named[0]
    if "y" not in wanted:
        return None
    if "x" not in wanted and width > 1:
        finding = f"has {width} columns, none of them called {', '.join(LABEL_NAMES)}"
        raise InputError(place, finding, "call the label column label")
    return 0


def _is_number(cell: str) -> bool:
    """Whether a cell is a number as other programs write them: Python's 1_000 is not."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _numbers(cells: list[str], line: int, offset: int, place: str) -> array[float]:
    """The values of ``cells``, of which the first is in column ``offset``."""
    try:
        numbers = array("d", map(float, cells))
    except ValueError:
        numbers = None
    if numbers is not None and "_" not in "".join(cells):
        return numbers
    wrong = next(index for index, cell in enumerate(cells) if not _is_number(cell))
    cell = cells[wrong].strip()
    what = f"holds {cell[:40]!r}, not a number" if cell else "is empty"
    raise InputError(place, f"line {line}, column {offset + wrong + 1} {what}", _NUMBERS)


def _values(numbers: array[float]) -> np.ndarray:
    """The numbers as float64, without a copy."""
    return np.frombuffer(numbers, dtype=np.float64) if numbers else np.empty(0)


def _narrow(values: np.ndarray) -> np.ndarray:
    """float32 where every value is exactly one, else float64 as given."""
    with np.errstate(all="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values
