"""Fusing factors: what must be fused, what must not, and the error that fusing leaves behind."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.operators import definition, matrix_of

from lipcert.operators import (
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Indexing,
    LinearOperator,
    Reshape,
    Sum,
    Transpose,
    simplify,
)


def dense(rows: int, columns: int, seed: int = 0, lead: tuple[int, ...] = ()) -> Dense:
    weight = np.random.default_rng(seed).integers(-8, 9, (rows, columns)) / 4.0
    return Dense(torch.from_numpy(weight), lead)


def convolution(out: int, inner: int, groups: int = 1, seed: int = 0) -> Convolution:
    weight = np.random.default_rng(seed).integers(-8, 9, (out, inner, 3)) / 4.0
    return Convolution(
        torch.from_numpy(weight),
        (4,),
        stride=(1,),
        dilation=(1,),
        pads_begin=(1,),
        pads_end=(1,),
        groups=groups,
    )


def diagonal(shape: tuple[int, ...], *axes: int, seed: int = 1) -> Diagonal:
    """A scaling that varies along ``axes`` only."""
    kept = tuple(n if axis in axes else 1 for axis, n in enumerate(shape))
    return Diagonal(torch.from_numpy(np.random.default_rng(seed).integers(1, 9, kept) / 2.0), shape)


def assert_same(operator: LinearOperator) -> LinearOperator:
    simple = simplify(operator)
    np.testing.assert_array_equal(matrix_of(simple), definition(operator))
    return simple


@pytest.mark.parametrize("groups", [1, 2])
def test_scaling_of_channels_folds_into_a_convolution_from_either_side(groups: int) -> None:
    """Batch normalisation behind or in front; per output channel, per input channel of each group."""
    inner = convolution(4, 2, groups)
    after = Composed((diagonal(inner.out_shape, 1), inner))
    before = Composed((inner, diagonal(inner.in_shape, 1)))
    assert isinstance(assert_same(after), Convolution)
    assert isinstance(assert_same(before), Convolution)


def test_scaling_that_varies_along_positions_does_not_fold_into_a_convolution() -> None:
    inner = convolution(4, 2)
    assert isinstance(assert_same(Composed((diagonal(inner.out_shape, 1, 2), inner))), Composed)
    assert isinstance(assert_same(Composed((inner, diagonal(inner.in_shape, 2)))), Composed)


def test_scaling_of_the_last_axis_folds_into_a_matrix() -> None:
    inner = dense(3, 5, lead=(2,))
    assert isinstance(assert_same(Composed((diagonal((2, 3), 1), inner))), Dense)
    assert isinstance(assert_same(Composed((inner, diagonal((2, 5), 1)))), Dense)
    assert isinstance(assert_same(Composed((diagonal((2, 3), 0, 1), inner))), Composed)


def test_scaling_passes_reshapes_and_transposes_to_a_weight() -> None:
    """conv → flatten → scaling; scaling → transpose → matrix; on both sides of one weight."""
    inner = convolution(2, 2)
    flat = Reshape(inner.out_shape, (1, 8))
    for shape in ((1, 8), (1, 1)):
        scale = torch.full(shape, 0.5, dtype=torch.float64)
        chain = assert_same(Composed((Diagonal(scale, (1, 8)), flat, inner)))
        assert isinstance(chain, Composed) and len(chain.factors) == 2
    turn = Transpose((5, 2), (1, 0))
    chain = assert_same(Composed((dense(3, 5, lead=(2,)), turn, diagonal((5, 2), 0))))
    assert isinstance(chain, Composed) and len(chain.factors) == 2
    both = (Reshape((2, 3), (6,)), diagonal((2, 3), 1), dense(3, 5, lead=(2,)))
    chain = assert_same(Composed(both))
    assert isinstance(chain, Composed) and len(chain.factors) == 2


def test_scaling_is_not_moved_past_what_repeats_or_drops() -> None:
    moved = Indexing(torch.tensor([0, 0, 2, -1]), (3,))
    for chain in (
        Composed((diagonal((4,), 0), moved)),
        Composed((moved, diagonal((3,), 0))),
        Composed((diagonal((4,), 0), moved, diagonal((3,), 0, seed=2))),
    ):
        assert_same(chain)


def test_index_maps_merge_and_become_reshapes_where_they_are() -> None:
    there, back = Transpose((2, 3), (1, 0)), Transpose((3, 2), (1, 0))
    assert isinstance(assert_same(Composed((back, there))), Reshape)
    cut = Indexing(torch.tensor([3, 4, 5]), (6,))
    padded = Indexing(torch.tensor([-1, -1, -1, 0, 1, 2, 3, 4, 5]), (6,))
    merged = assert_same(Composed((Indexing(torch.tensor([6, -1, 0]), (9,)), padded, cut_to(6))))
    assert isinstance(merged, Indexing)
    assert isinstance(assert_same(Composed((cut, padded_from(3)))), Reshape)


def cut_to(n: int) -> Indexing:
    return Indexing(torch.arange(n), (n + 2,))


def padded_from(n: int) -> Indexing:
    return Indexing(torch.tensor([-1] * 3 + list(range(n))), (n,))


def test_slices_side_by_side_are_one_map() -> None:
    """Split and Concat put back together."""
    left = Indexing(torch.tensor([0, 1, -1, -1]), (4,))
    right = Indexing(torch.tensor([-1, -1, 2, 3]), (4,))
    assert isinstance(assert_same(Sum((left, right))), Reshape)
    crossed = Sum(
        (Indexing(torch.tensor([2, 3, -1, -1]), (4,)), Indexing(torch.tensor([-1, -1, 0, 1]), (4,)))
    )
    assert isinstance(assert_same(crossed), Indexing)


def test_maps_that_write_to_one_place_are_not_merged() -> None:
    both = Sum((Indexing(torch.tensor([0, 1]), (2,)), Indexing(torch.tensor([1, -1]), (2,))))
    assert isinstance(assert_same(both), Sum)


def test_a_product_of_nothing_is_the_identity() -> None:
    chain = Composed((Reshape((6,), (2, 3)), Reshape((2, 3), (6,))))
    simple = assert_same(chain)
    assert isinstance(simple, Reshape) and simple.out_shape == (2, 3)


@pytest.mark.parametrize("seed", range(20))
def test_error_of_a_fused_weight_covers_its_rounding(seed: int) -> None:
    """Products of reals that round: the true products lie within the stored error, per norm."""
    rng = np.random.default_rng(seed)
    scale, weight = (
        rng.standard_normal(4) * 10.0 ** rng.integers(-5, 5),
        rng.standard_normal((4, 3)),
    )
    fused = simplify(
        Composed((Diagonal(torch.from_numpy(scale), (4,)), Dense(torch.from_numpy(weight))))
    )
    assert isinstance(fused, Dense)
    off = [
        [
            Fraction(scale[i]) * Fraction(weight[i, j]) - Fraction(float(fused.weight[i, j]))
            for j in range(3)
        ]
        for i in range(4)
    ]
    columns = [sum(abs(off[i][j]) for i in range(4)) for j in range(3)]
    assert max(columns) <= Fraction(fused.error.l1)
    assert max(sum(map(abs, row)) for row in off) <= Fraction(fused.error.linf)
    assert sum(entry**2 for row in off for entry in row) <= Fraction(fused.error.l2) ** 2


def test_error_of_both_factors_is_carried() -> None:
    """(2 ± 1/2)(4 ± 1/4): up to 10.625."""
    half = type(dense(1, 1).error)
    a = Dense(torch.full((1, 1), 2.0, dtype=torch.float64), (), half(0.5, 0.5, 0.5))
    b = Diagonal(torch.full((1,), 4.0, dtype=torch.float64), (1,), half(0.25, 0.25, 0.25))
    for chain in itertools.permutations((a, b)):
        fused = simplify(Composed(chain))
        total = fused.absolute_norms + fused.error
        assert min(total.l1, total.l2, total.linf) >= 10.625
