"""Numbers as people read them: a bound is never printed on the wrong side of itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Final

HEADLINE: Final = 10
"""Significant digits of the number a command was asked for."""
RADIUS: Final = 5
"""Significant digits of statistics of radii."""
TABLE: Final = 7
"""Significant digits of numbers in tables."""


def at_most(value: float, digits: int = TABLE, *, zeros: bool = False) -> str:
    """``value`` rounded upward to ``digits`` significant digits, for upper bounds.

    With ``zeros``, digits that are zero are written out at the end.
    """
    return _rounded(value, digits, ROUND_CEILING, zeros)


def at_least(value: float, digits: int = TABLE) -> str:
    """``value`` rounded downward to ``digits`` significant digits, for lower bounds and radii."""
    return _rounded(value, digits, ROUND_FLOOR, False)


def _rounded(value: float, digits: int, rounding: str, zeros: bool) -> str:
    if not math.isfinite(value):
        return str(value)
    exact = Context(prec=digits, rounding=rounding).create_decimal_from_float(value + 0.0)
    size = exact.adjusted() if exact else 0
    if -5 <= size < digits:
        text, power = f"{exact:.{digits - 1 - size}f}", ""
    else:
        text, _, power = f"{exact:.{digits - 1}e}".partition("e")
    if "." in text and not zeros:
        text = text.rstrip("0").rstrip(".")
    return f"{text}e{power}" if power else text


def interval(low: float, high: float) -> str:
    """``[low, high]`` to four digits, rounded to nearest: a description, not a bound."""
    return f"[{low + 0.0:.4g}, {high + 0.0:.4g}]"


def percentage(count: int, total: int) -> str:
    """``count / total`` in percent, rounded downward to a tenth: 100.0 % means all of them."""
    tenths = 1000 * count // total
    return f"{tenths // 10}.{tenths % 10} %"


def percentage_up(count: int, total: int) -> str:
    """``count / total`` in percent, rounded upward to a tenth: for upper bounds."""
    tenths = -(-1000 * count // total)
    return f"{tenths // 10}.{tenths % 10} %"


def shape(sizes: Sequence[int]) -> str:
    """``1×3×32×32``; "scalar" for no dimensions."""
    return "×".join(map(str, sizes)) or "scalar"


def duration(seconds: float) -> str:
    """Seconds with one decimal, two below a second."""
    return f"{seconds:.1f} s" if seconds >= 1.0 else f"{seconds:.2f} s"


def eps_value(eps: float, text: str) -> str:
    """An ε as it was written, with its decimal value where that is not the same."""
    return f"{text} = {at_most(eps, 4)}" if "/" in text else text
