"""Exact piecewise-linear functions of one number, jumps included.

Comparisons, signs and choices jump where their operands cross a limit, yet what is made of them
may be continuous: ``where(x > 0, x, x/4)`` is.  Here such functions are computed exactly, in
rationals, so that continuity is decided and not guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

MAX_BREAKS = 64

Number = Fraction
Relation = Callable[[Fraction], bool]


@dataclass(frozen=True)
class Line:
    """``slope · t + offset``."""

    slope: Fraction
    offset: Fraction

    def at(self, t: Fraction) -> Fraction:
        """The value at t."""
        return self.slope * t + self.offset


@dataclass(frozen=True)
class Pieces:
    """A function that is ``lines[i]`` strictly between ``breaks[i−1]`` and ``breaks[i]``.

    ``points`` are its values at the breaks themselves.  Truth values are 0 and 1.
    """

    breaks: tuple[Fraction, ...]
    lines: tuple[Line, ...]
    points: tuple[Fraction, ...]

    def refined(self, breaks: tuple[Fraction, ...]) -> Pieces:
        """The same function with more breaks."""
        lines, points, own = [], [], 0
        for t in breaks:
            lines.append(self.lines[own])
            if own < len(self.breaks) and self.breaks[own] == t:
                points.append(self.points[own])
                own += 1
            else:
                points.append(self.lines[own].at(t))
        lines.append(self.lines[own])
        return Pieces(breaks, tuple(lines), tuple(points))

    def plain(self) -> Pieces:
        """The same function without breaks where nothing happens."""
        kept = [
            i
            for i, t in enumerate(self.breaks)
            if self.lines[i] != self.lines[i + 1] or self.points[i] != self.lines[i].at(t)
        ]
        return Pieces(
            tuple(self.breaks[i] for i in kept),
            (self.lines[0], *(self.lines[i + 1] for i in kept)),
            tuple(self.points[i] for i in kept),
        )

    @property
    def jump(self) -> tuple[Fraction, Fraction] | None:
        """The first place where the function is not continuous, and by how much; None if it is."""
        for i, t in enumerate(self.breaks):
            values = (self.lines[i].at(t), self.points[i], self.lines[i + 1].at(t))
            if min(values) != max(values):
                return t, max(values) - min(values)
        return None


VARIABLE = Pieces((), (Line(Fraction(1), Fraction(0)),), ())


def constant(value: Fraction) -> Pieces:
    """The same value everywhere."""
    return Pieces((), (Line(Fraction(0), value),), ())


def aligned(*functions: Pieces) -> list[Pieces] | None:
    """The functions over the breaks of all of them; None when these are too many."""
    breaks = tuple(sorted({t for function in functions for t in function.breaks}))
    if len(breaks) > MAX_BREAKS:
        return None
    return [function.refined(breaks) for function in functions]


def combined(first: Pieces, second: Pieces, sign: int) -> Pieces | None:
    """``first + sign · second``."""
    both = aligned(first, second)
    if both is None:
        return None
    f, g = both
    lines = tuple(
        Line(a.slope + sign * b.slope, a.offset + sign * b.offset)
        for a, b in zip(f.lines, g.lines, strict=True)
    )
    points = tuple(x + sign * y for x, y in zip(f.points, g.points, strict=True))
    return Pieces(f.breaks, lines, points).plain()


def product(first: Pieces, second: Pieces) -> Pieces | None:
    """``first · second`` where on every piece one of them is constant; otherwise None."""
    both = aligned(first, second)
    if both is None:
        return None
    f, g = both
    lines = []
    for a, b in zip(f.lines, g.lines, strict=True):
        if a.slope != 0 and b.slope != 0:
            return None
        lines.append(Line(a.slope * b.offset + b.slope * a.offset, a.offset * b.offset))
    points = tuple(x * y for x, y in zip(f.points, g.points, strict=True))
    return Pieces(f.breaks, tuple(lines), points).plain()


def reciprocal(function: Pieces) -> Pieces | None:
    """``1 / function`` of a function that is constant on every piece and never zero."""
    values = (*(line.offset for line in function.lines), *function.points)
    if any(line.slope != 0 for line in function.lines) or 0 in values:
        return None
    lines = tuple(Line(Fraction(0), 1 / line.offset) for line in function.lines)
    return Pieces(function.breaks, lines, tuple(1 / value for value in function.points))


def compared(first: Pieces, second: Pieces, relation: Relation) -> Pieces | None:
    """Where ``relation(first − second)`` holds."""
    difference = combined(first, second, -1)
    if difference is None:
        return None
    breaks = set(difference.breaks)
    ends = [None, *difference.breaks, None]
    for line, low, high in zip(difference.lines, ends[:-1], ends[1:], strict=True):
        if line.slope == 0:
            continue
        root = -line.offset / line.slope
        if (low is None or low < root) and (high is None or root < high):
            breaks.add(root)
    fine = difference.refined(tuple(sorted(breaks)))
    if len(fine.breaks) > MAX_BREAKS:
        return None
    middles = _inside(fine.breaks)
    holds = [relation(line.at(t)) for line, t in zip(fine.lines, middles, strict=True)]
    lines = tuple(Line(Fraction(0), Fraction(held)) for held in holds)
    return Pieces(fine.breaks, lines, tuple(Fraction(relation(v)) for v in fine.points)).plain()


def _inside(breaks: tuple[Fraction, ...]) -> list[Fraction]:
    """A number inside each interval between breaks."""
    if not breaks:
        return [Fraction(0)]
    middles = [(low + high) / 2 for low, high in pairwise(breaks)]
    return [breaks[0] - 1, *middles, breaks[-1] + 1]


def chosen(condition: Pieces, first: Pieces, second: Pieces) -> Pieces | None:
    """``first`` where the condition holds, ``second`` elsewhere."""
    all_three = aligned(condition, first, second)
    if all_three is None:
        return None
    c, f, g = all_three
    lines = tuple(
        a if held.offset else b for held, a, b in zip(c.lines, f.lines, g.lines, strict=True)
    )
    points = tuple(
        x if held else y for held, x, y in zip(c.points, f.points, g.points, strict=True)
    )
    return Pieces(c.breaks, lines, points).plain()


def larger(first: Pieces, second: Pieces, sign: int) -> Pieces | None:
    """The maximum (``sign`` 1) or minimum (−1) of two functions."""
    condition = compared(first, second, lambda d: sign * d > 0)
    return None if condition is None else chosen(condition, first, second)
