"""The histogram of radii."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lipcert.reports.html.record import Record
from lipcert.reports.html.scale import (
    SIZES,
    Size,
    Tick,
    apart,
    level_ticks,
    number_ticks,
    round_steps,
)

GAP = 1.0
"""Pixels between two bars."""
LEAST = 1.5
"""Height of the bar of a single sample, however many there are in others."""


@dataclass(frozen=True)
class Bar:
    """One bin."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class BarChart:
    """Everything that is drawn, in pixels; ``marks`` has the median, too, where it is in range."""

    size: Size
    across: tuple[Tick, ...]
    upward: tuple[Tick, ...]
    bars: tuple[Bar, ...]
    marks: tuple[Tick, ...]
    median: float | None


def histogram_charts(record: Record) -> tuple[BarChart, ...]:
    """The histogram for every size of paper."""
    return tuple(_chart(record, size) for size in SIZES)


def _chart(record: Record, size: Size) -> BarChart:
    edges, counts = record.histogram.edges, record.histogram.counts
    x = size.across(edges[-1] or 1.0)
    y = size.upward(_room(max(counts)))
    bars = []
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        if count:
            height = max(size.ground - y(count), LEAST)
            top, width = round(size.ground - height, 1), max(x(right) - x(left) - GAP, 0.5)
            bars.append(Bar(x(left), top, round(width, 1), round(height, 1)))
    median = record.radii.median
    middle = x(median) if math.isfinite(median) and 0.0 < median <= x.high else None
    labels = level_ticks(x, record.levels)
    if middle is not None:
        labels.append(Tick(middle, "median"))
    return BarChart(
        size,
        number_ticks(x, 10 if size.width > 500 else 4),
        number_ticks(y, 5, whole=True),
        tuple(bars),
        apart(labels, size),
        middle,
    )


def _room(most: int) -> float:
    """The height of the vertical axis: the round number above the longest bar."""
    steps = round_steps(float(max(most, 1)), 5, whole=True)
    step = steps[1] if len(steps) > 1 else 1.0
    return step * math.ceil(max(most, 1) / step)
