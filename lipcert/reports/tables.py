"""Text tables that fit their width: names give way, numbers never do."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lipcert.reports.words import printable, shortened

NARROWEST = 8
"""Columns that a name keeps however narrow the terminal."""
LEAST_WIDTH = 60
"""Columns below which text is laid out no further."""
GAP = 2


@dataclass(frozen=True)
class Style:
    """How a column looks.

    Parameters
    ----------
    right : whole numbers and fractions, aligned to the right.
    decimal : numbers, aligned at their decimal points.
    shrinks : for names, shortened in the middle where the table would be too wide: the share of
        the width that this column gets; 0 for one that is always shown whole.
    wraps : for sentences, whose lines are broken instead; only where the column shrinks.
    """

    color: str = ""
    right: bool = False
    decimal: bool = False
    shrinks: int = 0
    wraps: bool = False


@dataclass(frozen=True)
class Column:
    """One column: its title, its cells, and how they look."""

    title: str
    cells: Sequence[str]
    style: Style

    @property
    def width(self) -> int:
        """Columns of the terminal that show it whole."""
        return max(cell_len(text) for text in (self.title, *self.cells))

    def shown(self, width: int) -> Sequence[str]:
        """The cells at this width, shortened unless they wrap."""
        return self.cells if self.style.wraps else [shortened(text, width) for text in self.cells]


@dataclass(frozen=True)
class Grid:
    """Columns of equal length, laid out to the width at hand; titles only if there are any."""

    columns: Sequence[Column]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = fitted(self.columns, options.max_width)
        fits = list(zip(self.columns, widths, strict=True))
        titled = any(column.title for column in self.columns)
        table = Table(
            box=None, show_header=titled, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim"
        )
        for column, width in fits:
            table.add_column(
                Text(column.title),
                style=column.style.color,
                width=width,
                no_wrap=not column.style.wraps,
                overflow="fold",
                justify="right" if column.style.right else "left",
            )
        for row in zip(*(column.shown(w) for column, w in fits), strict=True):
            table.add_row(*map(Text, row))
        room = max(taken(widths), options.max_width)
        yield from console.render(Padding(table, (0, 0, 0, GAP)), options.update(width=room))


def grid(titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Style]) -> Grid:
    """A grid of rows; names are made printable."""
    heads = titles or [""] * len(styles)
    columns = []
    for index, style in enumerate(styles):
        cells = [printable(row[index]) for row in rows]
        columns.append(Column(heads[index], pointed(cells) if style.decimal else cells, style))
    return Grid(columns)


def pointed(numbers: Sequence[str]) -> list[str]:
    """The numbers with their decimal points under one another."""
    most = max((whole_digits(number) for number in numbers), default=0)
    return [" " * (most - whole_digits(number)) + number for number in numbers]


def whole_digits(number: str) -> int:
    """Characters before the decimal point; an exponent counts as after it."""
    return len(number.partition("e")[0].partition(".")[0])


def fitted(columns: Sequence[Column], room: int) -> list[int]:
    """Widths for the columns; those that shrink give way, each in its share."""
    widths = [column.width for column in columns]
    shares = {index: c.style.shrinks for index, c in enumerate(columns) if c.style.shrinks}
    while taken(widths) > room:
        widest = max(shares, key=lambda index: widths[index] / shares[index], default=None)
        if widest is None or widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    return widths


def taken(widths: Sequence[int]) -> int:
    """Columns of the terminal that a grid of these widths takes, margins included."""
    return sum(widths) + GAP * (len(widths) + 1)


def facts(rows: Iterable[tuple[str, str, str]]) -> RenderableType:
    """Lines of a label, a value and a remark; remarks wrap, values do not."""
    listed = [(label, value, printable(remark)) for label, value, remark in rows]
    if not listed:
        return Group()
    values = any(value for _, value, _ in listed)
    table = Table.grid(padding=(0, GAP, 0, 0))
    numbers = pointed([value for _, value, _ in listed])
    table.add_column(style="dim", no_wrap=True, min_width=max(len(row[0]) for row in listed))
    if values:
        table.add_column(style="bold", no_wrap=True, min_width=max(map(len, numbers)))
    table.add_column(overflow="fold")
    for (label, _, remark), number in zip(listed, numbers, strict=True):
        cells = (label, number, remark) if values else (label, remark)
        table.add_row(*map(Text, cells))
    return Padding(table, (0, 0, 0, GAP))


def names(listed: Sequence[str]) -> Grid:
    """One name a line."""
    return grid((), [(name,) for name in listed], [Style("cyan", shrinks=1)])


def title(name: str, rest: str, style: str = "") -> Text:
    """The first line of a result: the file, then what was done with it."""
    return Text.assemble((printable(name), "bold cyan"), "  ", (rest, style))


def heading(text: str, style: str = "bold") -> RenderableType:
    """A line above a table."""
    return Padding(Text(text, style=style), (0, 0, 0, GAP))


def note(text: str, style: str = "dim") -> RenderableType:
    """A wrapped paragraph under a table."""
    return Padding(Text(text, style=style), (0, 0, 0, GAP))


def laid_out(renderable: RenderableType, *, width: int, color: bool) -> str:
    """What rich shows at ``width`` columns, without spaces at the ends of lines."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=max(width, LEAST_WIDTH),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(renderable, crop=False)
    lines = file.getvalue().rstrip("\n").split("\n")
    return "\n".join(line.rstrip() for line in lines) + "\n"
