"""The curve of accuracy over ε: certified from below, attacked from above, the truth between.

Between two of its points the curve is drawn on the safe side: certified accuracy as at the point to
the right, attacked accuracy as at the point to the left.
"""

from __future__ import annotations

from dataclasses import dataclass

from lipcert.reports.html.record import Record
from lipcert.reports.html.scale import (
    CHARACTER,
    SIZES,
    Scale,
    Size,
    Tick,
    apart,
    level_ticks,
    number_ticks,
    percent_ticks,
)

Point = tuple[float, float]
TRUTH = "the truth lies here"
LINE = 22
"""Height of a line of text, in pixels."""


@dataclass(frozen=True)
class Mark:
    """An ε of the run: its mark and label, and the heights of the two curves there."""

    tick: Tick
    certified: float
    attacked: float | None


@dataclass(frozen=True)
class Leader:
    """A label, and the line that leads from it to what it is about."""

    label: Point
    start: Point
    end: Point


@dataclass(frozen=True)
class CurveChart:
    """Everything that is drawn, in pixels; paths in the language of SVG."""

    size: Size
    across: tuple[Tick, ...]
    upward: tuple[Tick, ...]
    certified: str
    proved: str
    attacked: str
    between: str
    marks: tuple[Mark, ...]
    leader: Leader | None


def curve_charts(record: Record) -> tuple[CurveChart, ...]:
    """The curve for every size of paper."""
    return tuple(_chart(record, size) for size in SIZES)


def _chart(record: Record, size: Size) -> CurveChart:
    x, y = size.across(record.curve[-1].eps or 1.0), size.upward(1.0)
    total = record.samples
    low = [(x(point.eps), y(point.certified / total)) for point in record.curve]
    high = [
        (x(point.eps), y(point.attacked / total))
        for point in record.curve
        if point.attacked is not None
    ]
    below, above = _before(low), _after(high)
    return CurveChart(
        size,
        number_ticks(x, 10 if size.width > 500 else 4),
        percent_ticks(y),
        path(below),
        _closed([*below, (below[-1][0], size.ground), (below[0][0], size.ground)]),
        path(above),
        _closed([*above, *reversed(below)]) if above else "",
        _marks(record, x, y, size),
        _leader(low, high, size) if high else None,
    )


def _before(points: list[Point]) -> list[Point]:
    """Corners of the steps that are as high as the next point."""
    corners = points[:1]
    for at, height in points[1:]:
        corners += [(corners[-1][0], height), (at, height)]
    return corners


def _after(points: list[Point]) -> list[Point]:
    """Corners of the steps that are as high as the point before."""
    corners = points[:1]
    for at, height in points[1:]:
        corners += [(at, corners[-1][1]), (at, height)]
    return corners


def path(corners: list[Point]) -> str:
    """A line through the corners, without those that lie within a straight piece of it."""
    if not corners:
        return ""
    parts = [f"M{corners[0][0]:g} {corners[0][1]:g}"]
    at, height = corners[0]
    for index, corner in enumerate(corners[1:], 1):
        following = corners[index + 1] if index + 1 < len(corners) else None
        if corner == (at, height) or (following and _in_line((at, height), corner, following)):
            continue
        parts.append(f"V{corner[1]:g}" if corner[0] == at else f"L{corner[0]:g} {corner[1]:g}")
        at, height = corner
    return "".join(parts)


def _in_line(first: Point, middle: Point, last: Point) -> bool:
    return any(first[i] == middle[i] == last[i] for i in (0, 1))


def _closed(corners: list[Point]) -> str:
    return path(corners) + "Z"


def _marks(record: Record, x: Scale, y: Scale, size: Size) -> tuple[Mark, ...]:
    inside = [level for level in record.levels if level.eps <= x.high]
    levels = {level.eps: level for level in sorted(inside, key=lambda item: item.eps)}
    labels = apart(level_ticks(x, levels.values()), size)
    total = record.samples
    return tuple(
        Mark(
            label,
            y(level.certified / total),
            None if level.attacked is None else y(level.attacked / total),
        )
        for label, level in zip(labels, levels.values(), strict=True)
    )


def _leader(low: list[Point], high: list[Point], size: Size) -> Leader | None:
    """A label where paper is free, led to where the two curves are far apart; None where they
    nowhere are, or no paper is free.
    """
    gaps = [below[1] - above[1] for below, above in zip(low, high, strict=True)]
    widest = max(range(len(gaps)), key=lambda index: gaps[index])
    if gaps[widest] < 4:
        return None
    end = (high[widest][0], round((high[widest][1] + low[widest][1]) / 2, 1))
    width = len(TRUTH) * CHARACTER
    left = round(min(end[0] + 2.5 * LINE, size.width - size.right - width), 1)
    height = round(_height(high, left - LINE) - LINE, 1)
    if height > size.top + LINE and end[0] < left - LINE:
        return Leader((left, height), (left - 6, height - 4), end)
    left, height = size.left + 14.0, size.ground - 2.0 * LINE
    if _height(low, left + width + LINE) < height - 2 * LINE:
        return Leader((left, height), (round(left + width / 2, 1), height - 16), end)
    return None


def _height(points: list[Point], at: float) -> float:
    """Height of the last point that is not right of ``at``."""
    return [height for across, height in points if across <= at or across == points[0][0]][-1]
