"""Fewer input coordinates: domination decided in rationals, hardly above what it dominates."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.exact import is_semidefinite
from torch import Tensor

from lipcert.bounds.coordinates import Coefficients
from lipcert.bounds.dominating import dominating_factor

MATRIX = list[list[Fraction]]


def rational(matrix: Tensor) -> MATRIX:
    return [[Fraction(v) for v in row] for row in matrix.tolist()]


def gram(rows: MATRIX) -> MATRIX:
    return [[sum(a * b for a, b in zip(r, s, strict=True)) for s in rows] for r in rows]


def dominates(M: Tensor, A: Tensor) -> bool:
    """``M Mᵀ − A Aᵀ ≽ 0``, exactly."""
    above, below = gram(rational(M)), gram(rational(A))
    gap = [[x - y for x, y in zip(r, s, strict=True)] for r, s in zip(above, below, strict=True)]
    return is_semidefinite(gap)


def excess(M: Tensor, A: Tensor) -> float:
    """How far above: the largest eigenvalue of the difference where rows of A are of length 1."""
    length = A.norm(dim=1)
    length = torch.where(length > 0.0, length, torch.ones_like(length))
    scaled, unit = M / length[:, None], A / length[:, None]
    return float(torch.linalg.eigvalsh(scaled @ scaled.T - unit @ unit.T)[-1])


def drawn(rows: int, columns: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)))


def repeated(seed: int) -> Tensor:
    A = drawn(3, 9, seed)
    return torch.cat((A, A[:2], A[:1] - A[1:2]))


SHAPES = {
    "wide": lambda seed: drawn(5, 12, seed),
    "square": lambda seed: drawn(6, 6, seed),
    "one row": lambda seed: drawn(1, 20, seed),
    "deficient": repeated,
    "zero rows": lambda seed: drawn(5, 8, seed) * torch.tensor([1.0, 0, 1, 0, 1])[:, None],
    "scales": lambda seed: (
        drawn(5, 9, seed) * torch.logspace(-60, 60, 5, dtype=torch.float64)[:, None]
    ),
    "small": lambda seed: drawn(4, 9, seed) * 1e-150,
    "large": lambda seed: drawn(4, 9, seed) * 1e120,
}


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("seed", range(4))
def test_the_factor_dominates_and_hardly_exceeds(make, seed: int) -> None:
    A = make(seed).double()
    M = dominating_factor([Coefficients(A)])
    assert M is not None and M.shape == (len(A), len(A))
    assert dominates(M, A)
    assert excess(M, A) <= 1e-12
    with_some_more = dominating_factor([Coefficients(A[:1]), Coefficients(A[1:])])
    assert torch.equal(with_some_more, M)


@pytest.mark.parametrize("errors", [(1e-9, 1e-9), (1e-3, 0.0), (0.0, 1e-12), (1e-6, 0.3)])
@pytest.mark.parametrize("seed", range(4))
def test_every_matrix_within_the_errors_is_dominated(
    errors: tuple[float, float], seed: int
) -> None:
    parts = [Coefficients(drawn(3, 9, seed), errors[0]), Coefficients(drawn(2, 9, 9), errors[1])]
    M = dominating_factor(parts)
    assert M is not None
    rng = np.random.default_rng(seed)
    stored = torch.cat([part.matrix for part in parts])
    top = torch.linalg.eigh(stored @ stored.T).eigenvectors
    right = torch.linalg.svd(stored).Vh
    for trial in range(12):
        moved = []
        start = 0
        for part in parts:
            stop = start + len(part.matrix)
            u = top[start:stop, -1 - trial % 5] if trial < 5 else rng.standard_normal(stop - start)
            v = right[trial % 5] if trial < 5 else rng.standard_normal(9)
            off = torch.outer(torch.as_tensor(u), torch.as_tensor(v))
            off *= 0.999 * part.error / float(torch.linalg.matrix_norm(off, 2))
            moved.append(part.matrix + off)
            start = stop
        assert dominates(M, torch.cat(moved))
    assert excess(M, stored) <= 1e3 * max(errors) + 1e-12


def test_scales_of_parts_keep_their_errors_apart() -> None:
    """A large part that is known badly does not spoil a small one that is known well."""
    small, large = Coefficients(drawn(2, 9, 0) * 1e-8, 1e-22), Coefficients(drawn(3, 9, 1), 1e-13)
    M = dominating_factor([small, large])
    stored = torch.cat((small.matrix, large.matrix))
    assert dominates(M, stored) and excess(M, stored) <= 1e-10


def test_zero_rows_do_not_scale_the_error_of_their_part_up() -> None:
    weight = drawn(4, 9, 3)
    weight[2] = 0.0
    M = dominating_factor([Coefficients(weight, 1e-14)])
    assert M is not None and dominates(M, weight)
    assert excess(M[[0, 1, 3]], weight[[0, 1, 3]]) <= 1e-5


@pytest.mark.parametrize("entry", [1e200, np.inf, np.nan])
def test_what_cannot_be_proved_is_left_alone(entry: float) -> None:
    A = drawn(3, 9, 4)
    A[1, 2] = entry
    assert dominating_factor([Coefficients(A)]) is None
    assert dominating_factor([Coefficients(drawn(3, 9, 4), np.inf)]) is None
