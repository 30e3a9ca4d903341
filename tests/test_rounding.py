"""Outward rounding against rationals: never on the wrong side, and never far from the truth."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from lipcert.rounding import (
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    add_up,
    div_down,
    div_up,
    down,
    gamma,
    hypot_up,
    mul_up,
    power_of_two_below,
    root_up,
    sqrt_up,
    sub_down,
    up,
)

POSITIVE = st.floats(0.0, allow_nan=False, allow_infinity=False)
ANY = st.floats(allow_nan=False, allow_infinity=False)
MIDDLE = st.floats(1e-100, 1e100)


def as_fraction(value: float) -> Fraction | None:
    return Fraction(value) if math.isfinite(value) else None


def at_least(value: float, exact: Fraction) -> bool:
    return value == math.inf or Fraction(value) >= exact


@given(ANY)
def test_neighbours(x: float) -> None:
    assert up(x) > x or x == math.inf
    assert down(x) < x


@given(st.lists(POSITIVE, max_size=6))
def test_sum_is_not_below(terms: list[float]) -> None:
    assert at_least(add_up(*terms), sum(map(Fraction, terms), Fraction(0)))


@given(st.lists(st.floats(-1e300, 1e300), max_size=6))
def test_sum_of_either_sign_is_not_below(terms: list[float]) -> None:
    assert at_least(add_up(*terms), sum(map(Fraction, terms), Fraction(0)))


@given(ANY, ANY)
def test_difference_is_not_above(a: float, b: float) -> None:
    found = sub_down(a, b)
    assert found == -math.inf or Fraction(found) <= Fraction(a) - Fraction(b)


@given(st.lists(POSITIVE, max_size=5))
def test_product_is_not_below(factors: list[float]) -> None:
    exact = Fraction(1)
    for factor in factors:
        exact *= Fraction(factor)
    assert at_least(mul_up(*factors), exact)


@given(POSITIVE, st.floats(min_value=5e-324, allow_infinity=False))
def test_quotient_lies_between(a: float, b: float) -> None:
    exact = Fraction(a) / Fraction(b)
    assert at_least(div_up(a, b), exact)
    found = div_down(a, b)
    assert found >= 0.0
    # a quotient beyond the range is rounded down to the largest float
    assert found == math.inf or Fraction(found) <= exact


@given(POSITIVE)
def test_square_root_is_not_below(x: float) -> None:
    assert Fraction(sqrt_up(x)) ** 2 >= Fraction(x)


@given(POSITIVE, st.integers(0, 8))
def test_repeated_root_is_not_below(x: float, doublings: int) -> None:
    assert Fraction(root_up(x, doublings)) ** (2**doublings) >= Fraction(x)


@given(st.lists(ANY, max_size=5))
def test_hypotenuse_is_not_below(terms: list[float]) -> None:
    found = hypot_up(*terms)
    assert found == math.inf or Fraction(found) ** 2 >= sum(Fraction(t) ** 2 for t in terms)


@given(st.lists(MIDDLE, min_size=1, max_size=4))
def test_all_stay_close(terms: list[float]) -> None:
    """Within a few neighbours of the truth: outward, not merely large."""
    product = math.prod(map(Fraction, terms))
    slack = 1 + Fraction(1, 2**48)
    assert sum(map(Fraction, terms)) * slack >= Fraction(add_up(*terms))
    if Fraction(10) ** -290 < product < 10**290:
        assert product * slack >= Fraction(mul_up(*terms))
    squares = sum(Fraction(t) ** 2 for t in terms)
    assert squares * slack >= Fraction(hypot_up(*terms)) ** 2
    assert Fraction(terms[0]) * slack >= Fraction(sqrt_up(terms[0])) ** 2


@given(st.integers(0, 10**9))
def test_gamma_is_not_below_its_definition(n: int) -> None:
    nu = Fraction(n) * Fraction(UNIT_ROUNDOFF)
    found = gamma(n)
    assert Fraction(found) >= nu / (1 - nu)
    assert Fraction(found) <= nu / (1 - nu) * (1 + Fraction(1, 2**40)) + Fraction(1, 2**900)


def test_gamma_grows_and_gives_up() -> None:
    assert 0.0 == gamma(0) < gamma(1) < gamma(2)
    assert gamma(2**52) == gamma(2**60) == math.inf


@given(st.floats(min_value=5e-324, allow_infinity=False))
def test_power_of_two_below(x: float) -> None:
    found = power_of_two_below(x)
    assert math.frexp(found)[0] == 0.5
    assert x < 2.0**-1021 or found <= x < 2.0 * found


def test_nothing_is_lost_to_what_is_no_number() -> None:
    """NaN stays NaN: a comparison that it passes would make it a bound."""
    nan = math.nan
    for found in (
        add_up(nan),
        add_up(1.0, nan),
        add_up(nan, 0.0),
        mul_up(nan),
        mul_up(0.0, nan),
        mul_up(nan, 0.0),
        mul_up(1.0, nan),
        div_up(nan, 2.0),
        sqrt_up(nan),
        root_up(nan, 3),
        hypot_up(nan, 1.0),
        hypot_up(1.0, nan),
        hypot_up(nan),
        up(nan),
    ):
        assert math.isnan(found)


def test_infinity() -> None:
    inf = math.inf
    assert add_up(1.0, inf) == mul_up(2.0, inf) == sqrt_up(inf) == hypot_up(1.0, -inf) == inf
    assert mul_up(0.0, inf) == mul_up(inf, 0.0) == 0.0
    assert add_up(1e308, 1e308) == mul_up(1e200, 1e200) == inf


def test_exact_cases_stay_exact() -> None:
    """Zero and one do not move: a chain of 1-Lipschitz layers keeps the constant 1."""
    assert add_up() == add_up(0.0, 0.0) == 0.0
    assert add_up(0.0, 0.3) == 0.3
    assert mul_up() == mul_up(1.0, 1.0) == 1.0
    assert mul_up(1.0, 0.3, 1.0) == 0.3
    assert sqrt_up(0.0) == hypot_up() == hypot_up(0.0) == 0.0
    assert hypot_up(0.0, -0.7) == 0.7


def test_least_numbers_are_not_lost() -> None:
    tiny = 5e-324
    assert mul_up(tiny, 0.1) > 0.0
    assert mul_up(tiny, tiny) > 0.0
    assert hypot_up(tiny, tiny) > tiny
    assert sqrt_up(tiny) ** 2 >= tiny
    assert 0.0 < SMALLEST_NORMAL < 1e-300
