"""The verdict of the proof checker, as text and as JSON."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nextafter
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.json_format import plain_object, written
from lipcert.reports.words import printable

if TYPE_CHECKING:
    from lipcert.checker import Verdict


@renders("text", "Verdict")
def verdict_text(verdict: Verdict) -> str:
    """One line: the verdict, and what it rests on."""
    return f"{verdict.status}: {printable(verdict.why)}\n"


@renders("json", "Verdict")
def verdict_json(verdict: Verdict) -> str:
    """Schema lipcert/check/1."""
    constant = verdict.constant
    return written(
        plain_object(
            {
                "schema": "lipcert/check/1",
                "verdict": verdict.status,
                "why": verdict.why,
                "constant": None if constant is None else str(constant),
                "value": None if constant is None else _upward(constant),
                "certified": verdict.certified,
                "mean": [str(value) for value in verdict.mean],
                "std": [str(value) for value in verdict.std],
            }
        )
    )


def _upward(value: Fraction) -> float:
    near = float(value)
    return near if Fraction(near) >= value else nextafter(near, inf)
