"""Products with constraint matrices, against the matrices themselves."""

from __future__ import annotations

import pytest
import torch
from chains import F64, constraint_matrices, definite, random_block

from lipcert.conic.schur import (
    Gathering,
    LocalIndex,
    constraint_values,
    inner_products,
    quadratic_forms,
    schur_complement,
    times_linear_part,
)

MULTIPLIERS = 9
SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_schur_complement_is_the_table_of_traces(seed: int) -> None:
    block = random_block(seed, MULTIPLIERS)
    local = LocalIndex(block)
    M = constraint_matrices(block, MULTIPLIERS)[local.multipliers]
    Z, X = definite(block.side, 2 * seed), definite(block.side, 2 * seed + 1)
    H = schur_complement(block, local, inner_products(block, Z)[0], inner_products(block, X)[0])
    wanted = torch.einsum("kab,bc,lcd,da->kl", M, Z, M, X)
    torch.testing.assert_close(H, wanted, rtol=1e-11, atol=1e-11 * float(wanted.abs().max()))


@pytest.mark.parametrize("seed", SEEDS)
def test_values_of_constraints_are_traces(seed: int) -> None:
    block = random_block(seed, MULTIPLIERS)
    local = LocalIndex(block)
    M = constraint_matrices(block, MULTIPLIERS)[local.multipliers]
    Y = definite(block.side, seed) - 0.7 * definite(block.side, seed + 100)
    wanted = torch.einsum("kab,ba->k", M, Y)
    inner, AY = inner_products(block, Y)
    torch.testing.assert_close(AY, block.rows.dense() @ Y)
    for diagonals in (inner.diagonals, quadratic_forms(block, Y)):
        torch.testing.assert_close(
            constraint_values(block, local, diagonals), wanted, rtol=1e-11, atol=1e-11
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_product_with_a_sum_of_constraints(seed: int) -> None:
    block = random_block(seed, MULTIPLIERS)
    M = constraint_matrices(block, MULTIPLIERS)
    generator = torch.Generator().manual_seed(seed)
    dy = torch.randn(MULTIPLIERS, dtype=F64, generator=generator)
    Y = definite(block.side, seed)
    total = torch.einsum("k,kab->ab", dy, M)
    torch.testing.assert_close(block.linear_part(dy), total, rtol=1e-11, atol=1e-11)
    product = times_linear_part(block, dy, Y, block.rows.dense() @ Y)
    torch.testing.assert_close(product, total @ Y, rtol=1e-11, atol=1e-11)


def test_local_multipliers_are_those_that_occur_in_order() -> None:
    for seed in SEEDS:
        block = random_block(seed, MULTIPLIERS)
        seen = torch.cat((block.head_index, block.activation_index, block.row_index)).tolist()
        assert LocalIndex(block).multipliers.tolist() == sorted(set(seen))


@pytest.mark.parametrize("index", [[], [3], [2, 3, 4], [1, 1, 1], [4, 0, 4], [0, 0, 1, 1], [3, 2]])
@pytest.mark.parametrize("columns", [[], [0], [0, 1, 2], [5, 5], [5, 0, 5, 2]])
def test_gathering_adds_up_by_index(index: list[int], columns: list[int]) -> None:
    rows = Gathering.of(torch.tensor(index, dtype=torch.long), 6)
    across = Gathering.of(torch.tensor(columns, dtype=torch.long), 6)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(len(index), len(columns), dtype=F64, generator=generator)
    total, wanted = torch.ones(6, 6, dtype=F64), torch.ones(6, 6, dtype=F64)
    rows.add_table(total, values, across)
    for i, row in enumerate(index):
        for j, column in enumerate(columns):
            wanted[row, column] += values[i, j]
    torch.testing.assert_close(total, wanted)
    summed, wanted = torch.ones(6, dtype=F64), torch.ones(6, dtype=F64)
    along = values.sum(1)
    rows.add(summed, along)
    for i, row in enumerate(index):
        wanted[row] += along[i]
    torch.testing.assert_close(summed, wanted)
