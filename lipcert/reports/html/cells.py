"""Tables of a page: cells of text, with the numbers that they are sorted by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """What is shown, and for a number what it is; ``code`` for a name.

    ``parts`` are names with a text each, shown as a list in place of ``text``.
    """

    text: str
    value: float | None = None
    code: bool = False
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The value in the language of the page's script; "" where the text is just that."""
        key = str(self.value).replace("inf", "Infinity")
        return "" if key == self.text else key


@dataclass(frozen=True)
class Head:
    """The head of a column; ``kind`` is "number" or "text"."""

    text: str
    kind: str = "number"


@dataclass(frozen=True)
class Table:
    """A table; ``groups`` are heads above the heads, with the number of columns they span.

    The first column names its row.
    """

    name: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    groups: tuple[tuple[str, int], ...] = ()
    sortable: bool = True


def count_cell(number: int) -> Cell:
    """A whole number, its thousands set apart."""
    return Cell(f"{number:,}", number)
