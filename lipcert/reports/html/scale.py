"""Axes: where a value lies on paper, and which values deserve a mark."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lipcert.reports.html.record import Level

CHARACTER = 7.4
"""Width of a character of a chart's text, about."""

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """A line from the value ``low`` at ``start`` to the value ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where ``value`` lies, to a tenth of a pixel."""
        span = self.high - self.low
        share = (value - self.low) / span if span > 0.0 else 0.0
        return round(self.start + share * (self.end - self.start), 1)


@dataclass(frozen=True)
class Decades:
    """A line over powers of ten, from ``10**low`` at ``start`` to ``10**high`` at ``end``.

    What is below the line, zero included, lies at its start; infinity lies at its end.
    """

    low: int
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where ``value`` lies, to a tenth of a pixel."""
        power = math.log10(value) if value > 0.0 else -math.inf
        share = (min(max(power, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


@dataclass(frozen=True)
class Size:
    """A chart's paper and its margins, in pixels."""

    name: str
    width: int
    height: int
    left: int = 52
    right: int = 16
    top: int = 30
    bottom: int = 46

    def across(self, high: float) -> Scale:
        """Values from 0 to ``high`` from left to right."""
        return Scale(0.0, high, self.left, self.width - self.right)

    def upward(self, high: float) -> Scale:
        """Values from 0 to ``high`` from the ground to the top."""
        return Scale(0.0, high, self.height - self.bottom, self.top)

    @property
    def ground(self) -> int:
        """Height of the horizontal axis."""
        return self.height - self.bottom


WIDE = Size("wide", 880, 380)
NARROW = Size("narrow", 360, 320, left=48, right=10)
SIZES = (WIDE, NARROW)
"""Every chart is drawn for a desk and for a phone: text keeps its size on both."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str
    short: str = ""
    """The label where the other one does not fit."""
    middle: float = 0.0
    """Where the middle of the label lies: at the mark, but on the paper."""


def round_steps(top: float, most: int, *, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from 0 to ``top``, at most ``most`` steps.

    With ``whole`` only whole numbers.
    """
    if not top > 0.0 or not math.isfinite(top / most):
        return [0.0]
    power = math.floor(math.log10(top / most))
    steps = (float(f"{digit}e{power + more}") for more in (0, 1) for digit in (1, 2, 5))
    fitting = (s for s in steps if s > 0.0 and top / s <= most and (s >= 1.0 or not whole))
    step = next(fitting, top)
    return [index * step for index in range(math.floor(top / step * (1 + 1e-9)) + 1)]


def number_ticks(scale: Scale, most: int, *, whole: bool = False) -> tuple[Tick, ...]:
    """Ticks at round numbers."""
    steps = round_steps(scale.high, most, whole=whole)
    digits = f"{steps[1]:e}" if len(steps) > 1 else "0e0"
    power = int(digits.partition("e")[2])
    if -4 <= power < 6:
        places = max(0, -power)
        return tuple(Tick(scale(step), f"{step:.{places}f}" if step else "0") for step in steps)
    return tuple(Tick(scale(step), f"{step:.3g}") for step in steps)


def decade_ticks(scale: Decades, most: int) -> tuple[Tick, ...]:
    """Ticks at powers of ten, every one or as many apart as ``most`` ticks need."""
    last = math.floor(scale.high + 1e-9)
    step = max(1, math.ceil((last - scale.low) / most))
    share = (scale.end - scale.start) / (scale.high - scale.low)
    return tuple(
        Tick(round(scale.start + (power - scale.low) * share, 1), _power_text(power))
        for power in range(last, scale.low - 1, -step)
    )[::-1]


def _power_text(power: int) -> str:
    """``0.01``, or ``10⁻⁶`` where that is shorter."""
    if -4 <= power <= 4:
        return f"{10.0**power:g}"
    return f"10{str(power).translate(RAISED)}"


def percent_ticks(scale: Scale) -> tuple[Tick, ...]:
    """Quarters of a share."""
    return tuple(Tick(scale(quarter / 4), f"{25 * quarter} %") for quarter in range(5))


def level_ticks(scale: Scale, levels: Iterable[Level]) -> list[Tick]:
    """The ε of a run, each once, as far as the axis reaches."""
    texts = {level.eps: level.text for level in levels if level.eps <= scale.high}
    return [Tick(scale(eps), f"ε = {text}", text) for eps, text in sorted(texts.items())]


def apart(ticks: list[Tick], size: Size) -> tuple[Tick, ...]:
    """Labels that do not run into each other or off the paper: short ones where long ones would,
    else none.
    """
    shown = _free(ticks, size.width)
    if len(shown) < len(ticks):
        shown = _free([Tick(tick.at, tick.short or tick.label) for tick in ticks], size.width)
    kept = {tick.at: tick for tick in shown}
    return tuple(kept.get(tick.at, Tick(tick.at, "")) for tick in ticks)


def _free(ticks: list[Tick], width: int) -> list[Tick]:
    shown: list[Tick] = []
    taken = -math.inf
    for tick in sorted(ticks, key=lambda tick: tick.at):
        half = len(tick.label) * CHARACTER / 2
        middle = round(min(max(tick.at, half), width - half), 1)
        if middle - half > taken and 2 * half <= width:
            shown.append(Tick(tick.at, tick.label, middle=middle))
            taken = middle + half + CHARACTER / 2
    return shown
