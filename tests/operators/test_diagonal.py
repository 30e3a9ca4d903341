"""Scalings, and the projection that removes a mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generators.operators import definition, matrix_of

from lipcert.operators import Centring, Diagonal, Norms
from lipcert.spectral import NORMS, NormSettings


def value(operator: object, norm: str) -> float:
    return NORMS[norm](operator, NormSettings()).value


@pytest.mark.parametrize("norm", NORMS)
def test_norm_of_a_scaling_is_its_largest_factor(norm: str) -> None:
    operator = Diagonal(torch.tensor([[0.5], [-3.0]], dtype=torch.float64), (2, 4))
    assert 3.0 <= value(operator, norm) <= 3.0 * (1.0 + 1e-13)
    known = Diagonal(operator.scale, (2, 4), Norms(0.25, 0.5, 0.125))
    assert value(known, norm) >= 3.0 + {"l1": 0.25, "l2": 0.5, "linf": 0.125}[norm]


def test_a_scalar_scales_everything() -> None:
    operator = Diagonal(torch.tensor(2.0, dtype=torch.float64), (2, 3))
    np.testing.assert_array_equal(matrix_of(operator), 2.0 * np.eye(6))


@pytest.mark.parametrize(("shape", "axes"), [((4,), (0,)), ((2, 8), (1,)), ((2, 4, 2), (1, 2))])
def test_centring_is_an_orthogonal_projection(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    """``P² = P = Pᵀ``, norm 1, and ``2 (1 − 1/n)`` in l1 and linf."""
    operator = Centring(shape, axes)
    matrix = matrix_of(operator)
    np.testing.assert_array_equal(matrix, definition(operator))
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix @ matrix, matrix, atol=1e-15)
    assert value(operator, "l2") == 1.0
    group = operator.group
    for norm in ("l1", "linf"):
        assert 2.0 - 2.0 / group <= value(operator, norm) <= (2.0 - 2.0 / group) * (1.0 + 1e-13)


def test_centring_of_single_elements_is_zero() -> None:
    operator = Centring((3, 1), (1,))
    assert not matrix_of(operator).any()
    assert value(operator, "l2") == 0.0


@pytest.mark.parametrize("group", [3, 5, 7, 100])
def test_centring_bounds_its_rounding(group: int) -> None:
    """Against exact means of integers that do not divide."""
    operator = Centring((group,), (0,))
    x = torch.arange(group, dtype=torch.float64)[None] ** 2
    total = sum(k * k for k in range(group))
    found = operator.apply(x)[0].tolist()
    off = sum((k * k - total / group - found[k]) ** 2 for k in range(group)) ** 0.5
    assert off <= operator.evaluation_error.l2 * float(x.norm()) + 1e-12
