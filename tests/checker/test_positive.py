"""Proofs of positive semidefiniteness: what holds is proved, what fails by a hair is not."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipcert.checker.positive import (
    PLACES,
    Refuted,
    Scaled,
    prove_contraction,
    rounded_factor,
)


def contraction(n, m, seed, size=1.0):
    """K of spectral norm ``size`` in units of 2^-52, and the unit's square."""
    K = np.random.default_rng(seed).normal(size=(n, m))
    K *= size / np.linalg.norm(K, 2)
    return np.rint(np.ldexp(K, PLACES)).astype(np.int64)


def square(c: float) -> int:
    return int(Fraction(c) ** 2 * 4**PLACES)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 9), (40, 40), (200, 17), (300, 700)])
def test_slack_of_1e_9_is_enough_and_a_lack_of_it_too_much(n, m):
    K = contraction(n, m, seed=n)
    prove_contraction(Scaled(K, 0.0), [square(1.0 + 1e-9)] * n, None, "it")
    with pytest.raises(Refuted):
        prove_contraction(Scaled(K, 0.0), [square(1.0 - 1e-9)] * n, None, "it")


def test_what_may_be_left_out_counts():
    K = contraction(20, 30, seed=1, size=0.5)
    prove_contraction(Scaled(K, 0.49 / 30), [square(1.0)] * 20, None, "it")
    with pytest.raises(Refuted):
        prove_contraction(Scaled(K, 0.51), [square(1.0)] * 20, None, "it")


def test_a_factor_is_checked_and_not_believed():
    K = contraction(30, 30, seed=2, size=0.9)
    near = np.ldexp(K.astype(float), -PLACES)
    factor = rounded_factor(np.linalg.cholesky(np.eye(30) - near @ near.T - 1e-9 * np.eye(30)))
    prove_contraction(Scaled(K, 0.0), [square(1.0)] * 30, factor, "it")
    wrong = factor.copy()
    wrong[3, 2] += 1 << 30
    with pytest.raises(Refuted):
        prove_contraction(Scaled(K, 0.0), [square(1.0)] * 30, wrong, "it")
    with pytest.raises(Refuted):
        prove_contraction(Scaled(K, 0.0), [square(1.0)] * 30, factor[:-1, :-1], "it")


def test_families_hold_only_where_every_member_does():
    K = np.stack([contraction(5, 8, seed=s, size=0.9) for s in range(6)])
    prove_contraction(Scaled(K, 0.0), [square(0.9 + 1e-8)] * 5, None, "it")
    K[4] = contraction(5, 8, seed=9, size=0.9 + 1e-7)
    with pytest.raises(Refuted):
        prove_contraction(Scaled(K, 0.0), [square(0.9 + 1e-8)] * 5, None, "it")
