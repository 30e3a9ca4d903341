"""The rows of comma-separated text, with where each starts, and the numbers in their cells.

A row without quotes is split at its commas; one with quotes is left to the csv module, which gives
the same cells.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lipcert.errors import InputError

MAX_LINE = 8 << 20
"""Longest line read, in bytes."""
MAX_CELL = 131072
"""Longest cell read, in characters: the csv module's own limit."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NUMBERS = "separate plain numbers by commas; classes are whole numbers counted from 0"


@dataclass(frozen=True)
class Row:
    """A row that is not blank.

    Parameters
    ----------
    content : the text of its line, or its cells where they are quoted.
    offset : the byte at which it starts, or blank lines before it do.
    lines_before : the number of lines before ``offset``.
    line : the number of the line on which it ends, from 1.
    """

    content: bytes | list[str]
    offset: int
    lines_before: int
    line: int
    place: str

    @property
    def width(self) -> int:
        """The number of cells."""
        content = self.content
        return content.count(b",") + 1 if isinstance(content, bytes) else len(content)

    def cells(self) -> list[str]:
        """All cells."""
        if isinstance(self.content, bytes):
            return decoded(self.content, self.place).split(",")
        return self.content

    def cell(self, index: int) -> str:
        """One cell, without a look at those after it."""
        if isinstance(self.content, bytes):
            return decoded(self.content.split(b",", index + 1)[index], self.place)
        return self.content[index]


class Rows:
    """The rows of ``stream`` from byte ``offset`` on, before which there are ``lines`` lines."""

    def __init__(self, stream: BinaryIO, place: str, offset: int = 0, lines: int = 0) -> None:
        self.stream = stream
        self.place = place
        self.offset = offset
        self.lines = lines
        self.pending: list[bytes] = []
        stream.seek(offset)
        if offset == 0 and stream.read(3) == _BYTE_ORDER_MARK:
            self.offset = 3
        stream.seek(self.offset)

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        offset, lines = self.offset, self.lines
        while (line := self._line()) is not None:
            content: bytes | list[str] = line.rstrip(b"\r\n")
            if b'"' in line or len(line) > MAX_CELL:
                content = self._quoted(line)
            if content:
                return Row(content, offset, lines, self.lines, self.place)
        raise StopIteration

    def _line(self) -> bytes | None:
        """The next line with its end, which may be a carriage return alone; None at the end."""
        if not self.pending:
            found = self.stream.readline(MAX_LINE + 1)
            if len(found) > MAX_LINE:
                finding = f"line {self.lines + 1} is longer than {MAX_LINE} characters"
                raise InputError(self.place, finding, "give one sample a row, or save npz")
            self.pending = found.splitlines(keepends=True)[::-1]
        if not self.pending:
            return None
        line = self.pending.pop()
        self.offset += len(line)
        self.lines += 1
        return line

    def _quoted(self, line: bytes) -> list[str]:
        """The cells of a row with quotes, which may run over several lines."""

        def texts() -> Iterator[str]:
            found: bytes | None = line
            while found is not None:
                yield decoded(found, self.place)
                found = self._line()

        try:
            return next(csv.reader(texts(), strict=True), [])
        except csv.Error as error:
            finding = f"is not comma-separated text ({error})"
            raise InputError(self.place, finding, _NUMBERS) from None


def decoded(text: bytes, place: str) -> str:
    """The text, which is to be UTF-8."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        finding = "is not text in UTF-8"
        raise InputError(place, finding, "save it as UTF-8, or the data as npz") from None


def is_number(cell: str) -> bool:
    """Whether a cell is a number as other programs write them: Python's 1_000 is not."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def numbers(cells: list[str], line: int, offset: int, place: str) -> array[float]:
    """The values of ``cells``, of which the first is in column ``offset``."""
    try:
        found = array("d", map(float, cells))
    except ValueError:
        found = None
    if found is not None and "_" not in "".join(cells):
        return found
    wrong = next(index for index, cell in enumerate(cells) if not is_number(cell))
    cell = cells[wrong].strip()
    what = f"holds {cell[:40]!r}, not a number" if cell else "is empty"
    raise InputError(place, f"line {line}, column {offset + wrong + 1} {what}", _NUMBERS)
