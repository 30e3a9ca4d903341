"""Batches of matrices sparse by blocks: factors, and what their proof refuses."""

from __future__ import annotations

import pytest
import torch
from sparse import BATCH, FILLED, KINDS, PATTERN, SIDE, SIZES, Kind, dense

from lipcert.conic.blockwise import Blocks, are_definite, are_proven_above, cholesky

BOTH = pytest.mark.parametrize("kind", KINDS, ids=["full entry", "diagonal entry"])


def on_pattern(kind: Kind, full: torch.Tensor) -> Blocks:
    """Without what elimination fills in."""
    return {
        (i, j): part for (i, j), part in kind.blocks(full).items() if i == j or (i, j) in PATTERN
    }


@BOTH
def test_factors_solve(kind: Kind) -> None:
    full = kind.definite(0, pattern=PATTERN)
    factor = cholesky(on_pattern(kind, full), SIZES)
    assert bool(factor.good.all())
    assert set(factor.lower) == FILLED
    right = dense(1)[:, :, :2]
    half = factor.forward(right)
    assert torch.allclose(full @ factor.backward(half), right, atol=1e-12)
    assert torch.allclose(half.mH @ half, right.mH @ torch.linalg.solve(full, right), atol=1e-11)


@BOTH
def test_an_indefinite_matrix_of_a_batch_is_told_from_the_others(kind: Kind) -> None:
    full = kind.definite(1, pattern=PATTERN)
    full[2] = kind.definite(1, -0.1, PATTERN)[2]
    wanted = [True, True, False, True]
    assert cholesky(on_pattern(kind, full), SIZES).good.tolist() == wanted
    assert are_definite(on_pattern(kind, full), SIZES).tolist() == wanted
    full[2] = full[1]
    full[2, 1, 1] = -1.0  # in the entry
    assert cholesky(on_pattern(kind, full), SIZES).good.tolist() == wanted


@BOTH
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("smallest", "floor", "proved"),
    [(1e-9, 0.0, True), (-1e-13, 0.0, False), (1e-6, 4e-7, True), (1e-6, 1.01e-6, False)],
)
def test_proved_exactly_where_true(
    seed: int, smallest: float, floor: float, proved: bool, kind: Kind
) -> None:
    blocks = on_pattern(kind, kind.definite(seed, smallest, PATTERN))
    assert are_proven_above(blocks, SIZES, floor).tolist() == [proved] * BATCH


@BOTH
@pytest.mark.parametrize("place", [0, SIDE - 1])
def test_what_is_not_a_number_is_not_proved(place: int, kind: Kind) -> None:
    full = kind.definite(0, 1.0, PATTERN)
    full[1, place, place] = float("nan")
    assert not bool(are_proven_above(on_pattern(kind, full), SIZES, 0.0)[1])


@pytest.mark.parametrize("seed", range(5))
def test_a_long_diagonal_entry_is_proved_as_closely_as_a_short_one(seed: int) -> None:
    """Rounding grows with the sums that there are, not with the side: a gap of 1e-10 suffices."""
    generator = torch.Generator().manual_seed(seed)
    entry, rows = 3000, 5
    A = torch.randn(1, rows, entry, dtype=torch.float64, generator=generator)
    A /= torch.linalg.matrix_norm(A, 2)[:, None, None]
    ones = torch.ones(1, entry, dtype=torch.float64)
    unit = torch.eye(rows, dtype=torch.float64)[None]
    for gap, proved in ((1e-10, True), (-1e-14, False)):
        blocks = {(0, 0): ones, (1, 0): A, (1, 1): unit * (1.0 + gap)}
        assert are_proven_above(blocks, (entry, rows), 0.0).tolist() == [proved]
