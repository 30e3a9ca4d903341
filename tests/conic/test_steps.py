"""Steps to the boundary of the cone, against all eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from chains import F64, definite
from torch import Tensor

from lipcert.conic.steps import SMALL_SIDE, longest_step

MOST_OF_A_STEP = 0.98
SMALL, LARGE = 40, SMALL_SIDE + 60


def with_eigenvalues(factor: Tensor, values: Tensor, seed: int) -> Tensor:
    """A direction whose eigenvalues relative to ``L Lᵀ`` are ``values``."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(len(values), len(values), dtype=F64, generator=generator)
    Q = torch.linalg.qr(root).Q
    direction = factor @ (Q * values) @ Q.T @ factor.T
    return (direction + direction.T) / 2.0


def dense(factor: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(factor.shape, dtype=F64, generator=generator)
    return root + root.T


def low_rank(factor: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(len(factor), 3, dtype=F64, generator=generator)
    return -root @ root.T


def graded(factor: Tensor, seed: int) -> Tensor:
    return with_eigenvalues(factor, torch.linspace(-1.7, 1.0, len(factor), dtype=F64) ** 3, seed)


def one_far_below(factor: Tensor, seed: int) -> Tensor:
    values = torch.linspace(-0.5, 1.0, len(factor), dtype=F64)
    values[0] = -5.0
    return with_eigenvalues(factor, values, seed)


def nearly_all_the_same(factor: Tensor, seed: int) -> Tensor:
    """As when every predictor goes straight to the boundary."""
    return with_eigenvalues(factor, torch.linspace(-1.01, -1.0, len(factor), dtype=F64), seed)


KINDS = [dense, low_rank, graded, one_far_below, nearly_all_the_same]


def true_step(factor: Tensor, direction: Tensor) -> float:
    inverse = torch.linalg.inv(factor)
    whole = inverse @ direction @ inverse.T
    smallest = float(torch.linalg.eigvalsh((whole + whole.T) / 2.0)[0])
    return -1.0 / smallest if smallest < 0.0 else math.inf


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_small_matrices_go_exactly_as_far_as_they_can(
    kind: Callable[[Tensor, int], Tensor], seed: int
) -> None:
    factor = torch.linalg.cholesky(definite(SMALL, seed))
    for scale in (1e-9, 1.0, 1e6):
        direction = scale * kind(factor, seed)
        wanted = true_step(factor, direction)
        assert longest_step(factor, direction) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_large_matrices_go_nearly_as_far(kind: Callable[[Tensor, int], Tensor], seed: int) -> None:
    """Lanczos may miss the last bit, not more than the solver leaves of every step.

    Steps beyond 1 are not told apart: nobody takes them.
    """
    factor = torch.linalg.cholesky(definite(LARGE, seed))
    direction = kind(factor, seed)
    wanted = true_step(factor, direction)
    assert wanted < 1.0
    step = longest_step(factor, direction)
    assert 0.9 * wanted <= step <= wanted / MOST_OF_A_STEP
    shrunk = longest_step(factor, direction * (0.1 * wanted))
    assert shrunk > 1.0


@pytest.mark.parametrize("side", [1, 2, SMALL, LARGE])
def test_no_end_where_the_direction_does_not_fall(side: int) -> None:
    factor = torch.linalg.cholesky(definite(side, 0))
    assert longest_step(factor, torch.zeros(side, side, dtype=F64)) == math.inf
    assert longest_step(factor, definite(side, 1)) > 1.0
    assert longest_step(factor, -factor @ factor.T) == pytest.approx(1.0)


@pytest.mark.parametrize("side", [SMALL, LARGE])
def test_the_same_question_has_the_same_answer(side: int) -> None:
    factor = torch.linalg.cholesky(definite(side, 0))
    direction = dense(factor, 1)
    torch.randn(5)
    assert longest_step(factor, direction) == longest_step(factor, direction)
