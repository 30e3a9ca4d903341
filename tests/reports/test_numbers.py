"""Printed numbers: never on the wrong side of what was proved."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.reports.numbers import (
    at_least,
    at_most,
    duration,
    eps_value,
    interval,
    percentage,
    shape,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, st.integers(1, 12))
def test_rounded_outward_and_close(value: float, digits: int) -> None:
    above, below = Fraction(at_most(value, digits)), Fraction(at_least(value, digits))
    assert below <= Fraction(value) <= above
    if abs(value) > 1e-300:
        assert above - below <= abs(Fraction(value)) * 10 * Fraction(1, 10**digits) * 2


@pytest.mark.parametrize(
    ("value", "above", "below"),
    [
        (1.0, "1", "1"),
        (0.0, "0", "0"),
        (1.0000000000000002, "1.000001", "1"),
        (0.1, "0.1000001", "0.1"),
        (839.2579133, "839.258", "839.2579"),
        (3778480.04, "3778481", "3778480"),
        (math.inf, "inf", "inf"),
    ],
)
def test_rounded_examples(value: float, above: str, below: str) -> None:
    assert at_most(value) == above
    assert at_least(value) == below


def test_zeros_are_written_out_on_request() -> None:
    assert at_most(121.0, 4, zeros=True) == "121.0"
    assert at_most(1234.0, 4, zeros=True) == "1234"


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [(0, 7, "0.0 %"), (7, 7, "100.0 %"), (9999, 10000, "99.9 %"), (1, 10000, "0.0 %")],
)
def test_percentage_is_rounded_down(count: int, total: int, text: str) -> None:
    assert percentage(count, total) == text


def test_intervals_shapes_durations_and_eps() -> None:
    assert interval(0.0, 1.0) == "[0, 1]"
    assert interval(-0.12904, 1.12904) == "[-0.129, 1.129]"
    assert interval(0.009999999776482582, 1.0) == "[0.01, 1]"
    assert shape((1, 3, 32, 32)) == "1×3×32×32"
    assert shape(()) == "scalar"
    assert (duration(0.126), duration(12.34)) == ("0.13 s", "12.3 s")
    assert eps_value(36 / 255, "36/255") == "36/255 = 0.1412"
    assert eps_value(0.5, "0.5") == "0.5"
