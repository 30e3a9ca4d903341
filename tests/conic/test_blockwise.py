"""Batches of matrices sparse by blocks: factors, inverses, and what their proof refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, are_proven_above, cholesky, filled

SIZES = (3, 2, 4, 1)
PATTERN = {(1, 0), (2, 1), (3, 0)}


def matrices(seed: int, smallest: float) -> Tensor:
    """Hermitian ``(5, 10, 10)`` of the pattern, all with this smallest eigenvalue."""
    generator = torch.Generator().manual_seed(seed)
    full = torch.randn(5, 10, 10, dtype=torch.complex128, generator=generator)
    full = full + full.mH
    starts = [sum(SIZES[:g]) for g in range(len(SIZES) + 1)]
    kept = torch.zeros(10, 10, dtype=torch.bool)
    for i, j in PATTERN | {(g, g) for g in range(len(SIZES))}:
        kept[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = True
    full = torch.where(kept | kept.T, full, 0.0)
    lowest = torch.linalg.eigvalsh(full)[:, 0]
    full.diagonal(dim1=-2, dim2=-1).add_((smallest - lowest)[:, None])
    return full


def blocks(full: Tensor) -> Blocks:
    starts = [sum(SIZES[:g]) for g in range(len(SIZES) + 1)]
    return {
        (i, j): full[:, starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
        for i, j in PATTERN | {(g, g) for g in range(len(SIZES))}
    }


def test_inverse_and_factor() -> None:
    full = matrices(0, 0.3)
    factor = cholesky(blocks(full), SIZES)
    assert bool(factor.good.all())
    inverse = factor.full_inverse()
    assert torch.allclose(inverse @ full, torch.eye(10, dtype=full.dtype), atol=1e-12)
    half = factor.forward(torch.eye(10, dtype=full.dtype).expand_as(full))
    assert torch.allclose(half.mH @ half, inverse, atol=1e-12)
    assert torch.allclose(factor.backward(half), inverse, atol=1e-12)
    assert set(factor.lower) == filled(PATTERN, len(SIZES))


def test_an_indefinite_matrix_of_a_batch_is_told_from_the_others() -> None:
    full = matrices(1, 0.3)
    full[2] = matrices(1, -0.1)[2]
    assert cholesky(blocks(full), SIZES).good.tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("smallest", "floor", "proved"),
    [(1e-9, 0.0, True), (-1e-13, 0.0, False), (1e-6, 4e-7, True), (1e-6, 1.01e-6, False)],
)
def test_proved_exactly_where_true(seed: int, smallest: float, floor: float, proved: bool) -> None:
    full = matrices(seed, smallest)
    assert are_proven_above(blocks(full), SIZES, floor).tolist() == [proved] * 5


def test_what_is_not_a_number_is_not_proved() -> None:
    full = matrices(0, 1.0)
    full[1, 0, 0] = float("nan")
    assert not bool(are_proven_above(blocks(full), SIZES, 0.0)[1])
