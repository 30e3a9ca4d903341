"""Largest eigenvalues: what is proved, what is refused, and Gram iteration step by step."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.exact import is_semidefinite

from lipcert.rounding import gamma
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.spectral.gram import gram_blocks, gram_iteration_bound, steps_for
from lipcert.spectral.proof import lanczos_estimate, largest_eigenvalue_bound, proven_upper
from lipcert.spectral.tensors import (
    frobenius_up,
    gamma_of_product,
    power_of_two_scale,
    square_sums_up,
)


def random_gram(
    seed: int, n: int, m: int, blocks: int = 1, *, complex_: bool = False
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if complex_ else torch.float64
    a = torch.randn(blocks, n, m, dtype=dtype, generator=generator)
    gram = a @ a.mH
    return (gram + gram.mH) / 2.0


def integer_gram(seed: int, n: int) -> np.ndarray:
    """A semidefinite matrix of integers, exact in float64."""
    a = np.random.default_rng(seed).integers(-9, 10, (n, n)).astype(np.float64)
    return a @ a.T


def is_above_exactly(bound: float, gram: np.ndarray) -> bool:
    """``bound · I − G ≽ 0`` in rational arithmetic."""
    gap = [[Fraction(-float(entry)) for entry in row] for row in gram]
    for place in range(len(gap)):
        gap[place][place] += Fraction(bound)
    return is_semidefinite(gap)


# --- the proof -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("complex_", [False, True])
def test_a_candidate_below_the_largest_eigenvalue_is_refused(n: int, complex_: bool) -> None:
    gram = random_gram(n, n, n + 3, complex_=complex_)
    top = float(torch.linalg.eigvalsh(gram)[0, -1])
    for short in (1e-9, 1e-4, 0.5):
        bounds, proved = proven_upper(gram, top * (1.0 - short))
        assert not bool(proved[0]) or float(bounds[0]) >= top
    assert not bool(proven_upper(gram, 0.9 * top)[1][0])
    assert bool(proven_upper(gram, top * (1.0 + 1e-9))[1][0])


@pytest.mark.parametrize("seed", range(25))
def test_what_is_proved_is_true_in_exact_arithmetic(seed: int) -> None:
    """Even for candidates a hair from the eigenvalue, on either side of it."""
    gram = integer_gram(seed, 5)
    tensor = torch.from_numpy(gram)[None]
    top = float(np.linalg.eigvalsh(gram)[-1])
    for offset in (-1e-12, -1e-14, 0.0, 1e-15, 1e-13, 1e-10):
        bounds, proved = proven_upper(tensor, top * (1.0 + offset))
        if bool(proved[0]):
            assert is_above_exactly(float(bounds[0]), gram)
    for name in EIGENVALUE_BOUNDS:
        assert is_above_exactly(EIGENVALUE_BOUNDS[name](tensor), gram)


@pytest.mark.parametrize("name", EIGENVALUE_BOUNDS)
@pytest.mark.parametrize(
    ("n", "blocks"), [(1, 1), (1, 7), (2, 1), (3, 20), (30, 6), (150, 2), (300, 1)]
)
def test_every_method_is_above_and_tight(name: str, n: int, blocks: int) -> None:
    for complex_ in (False, True):
        gram = random_gram(n + blocks, n, n + 2, blocks, complex_=complex_)
        top = float(torch.linalg.eigvalsh(gram)[:, -1].max())
        found = EIGENVALUE_BOUNDS[name](gram)
        assert top * (1.0 - n * 2.0**-52) <= found <= top * (1.0 + 1e-9)


@pytest.mark.parametrize("name", EIGENVALUE_BOUNDS)
def test_degenerate_spectra(name: str) -> None:
    """The identity, rank one, one huge and many small, a repeated top, zero, zero blocks."""
    n = 140
    rank_one = torch.full((n, n), 1.0 / n, dtype=torch.float64)
    spread = torch.diag(torch.logspace(0, -300, n, dtype=torch.float64))
    for gram, top in (
        (torch.eye(n, dtype=torch.float64), 1.0),
        (rank_one, 1.0),
        (spread, 1.0),
        (torch.zeros(n, n, dtype=torch.float64), 0.0),
        (torch.stack((torch.zeros(n, n, dtype=torch.float64), rank_one)), 1.0),
    ):
        found = EIGENVALUE_BOUNDS[name](gram.reshape(-1, n, n))
        assert top * (1.0 - n * 2.0**-52) <= found <= top * (1.0 + 1e-9) + 1e-70
    big = EIGENVALUE_BOUNDS[name](torch.full((1, 1, 1), 4.0, dtype=torch.float64))
    assert 4.0 <= big <= 4.0 * (1.0 + 1e-9)


@pytest.mark.parametrize("name", EIGENVALUE_BOUNDS)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [1, 3, 200])
def test_what_is_not_finite_never_becomes_finite(name: str, poison: float, n: int) -> None:
    gram = random_gram(0, n, n, 2)
    gram[1, 0, 0] = poison
    assert not math.isfinite(EIGENVALUE_BOUNDS[name](gram))


def test_nothing_has_eigenvalue_zero() -> None:
    assert largest_eigenvalue_bound(torch.zeros(1, 0, 0, dtype=torch.float64)) == 0.0


def test_lanczos_finds_the_top_of_a_zero_and_of_a_large_matrix() -> None:
    assert lanczos_estimate(torch.zeros(200, 200, dtype=torch.float64)) == 0.0
    gram = random_gram(4, 400, 500)[0]
    top = float(torch.linalg.eigvalsh(gram)[-1])
    assert math.isclose(lanczos_estimate(gram), top, rel_tol=1e-9)


# --- Gram iteration --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_gram_iteration_strictly_tightens_with_steps(seed: int) -> None:
    """Decreasing down to rounding, and within ``rank^(1/2^(t+1))`` of the truth all the way."""
    gram = random_gram(seed, 8, 9)
    top = float(torch.linalg.eigvalsh(gram)[0, -1])
    bounds = [float(gram_iteration_bound(gram, steps)[0]) for steps in range(14)]
    for steps, (before, after) in enumerate(itertools.pairwise(bounds)):
        assert after < before or before <= top * (1.0 + 1e-12), steps
    for steps, bound in enumerate(bounds):
        assert top <= bound <= top * 8.0 ** (1.0 / 2 ** (steps + 1)) * (1.0 + 1e-12)


def test_gram_iteration_without_steps_is_the_frobenius_norm() -> None:
    gram = random_gram(1, 4, 4)
    wanted = float(gram[0].norm())
    assert wanted <= float(gram_iteration_bound(gram, 0)[0]) <= wanted * (1.0 + 1e-13)


def test_gram_iteration_neither_over_nor_underflows() -> None:
    for power in (-900, -300, 0, 300, 900):
        gram = random_gram(2, 6, 7) * 2.0**power
        top = float(torch.linalg.eigvalsh(gram * 2.0**-power)[0, -1]) * 2.0**power
        found = float(gram_iteration_bound(gram, 30)[0])
        assert top * (1.0 - 1e-14) <= found <= top * (1.0 + 1e-8)


def test_steps_for_reach_their_tolerance() -> None:
    for size in (1, 2, 50, 4096):
        for tolerance in (1e-2, 1e-6, 2e-10):
            steps = steps_for(size, tolerance)
            assert math.log(max(size, 2)) / 2 ** (steps + 1) <= tolerance


def test_gram_blocks_bound_their_rounding() -> None:
    """Against exact products of floats."""
    for seed in range(10):
        a = np.random.default_rng(seed).standard_normal((3, 5))
        gram, error = gram_blocks(torch.from_numpy(a)[None])
        worst = Fraction(0)
        for i in range(3):
            for j in range(3):
                exact = sum(Fraction(x) * Fraction(y) for x, y in zip(a[i], a[j], strict=True))
                worst += (exact - Fraction(float(gram[0, i, j]))) ** 2
        assert worst <= Fraction(float(error[0])) ** 2


# --- outward-rounded reductions --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_squares_are_rounded_upward(seed: int) -> None:
    rng = np.random.default_rng(seed)
    block = rng.standard_normal((4, 30)) * 10.0 ** rng.integers(-30, 30, (4, 1))
    exact = sum(Fraction(float(v)) ** 2 for v in block.reshape(-1))
    squares = Fraction(float(square_sums_up(torch.from_numpy(block)[None])[0]))
    root = Fraction(float(frobenius_up(torch.from_numpy(block)[None])[0]))
    assert squares >= exact
    assert root * root >= exact
    complex_block = torch.complex(torch.from_numpy(block), torch.from_numpy(block[::-1].copy()))
    assert Fraction(float(square_sums_up(complex_block[None])[0])) >= 2 * exact


def test_gamma_of_a_product_covers_complex_arithmetic() -> None:
    assert gamma_of_product(10, is_complex=False) >= gamma(10)
    assert gamma_of_product(10, is_complex=True) >= 2.0 * gamma(20)


@pytest.mark.parametrize("value", [5e-324, 1e-310, 1e-200, 0.3, 1.0, 7.0, 1e200, 1.7e308])
def test_scale_is_a_power_of_two_that_divides_exactly(value: float) -> None:
    block = torch.tensor([[[value, -value / 2.0]]], dtype=torch.float64)
    scale = power_of_two_scale(block)
    assert math.frexp(scale)[0] == 0.5
    assert Fraction(float((block / scale)[0, 0, 0])) * Fraction(scale) == Fraction(value)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_scale_of_what_cannot_be_scaled_is_one(value: float) -> None:
    assert power_of_two_scale(torch.full((1, 2, 2), value, dtype=torch.float64)) == 1.0
