"""Matrices with sparse inverses against dense algebra."""

from __future__ import annotations

import pytest
import torch
from sparse import BELOW, FILLED, KINDS, SIDE, SIZES, Kind, dense, lane

from lipcert.conic.blockwise import cholesky
from lipcert.conic.completion import SparseInverse, completed, inverse_of, remainder_of_entry

BOTH = pytest.mark.parametrize("kind", KINDS, ids=["full entry", "diagonal entry"])


def whole(found: SparseInverse) -> torch.Tensor:
    """All of a matrix; of one with a diagonal entry, all behind it."""
    first = 1 if found.blocks[0, 0].dim() == 2 else 0
    side = SIDE - sum(SIZES[:first])
    return found.full(first, found.own[-1].new_empty(len(found.own[0]), side, side))


@BOTH
def test_inverses(kind: Kind) -> None:
    full = kind.definite(0)
    inverse = torch.linalg.inv(full)
    found = inverse_of(cholesky(kind.blocks(full), SIZES), BELOW)
    assert set(found.blocks) == FILLED
    assert kind.is_close(found.blocks, inverse)
    behind = whole(found)
    assert torch.allclose(behind, inverse[:, -behind.shape[1] :, -behind.shape[1] :], atol=1e-12)


@BOTH
def test_a_completion_keeps_the_blocks_and_has_a_sparse_inverse(kind: Kind) -> None:
    """``A_jl = U_j A_bl``, as documented, gives what is not among the blocks."""
    given = dense(3) @ dense(3).mH
    result = completed(kind.blocks(given), SIZES, BELOW)
    assert result is not None
    found, _ = result
    full = torch.zeros_like(given)
    side = SIDE - SIZES[0] if kind.diagonal else SIDE
    full[:, -side:, -side:] = whole(found)
    if kind.diagonal:
        b = torch.cat([torch.arange(lane(i).start, lane(i).stop) for i in BELOW[0]])
        U, later = found.across[0], slice(SIZES[0], None)
        full[:, lane(0), later] = U @ full[:, b, later]
        full[:, later, lane(0)] = full[:, lane(0), later].mH
        full[:, lane(0), lane(0)] = torch.diag_embed(found.own[0]) + U @ full[:, b, lane(0)]
    assert kind.is_close(kind.blocks(given), full)
    assert float(torch.linalg.eigvalsh(full)[:, 0].min()) > 0.0
    inverse = torch.linalg.inv(full)
    inside = kind.sparse(1) != 0.0
    assert float(torch.where(inside, 0.0, inverse.abs()).max()) <= 1e-11 * float(
        inverse.abs().max()
    )


@BOTH
@pytest.mark.parametrize("group", range(len(SIZES)))
def test_no_completion_where_a_clique_is_not_definite(group: int, kind: Kind) -> None:
    blocks = kind.blocks(dense(3) @ dense(3).mH)
    blocks[group, group] = blocks[group, group].clone()
    blocks[group, group][1] *= 1e-3
    assert completed(blocks, SIZES, BELOW) is None


def test_what_is_left_of_a_diagonal_entry() -> None:
    kind = Kind(diagonal=True)
    blocks = kind.blocks(dense(5) @ dense(5).mH)
    result = completed(blocks, SIZES, BELOW)
    left = remainder_of_entry(blocks, BELOW)
    assert result is not None and left is not None
    assert torch.equal(left, result[0].own[0])
    blocks[0, 0] = blocks[0, 0] - 1.01 * left
    after = remainder_of_entry(blocks, BELOW)
    assert after is not None and bool((after < 0.0).all())
    assert completed(blocks, SIZES, BELOW) is None
