"""The factor of a sum of overlapping blocks, against the dense matrix."""

from __future__ import annotations

import pytest
import torch
from chains import F64, definite

from lipcert.conic.cliques import CliqueFactor

CHAINS = {
    "one": [[0, 1, 2, 3]],
    "two": [[0, 1, 2, 3], [2, 3, 4, 5, 6]],
    "apart": [[0, 1], [2, 3, 4]],
    "three": [[0, 1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 8]],
    "carried on": [[0, 1, 2], [2, 3, 4], [2, 4, 5]],
    "nothing ends": [[0, 1], [0, 1, 2, 3], [1, 3, 4]],
    "out of order": [[0, 5, 7], [2, 3, 5, 7], [1, 3, 4], [1, 6]],
    "first multiplier late": [[1, 2], [0, 2, 3], [0, 3]],
    "the same": [[0, 1, 2], [0, 1, 2]],
}


def matrices(chain: list[list[int]], seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    multipliers = [torch.tensor(own) for own in chain]
    return multipliers, [definite(len(own), seed + place) for place, own in enumerate(chain)]


def dense(multipliers: list[torch.Tensor], blocks: list[torch.Tensor]) -> torch.Tensor:
    count = int(torch.cat(multipliers).max()) + 1
    total = torch.zeros(count, count, dtype=F64)
    for own, block in zip(multipliers, blocks, strict=True):
        total[own[:, None], own] += block
    return total


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
@pytest.mark.parametrize("seed", range(3))
def test_solutions_are_those_of_the_sum(chain: list[list[int]], seed: int) -> None:
    multipliers, blocks = matrices(chain, seed)
    kept = [block.clone() for block in blocks]
    H = dense(multipliers, blocks)
    factor = CliqueFactor(multipliers, blocks)
    assert factor.succeeded
    assert all(torch.equal(one, other) for one, other in zip(blocks, kept, strict=True))
    generator = torch.Generator().manual_seed(seed)
    right = torch.randn(len(H), 3, dtype=F64, generator=generator)
    given = right.clone()
    torch.testing.assert_close(factor.solve(right), torch.linalg.solve(H, right))
    assert torch.equal(right, given)


def test_scales_far_apart_do_no_harm() -> None:
    multipliers, blocks = matrices(CHAINS["three"], 5)
    scale = 10.0 ** torch.linspace(-60, 60, 9, dtype=F64)
    scaled = [
        block * scale[own, None] * scale[own]
        for own, block in zip(multipliers, blocks, strict=True)
    ]
    factor = CliqueFactor(multipliers, scaled)
    assert factor.succeeded
    wanted = torch.linalg.solve(dense(multipliers, blocks), torch.ones(9, 1, dtype=F64))
    found = factor.solve(scale[:, None]) * scale[:, None]
    torch.testing.assert_close(found, wanted)


def test_an_indefinite_sum_is_reported() -> None:
    multipliers, blocks = matrices(CHAINS["two"], 0)
    blocks[1] = blocks[1] - 20.0 * torch.eye(5, dtype=F64)
    assert not CliqueFactor(multipliers, blocks).succeeded
    blocks[1] = torch.full((5, 5), float("nan"), dtype=F64)
    assert not CliqueFactor(multipliers, blocks).succeeded


def test_a_singular_sum_is_raised_a_little() -> None:
    """Multipliers that do the same are no obstacle."""
    v = torch.tensor([1.0, 1.0, 2.0], dtype=F64)
    blocks = [torch.outer(v, v)]
    factor = CliqueFactor([torch.arange(3)], blocks)
    assert factor.succeeded
    x = factor.solve(v[:, None])
    torch.testing.assert_close(blocks[0] @ x, v[:, None], rtol=1e-6, atol=1e-6)
