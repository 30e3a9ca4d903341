"""Sums of convolutions, matrices and scalings are one operator, with what its rounding may do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generators.operators import definition, matrix_of

from lipcert.operators import (
    Adjoint,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    LinearOperator,
    Sum,
    identity,
    simplify,
)
from lipcert.spectral import NORMS, NormSettings


def convolution(
    seed: int = 0,
    *,
    channels: int = 4,
    pad: int = 1,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Convolution:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-8, 9, (channels, channels // groups, kernel, kernel)) / 4.0
    return Convolution(
        torch.from_numpy(weight),
        (5, 5),
        stride=(stride, stride),
        dilation=(dilation, dilation),
        pads_begin=(pad, pad),
        pads_end=(pad, pad),
        groups=groups,
    )


def diagonal(shape: tuple[int, ...], axis: int) -> Diagonal:
    kept = tuple(n if place == axis else 1 for place, n in enumerate(shape))
    return Diagonal(torch.from_numpy(np.random.default_rng(1).integers(1, 9, kept) / 2.0), shape)


def merged(*parts: LinearOperator) -> LinearOperator:
    total = simplify(Sum(parts))
    np.testing.assert_array_equal(matrix_of(total), definition(Sum(parts)))
    return total


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("dilation", "pad"), [(1, 1), (2, 2)])
def test_a_convolution_takes_up_identities_and_scalings(
    groups: int, dilation: int, pad: int
) -> None:
    K = convolution(dilation=dilation, pad=pad, groups=groups)
    for other in (
        identity(K.in_shape),
        diagonal(K.in_shape, 1),
        convolution(3, dilation=dilation, pad=pad, groups=groups),
    ):
        assert isinstance(merged(other, K), Convolution)
        assert isinstance(merged(K, other), Convolution)


def test_a_matrix_takes_up_identities_and_scalings() -> None:
    W = Dense(torch.from_numpy(np.random.default_rng(0).integers(-8, 9, (4, 4)) / 4.0), (2,))
    for other in (identity(W.in_shape), diagonal(W.in_shape, 1), W):
        assert isinstance(merged(other, W), Dense)
        assert isinstance(merged(W, identity(W.in_shape), W), Dense)


def test_other_sums_stay_sums() -> None:
    by_position = diagonal((1, 4, 5, 5), 2)
    even = convolution(kernel=4, pad=1)  # of another output size: no identity fits it
    for first, second in (
        (convolution(), by_position),
        (convolution(), convolution(groups=2)),
        (convolution(), convolution(kernel=1, pad=0)),
        (convolution(dilation=2, pad=1, kernel=2), even),
    ):
        if first.out_shape == second.out_shape:
            assert isinstance(merged(first, second), Sum)


def test_the_rounding_of_a_merged_weight_is_known() -> None:
    """1e-20 is lost beside 1: the error says so."""
    weight = torch.full((1, 1, 1, 1), 1e-20, dtype=torch.float64)
    K = Convolution(
        weight, (3, 3), stride=(1, 1), dilation=(1, 1), pads_begin=(0, 0), pads_end=(0, 0)
    )
    total = simplify(Sum((identity(K.in_shape), K)))
    assert isinstance(total, Convolution)
    assert total.error.l2 >= 1e-20


def test_the_norm_of_a_sum_is_that_of_the_sum() -> None:
    """Where the explicit matrix is not afforded: the torus, not ``1 + ‖K‖``."""
    K = convolution(2)
    negative = K.with_weight(-K.weight.abs() / 40.0, K.error)
    settings = NormSettings(max_side=4)
    found = NORMS["l2"](Sum((identity(K.in_shape), negative)), settings).value
    exact = np.linalg.norm(np.eye(K.in_size) + matrix_of(negative), 2)
    assert exact <= found < 1.0 + NORMS["l2"](negative, settings).value


def test_scalings_fold_into_transposed_convolutions() -> None:
    K = convolution()
    for factors in (
        (diagonal(K.in_shape, 1), Adjoint(K)),
        (Adjoint(K), diagonal(K.in_shape, 1)),
    ):
        total = simplify(Composed(factors))
        assert isinstance(total, Adjoint)
        np.testing.assert_array_equal(matrix_of(total), definition(Composed(factors)))
