"""AUROC under attack and mean certified radius: by hand, by brute force, never above the truth."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.certification.scores import certified_auroc, mean_certified_radius, scores_of

HARD = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("eps", "twice"), [(0.0, Fraction(7, 9)), (0.25, Fraction(2, 3)), (0.5, Fraction(1, 2)), (1.0, Fraction(2, 9))]
)  # fmt: skip
def test_auroc_by_hand(eps: float, twice: Fraction) -> None:
    """Scores {1,2,3} against {0,1,2} with L = 1: the shift is downward, and ties count half."""
    value = certified_auroc(*HARD, 1.0, eps)
    assert Fraction(value) <= twice
    assert math.isclose(value, float(twice), rel_tol=1e-15)


def brute_force(positive: np.ndarray, negative: np.ndarray, shift: Fraction) -> Fraction:
    total = Fraction(0)
    for a in map(Fraction, positive.tolist()):
        for b in map(Fraction, negative.tolist()):
            total += 1 if a - b > shift else Fraction(1, 2) if a - b == shift else 0
    return total / (len(positive) * len(negative))


SCORES = st.lists(
    st.one_of(
        st.floats(-1e6, 1e6),
        st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.30000000000000004, 1e-300, -0.1, 1.0, 1e17]),
    ),
    min_size=1,
    max_size=6,
).map(lambda values: np.array(values, dtype=np.float64))
SIZES = st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.5, 1e-200, 3.0])


@given(SCORES, SCORES, SIZES, SIZES)
def test_auroc_is_that_of_all_pairs(
    positive: np.ndarray, negative: np.ndarray, constant: float, eps: float
) -> None:
    shift = 2 * Fraction(constant) * Fraction(eps)
    value = Fraction(certified_auroc(positive, negative, constant, eps))
    exact = brute_force(positive, negative, shift)
    assert value <= exact
    if shift == Fraction(float(shift)):
        assert float(value) == pytest.approx(float(exact), rel=1e-15)


@given(SCORES, SCORES, st.floats(0, 0.3), st.randoms(use_true_random=False))
def test_an_error_of_the_scores_never_helps(
    positive: np.ndarray, negative: np.ndarray, error: float, random: object
) -> None:
    """Scores anywhere within the error of those given have an AUROC that is not lower."""
    draw = random.uniform  # type: ignore[attr-defined]
    value = Fraction(certified_auroc(positive, negative, 1.0, 0.05, error=error))
    moved = [Fraction(v) + Fraction(draw(-error, error)) for v in positive.tolist()]
    others = [Fraction(v) + Fraction(draw(-error, error)) for v in negative.tolist()]
    wins = sum(a - b > 2 * Fraction(0.05) for a in moved for b in others)
    assert value <= Fraction(wins, len(moved) * len(others)) or error == 0.0


def test_mean_certified_radius_by_hand() -> None:
    scores, signs = np.array([2.0, -1.0, 0.5, 3.0]), np.array([1.0, 1.0, -1.0, 1.0])
    assert mean_certified_radius(scores, signs, 2.0) == 0.4375
    assert mean_certified_radius(scores, signs, 2.0, error=0.1) <= 0.3875


def test_signed_radii_have_the_sign_of_correctness() -> None:
    found = scores_of(
        np.array([2.0, -1.0, 0.5, 0.0]), np.array([1, 1, 0, 1]), 2.0, ((0.25, "0.25"),), error=1e-9
    )
    assert found.signed_radii[0] > 0 > found.signed_radii[1]
    assert found.signed_radii[2] < 0 and found.signed_radii[3] == 0
    assert abs(found.signed_radii[0]) < 1.0 and abs(found.signed_radii[0]) > 1.0 - 1e-8
    assert (found.positives, found.negatives) == (3, 1)
    assert len(found.auroc) == 1


def test_one_class_alone_has_no_auroc() -> None:
    found = scores_of(np.array([1.0, 2.0]), np.array([1, 1]), 1.0, ((0.1, "0.1"),))
    assert found.auroc == () and found.mcr == pytest.approx(1.5)


def test_a_constant_of_zero() -> None:
    found = scores_of(np.array([1.0, -2.0]), np.array([1, 0]), 0.0, ((5.0, "5"),))
    assert found.mcr == math.inf
    assert found.signed_radii.tolist() == [math.inf, math.inf]
    assert found.auroc[0].value == 1.0


@given(st.floats(1e-6, 1e6), st.floats(0, 1e-3), st.floats(1e-3, 1e3))
def test_signed_radii_are_rounded_inward(value: float, error: float, constant: float) -> None:
    """Never above (|f| − e)/L in exact arithmetic."""
    found = scores_of(np.array([value]), np.array([1]), constant, (), error=error)
    true = (Fraction(value) - Fraction(error)) / Fraction(constant)
    assert Fraction(float(found.signed_radii[0])) <= max(true, Fraction(0))


def test_beyond_the_range_of_floats() -> None:
    """A quotient that overflows is not infinite: only a constant of zero proves that."""
    found = scores_of(np.array([1e200, 2e200]), np.array([1, 1]), 1e-300, ())
    assert np.isfinite(found.signed_radii).all() and np.isfinite(found.mcr)
    assert mean_certified_radius(np.array([-1e200]), np.array([1.0]), 1e-300) == -math.inf
