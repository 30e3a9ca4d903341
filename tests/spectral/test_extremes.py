"""Weights near the ends of float64: no bound below the truth, none finite by mistake."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.exact import dominates
from generators.operators import definition

from lipcert.operators import (
    Adjoint,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    LinearOperator,
    Norms,
    Reshape,
    Sum,
    simplify,
)
from lipcert.spectral import NORMS, NormSettings, explicit_bound, torus_bound
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS

SCALES = [5e-324, 1e-310, 1e-200, 1.5e-162, 1e-155, 1e-150, 1e-30, 1e30, 1e150, 1e155, 1e200, 1e300]


def tensor(array: object) -> torch.Tensor:
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def shaped(kind: str, weight: np.ndarray) -> LinearOperator:
    """A 3×3 matrix as an operator of some kind."""
    if kind == "dense":
        return Dense(tensor(weight))
    if kind == "row":
        return Dense(tensor(weight[:1]))
    if kind == "diagonal":
        return Diagonal(tensor(weight[0]), (3,))
    convolution = Convolution(
        tensor(weight)[:, :, None], (2,), stride=(1,), dilation=(1,), pads_begin=(0,), pads_end=(0,)
    )
    return Adjoint(convolution) if kind == "adjoint" else convolution


def all_bounds(operator: LinearOperator, norm: str) -> list[float]:
    found = []
    for spectral in EIGENVALUE_BOUNDS:
        for work in (0.0, 2e11):
            found.append(
                NORMS[norm](operator, NormSettings(spectral=spectral, max_work=work)).value
            )
    return found


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", ["dense", "row", "diagonal", "convolution", "adjoint"])
def test_every_size_of_weight(kind: str, scale: float, norm: str) -> None:
    """Exactly above, and tight wherever the numbers are normal."""
    pattern = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0], [1.0, 1.0, 1.0]])
    weight = pattern * scale if scale > 1e-300 else np.ceil(pattern) * scale
    operator = shaped(kind, weight)
    matrix = definition(operator)
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
    exponent = math.frexp(float(np.abs(matrix).max()))[1]
    # scaled by a power of two: exact, and within the range that the reference can square
    half = exponent // 2
    truth = float(np.linalg.norm(np.ldexp(np.ldexp(matrix, -half), half - exponent), order))
    for found in all_bounds(operator, norm):
        assert dominates(found, matrix, norm), found
        if scale > 1e-300 and math.isfinite(found):
            assert math.ldexp(found, -exponent) <= truth * (1.0 + 1e-9)
        if 1e-300 < scale < 1e300:
            assert math.isfinite(found)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (1e-90, 1e-90),
        (1e-160, 1e-160),
        (3e-162, 1.0),
        (1e-200, 1e200),
        (1e-320, 1e10),
        (1e200, 1e-160),
        (1e150, 1e150),
        (1e-100, 1e-210),
        (1.5e-162, 1.5e-162),
    ],
)
def test_products_of_small_and_large(outer: float, inner: float, norm: str) -> None:
    """Products whose entries, or whose squares, under- or overflow; truth in rationals."""
    rng = np.random.default_rng(3)
    a, b = rng.integers(1, 5, (6, 6)) * outer, rng.integers(1, 5, (6, 6)) * inner
    truth = exact_product(a, b)
    for operator in (
        Composed((Dense(tensor(a)), Dense(tensor(b)))),
        Composed((Dense(tensor(a)), Reshape((1, 6, 1), (6,)), convolution_of(b))),
        simplify(Composed((Dense(tensor(a)), Diagonal(tensor(b[0]), (6,))))),
    ):
        reference = truth if not isinstance(operator, Dense) else exact_product(a, np.diag(b[0]))
        for found in all_bounds(operator, norm):
            assert is_above(found, reference, norm), (operator, found)


def convolution_of(matrix: np.ndarray) -> Convolution:
    return Convolution(
        tensor(matrix)[:, :, None], (1,), stride=(1,), dilation=(1,), pads_begin=(0,), pads_end=(0,)
    )


def exact_product(a: np.ndarray, b: np.ndarray) -> list[list[object]]:
    from fractions import Fraction

    left = [[Fraction(float(v)) for v in row] for row in a]
    right = [[Fraction(float(v)) for v in row] for row in b]
    columns = list(zip(*right, strict=True))
    return [
        [sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in left
    ]


def is_above(bound: float, rows: list[list[object]], norm: str) -> bool:
    from fractions import Fraction

    from generators.exact import _gram_gap, is_semidefinite

    if bound == math.inf:
        return True
    limit = Fraction(bound)
    if norm == "l2":
        return is_semidefinite(_gram_gap(limit, rows))
    lines = rows if norm == "linf" else list(zip(*rows, strict=True))
    return all(sum(abs(v) for v in line) <= limit for line in lines)


def test_gram_of_a_convolution_that_underflows() -> None:
    """Each square is half of the least denormal and vanishes; 40,000 of them do not."""
    weight = np.full((200, 200, 1), 1.5e-162)
    weight[0, 0, 0] = 4e-162
    operator = Convolution(
        tensor(weight), (1,), stride=(1,), dilation=(1,), pads_begin=(0,), pads_end=(0,)
    )
    truth = 200 * 1.5e-162
    for name in EIGENVALUE_BOUNDS:
        assert explicit_bound(operator, NormSettings(spectral=name)).value >= truth
        assert torus_bound(operator, NormSettings(spectral=name)).value >= truth
    chain = Composed((Reshape((1, 200, 1), (200,)), operator))
    assert NORMS["l2"](chain, NormSettings()).value >= truth


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["dense", "row", "diagonal", "convolution", "adjoint"])
def test_weights_that_are_no_numbers_have_no_finite_bound(
    kind: str, poison: float, norm: str
) -> None:
    weight = np.ones((3, 3))
    weight[0, 1] = poison
    operator = shaped(kind, weight)
    whole = [
        operator,
        Composed((Diagonal(tensor([1.0]), operator.out_shape), operator)),
        Sum((operator, operator)),
    ]
    for spoiled in whole:
        for found in all_bounds(spoiled, norm):
            assert found == math.inf, (spoiled, found)
    if isinstance(operator, Convolution):
        for name in EIGENVALUE_BOUNDS:
            assert torus_bound(operator, NormSettings(spectral=name)).value == math.inf


@pytest.mark.parametrize("norm", NORMS)
def test_overflowing_products_have_no_finite_bound(norm: str) -> None:
    huge = Dense(torch.full((2, 2), 1e200, dtype=torch.float64))
    for operator in (
        Composed((huge, huge)),
        simplify(Composed((huge, Diagonal(tensor([1e200]), (2,))))),
    ):
        for found in all_bounds(operator, norm):
            assert found == math.inf


@pytest.mark.parametrize("size", [1, 2, 60, 200, 400])
def test_zero_weights_have_norm_zero(size: int) -> None:
    zero = torch.zeros(size, size, dtype=torch.float64)
    operators = (Dense(zero), convolution_of(zero.numpy()), Composed((Dense(zero), Dense(zero))))
    for operator in operators:
        for norm in NORMS:
            for found in all_bounds(operator, norm):
                assert 0.0 <= found < 1e-70


@pytest.mark.parametrize("norm", NORMS)
def test_infinite_error_gives_an_infinite_bound(norm: str) -> None:
    spoiled = Norms(math.inf, math.inf, math.inf)
    for operator in (
        Dense(torch.ones(3, 3, dtype=torch.float64), (), spoiled),
        Diagonal(torch.ones(3, dtype=torch.float64), (3,), spoiled),
        Sum(
            (
                Dense(torch.ones(3, 3, dtype=torch.float64), (), spoiled),
                Dense(torch.ones(3, 3).double()),
            )
        ),
    ):
        assert all(found == math.inf for found in all_bounds(operator, norm))
