"""A chart of named values: a bar in a row for each, on a line or on powers of ten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lipcert.reports.html.scale import (
    CHARACTER,
    Decades,
    Scale,
    Size,
    Tick,
    decade_ticks,
    number_ticks,
)
from lipcert.reports.words import shortened

SPAN = 100.0
"""Largest over smallest value from which on the axis is one of powers of ten."""
APART = 12
"""Pixels before a row that begins something new."""

PADDING = 24
"""Pixels around a name."""


@dataclass(frozen=True)
class Measure:
    """A value with its name, the text that is written beside its bar, and the bar's class.

    ``apart`` sets it apart from what stands above.
    """

    label: str
    value: float
    text: str
    tone: str = "own"
    apart: bool = False


@dataclass(frozen=True)
class Row:
    """A bar and its two texts, in pixels."""

    label: str
    label_at: tuple[float, float]
    text: str
    text_at: tuple[float, float]
    tone: str
    top: float
    left: float
    width: float
    height: float


@dataclass(frozen=True)
class RowChart:
    """Everything that is drawn, in pixels; ``end`` is where the value ``most`` lies, if asked for.

    ``beside`` tells whether the names stand beside their bars, and not above them.
    """

    size: Size
    across: tuple[Tick, ...]
    upward: tuple[Tick, ...]
    rows: tuple[Row, ...]
    end: float | None
    beside: bool
    powers: bool


@dataclass(frozen=True)
class Sheet:
    """Paper for rows: the height of a row and of its bar, and where names stand."""

    name: str
    width: int
    pitch: int
    bar: int
    names: int
    """Width of the column of names; 0 for names above their bars."""


SHEETS = (Sheet("wide", 880, 27, 15, 300), Sheet("narrow", 360, 42, 13, 0))


def row_charts(measures: Sequence[Measure], most: float | None = None) -> tuple[RowChart, ...]:
    """The chart for every size of paper; ``most`` is the end of the axis and gets a line."""
    return tuple(_chart(measures, most, sheet) for sheet in SHEETS)


def spans_decades(measures: Sequence[Measure], most: float | None = None) -> bool:
    """Whether the values are so far apart that a line from zero would hide the small ones."""
    values = [m.value for m in measures if 0.0 < m.value < math.inf]
    return bool(values) and max(*values, most or 0.0, 0.0) / SPAN >= min(values)


def _chart(measures: Sequence[Measure], most: float | None, sheet: Sheet) -> RowChart:
    size, names = _size(measures, most, sheet)
    powers = spans_decades(measures, most)
    x = _axis(measures, most, size, powers)
    few = 8 if sheet.names else 4
    rows, top = [], float(size.top)
    for measure in measures:
        top += APART if measure.apart else 0
        rows.append(_row(measure, top, x, size, sheet, names))
        top += sheet.pitch
    return RowChart(
        size,
        decade_ticks(x, few) if isinstance(x, Decades) else number_ticks(x, few),
        (),
        tuple(rows),
        None if most is None else x(most),
        sheet.names > 0,
        powers,
    )


def _size(measures: Sequence[Measure], most: float | None, sheet: Sheet) -> tuple[Size, int]:
    """The paper, and how many characters of a name it shows."""
    texts = max((len(m.text) for m in measures), default=0)
    longest = max((len(m.label) for m in measures), default=0)
    right = min(round(texts * CHARACTER) + 12, sheet.width // 3)
    most_names = math.floor(((sheet.names or sheet.width) - PADDING) / CHARACTER)
    names = min(longest, most_names)
    left = round(names * CHARACTER) + PADDING if sheet.names else PADDING // 2
    top = 10 if most is None else 30
    height = top + sum(sheet.pitch + APART * m.apart for m in measures) + 50
    size = Size(sheet.name, sheet.width, height, left, right, top, 46)
    return size, names


def _axis(
    measures: Sequence[Measure], most: float | None, size: Size, powers: bool
) -> Scale | Decades:
    finite = [m.value for m in measures if 0.0 < m.value < math.inf]
    high = most or max(finite, default=1.0)
    if not powers:
        return size.across(high)
    least = math.log10(min(finite))
    low = math.floor(least)
    # the shortest bar is to be seen, too
    low -= least - low < 0.2
    return Decades(low, math.log10(high), size.left, size.width - size.right)


def _row(
    measure: Measure, top: float, x: Scale | Decades, size: Size, sheet: Sheet, names: int
) -> Row:
    end = size.width - size.right
    at = min(x(measure.value), end) if math.isfinite(measure.value) else end
    bar_top = top + (sheet.pitch - sheet.bar - (0 if sheet.names else 5)) / (
        2 if sheet.names else 1
    )
    middle = round(bar_top + sheet.bar / 2 + 4.5, 1)
    label_at = (size.left - 10.0, middle) if sheet.names else (float(size.left), round(top + 16, 1))
    return Row(
        shortened(measure.label, names),
        label_at,
        measure.text,
        (round(at + 7, 1), middle),
        measure.tone,
        round(bar_top, 1),
        float(size.left),
        round(max(at - size.left, 0.0), 1),
        float(sheet.bar),
    )
