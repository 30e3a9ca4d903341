"""Softmax and the divisions of normalisation layers: constants by hand and by sampled Jacobians."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest
import torch

from lipcert.nonlinear import (
    LogSoftmax,
    MaskedSoftmax,
    Nonlinearity,
    Product,
    RootMeanSquare,
    Softmax,
)
from lipcert.operators import Shape

ORDERS = {"l1": 1, "l2": 2, "linf": math.inf}


def jacobian(operation: Nonlinearity, x: torch.Tensor) -> torch.Tensor:
    """``(outputs, inputs)`` at one point ``(1, *shape)``."""
    rows = torch.autograd.functional.jacobian(operation.evaluate, x)
    return rows.reshape(x.numel(), x.numel())


def steepest(operation: Nonlinearity, shape: Shape, norm: str, *, near_zero: bool = False) -> float:
    """The largest Jacobian norm over many points."""
    generator = torch.Generator().manual_seed(1)
    largest = 0.0
    for scale in (1e-3, 1e-2, 0.1, 0.5, 1.0, 3.0, 30.0, 300.0):
        for _ in range(6):
            x = scale * torch.randn(1, *shape, dtype=torch.float64, generator=generator)
            norm_here = torch.linalg.matrix_norm(jacobian(operation, x), ORDERS[norm])
            largest = max(largest, float(norm_here))
    if near_zero:
        x = torch.zeros(1, *shape, dtype=torch.float64)
        largest = max(
            largest, float(torch.linalg.matrix_norm(jacobian(operation, x), ORDERS[norm]))
        )
    return largest


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_softmax_is_one_half(size: int, norm: str) -> None:
    operation = Softmax((0,))
    assert getattr(operation.lipschitz((size,)), norm) == 0.5
    assert steepest(operation, (size,), norm) <= 0.5 * (1.0 + 1e-14)


@pytest.mark.parametrize("norm", ORDERS)
def test_softmax_reaches_one_half_between_two_classes(norm: str) -> None:
    found = torch.linalg.matrix_norm(
        jacobian(Softmax((0,)), torch.zeros(1, 2, dtype=torch.float64)), ORDERS[norm]
    )
    assert math.isclose(float(found), 0.5, rel_tol=1e-14)


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_log_softmax(size: int, norm: str) -> None:
    """max(1, K−1), √K and 2; the first two are reached in the limit of a certain class."""
    operation = LogSoftmax((0,))
    found = getattr(operation.lipschitz((size,)), norm)
    wanted = {"l1": max(1, size - 1), "l2": math.sqrt(size), "linf": 2.0}[norm]
    assert wanted <= found <= wanted * (1 + 1e-15)
    assert steepest(operation, (size,), norm) <= found * (1.0 + 1e-12)
    if size > 1:
        x = torch.zeros(1, size, dtype=torch.float64)
        x[0, 0] = 60.0
        reached = float(torch.linalg.matrix_norm(jacobian(operation, x), ORDERS[norm]))
        if norm != "linf":
            assert math.isclose(reached, wanted, rel_tol=1e-12)


@pytest.mark.parametrize("norm", ORDERS)
def test_softmax_over_several_axes_and_groups(norm: str) -> None:
    for axes in ((1,), (0, 1), (1, 2)):
        assert steepest(Softmax(axes), (2, 3, 2), norm) <= 0.5 * (1.0 + 1e-14)
        operation = LogSoftmax(axes)
        limit = getattr(operation.lipschitz((2, 3, 2)), norm)
        assert steepest(operation, (2, 3, 2), norm) <= limit * (1.0 + 1e-12)


@pytest.mark.parametrize("norm", ORDERS)
def test_masked_softmax(norm: str) -> None:
    operation = MaskedSoftmax((1,), torch.tensor([[False, True, False], [False, False, True]]))
    assert getattr(operation.lipschitz((2, 3)), norm) == 0.5
    assert steepest(operation, (2, 3), norm) <= 0.5 * (1.0 + 1e-14)


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize("epsilon", [1e-5, 0.1, 4.0])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_root_mean_square(size: int, epsilon: float, norm: str) -> None:
    """``1/√ε`` in l2, reached at zero; nowhere steeper in any norm."""
    operation = RootMeanSquare((0,), epsilon)
    found = getattr(operation.lipschitz((size,)), norm)
    if norm == "l2":
        assert Fraction(found) ** 2 * Fraction(epsilon) >= 1
        assert found <= 1.0 / math.sqrt(epsilon) * (1 + 1e-15)
    reached = steepest(operation, (size,), norm, near_zero=True)
    assert reached * (1.0 - 1e-14) <= found
    assert reached >= 0.999 / math.sqrt(epsilon)


def test_root_mean_square_without_epsilon_has_no_constant() -> None:
    operation = RootMeanSquare((0,), 0.0)
    assert operation.lipschitz((3,)).l2 == math.inf
    assert operation.obstacle and operation.help
    assert not RootMeanSquare((0,), 1e-5).obstacle


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize(
    "options",
    [{"gain": 5.0}, {"offset": 0.25}, {"floor": 0.7}, {"offset": 0.5, "floor": 0.2, "gain": 0.5}],
)
def test_root_mean_square_in_other_forms(options: dict[str, float], norm: str) -> None:
    """With a gain, as a sum instead of a mean; an epsilon behind the root; a floor."""
    for epsilon in (1e-2, 0.0):
        operation = RootMeanSquare((0,), epsilon, **options)
        limit = getattr(operation.lipschitz((4,)), norm)
        if math.isfinite(limit):
            assert steepest(operation, (4,), norm) * (1.0 - 1e-13) <= limit


def test_products_have_no_constant_and_say_so() -> None:
    for kind in ("Mul", "Div", "MatMul"):
        operation = Product(kind, "bound the region")
        assert operation.lipschitz((2,), (2,)).l2 == math.inf
        assert operation.obstacle and operation.help


def test_softmax_evaluates_far_out() -> None:
    """Against mpmath, relative to the size of the logits."""
    x = [700.0, 0.0, -700.0, 699.5]
    found = Softmax((0,)).evaluate(torch.tensor([x], dtype=torch.float64))[0].tolist()
    with mpmath.workdps(50):
        total = mpmath.fsum(mpmath.exp(v) for v in x)
        for v, p in zip(x, found, strict=True):
            exact = mpmath.exp(v) / total
            assert abs(mpmath.mpf(p) - exact) <= Softmax((0,)).ulps * 2.0**-52 * (exact + 700.0)
