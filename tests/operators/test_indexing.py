"""Maps that move elements: multiplicities, zeros, reshapes and transposes by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from lipcert.operators import Indexing, Reshape, Transpose, identity, is_identity
from lipcert.operators.indexing import exact_root
from lipcert.spectral import NORMS, NormSettings


def norms(operator: Indexing) -> tuple[float, float, float]:
    return tuple(NORMS[norm](operator, NormSettings()).value for norm in ("l1", "l2", "linf"))


@pytest.mark.parametrize(
    ("index", "inputs", "wanted"),
    [
        ([0, 1, 2], 3, (1.0, 1.0, 1.0)),
        ([2, 0], 3, (1.0, 1.0, 1.0)),
        ([0, 0, 0, 0], 1, (4.0, 2.0, 1.0)),
        ([0, 0, 1, 1, 1, -1], 2, (3.0, math.sqrt(3.0), 1.0)),
        ([-1, -1], 2, (0.0, 0.0, 0.0)),
        ([1] * 9 + [0], 2, (9.0, 3.0, 1.0)),
    ],
)
def test_norms_are_the_multiplicities(
    index: list[int], inputs: int, wanted: tuple[float, float, float]
) -> None:
    """l1: the most copies of one element; l2 its root, exact for squares; linf: 1."""
    operator = Indexing(torch.tensor(index), (inputs,))
    for found, value in zip(norms(operator), wanted, strict=True):
        assert value <= found <= math.nextafter(value, math.inf)
    assert operator.largest_multiplicity == wanted[0]


def test_root_of_a_count_is_exact_or_above() -> None:
    for count in range(200):
        found = exact_root(count)
        assert Fraction(found) ** 2 >= count
        if math.isqrt(count) ** 2 == count:
            assert found == math.isqrt(count)


def test_zeros_are_neither_read_nor_written() -> None:
    operator = Indexing(torch.tensor([[-1, 1], [1, -1]]), (2,))
    x = torch.tensor([[math.pi, 5.0]], dtype=torch.float64)
    assert operator.apply(x).tolist() == [[[0.0, 5.0], [5.0, 0.0]]]
    assert operator.adjoint(torch.tensor([[[1.0, 2.0], [4.0, 8.0]]]).double()).tolist() == [
        [0.0, 6.0]
    ]


def test_reshape_and_transpose_move_nothing_else() -> None:
    x = torch.arange(24.0, dtype=torch.float64).reshape(1, 2, 3, 4)
    assert torch.equal(Reshape((2, 3, 4), (4, 6)).apply(x), x.reshape(1, 4, 6))
    turned = Transpose((2, 3, 4), (2, 0, 1))
    assert turned.out_shape == (4, 2, 3)
    assert torch.equal(turned.apply(x), x.permute(0, 3, 1, 2))
    assert torch.equal(turned.adjoint(turned.apply(x)), x)
    assert norms(turned) == (1.0, 1.0, 1.0)


def test_repetition_by_broadcast_has_the_root_of_the_copies() -> None:
    positions = np.broadcast_to(np.arange(3)[:, None], (3, 7))
    operator = Indexing(torch.from_numpy(np.array(positions)), (3,))
    assert math.sqrt(7.0) <= norms(operator)[1] <= math.sqrt(7.0) * (1.0 + 1e-15)


def test_identity_is_recognised_by_shape() -> None:
    assert is_identity(identity((2, 3)))
    assert not is_identity(Reshape((2, 3), (3, 2)))
    assert not is_identity(Transpose((2, 2), (0, 1)))
