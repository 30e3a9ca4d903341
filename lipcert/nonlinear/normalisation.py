"""Softmax and the divisions of normalisation layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.nonlinear.base import Nonlinearity, same
from lipcert.operators import Norms, Shape
from lipcert.operators.indexing import exact_root
from lipcert.rounding import div_up, mul_up, sqrt_up, up


class Softmax(Nonlinearity):
    """Softmax along ``axes``: the Jacobian ``diag(p) − ppᵀ`` has norm at most 1/2 in l1, l2, linf."""

    name = "Softmax"

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def evaluate(self, *inputs: Tensor) -> Tensor:
        x, axes = inputs[0], [axis + 1 for axis in self.axes]
        return (x - torch.logsumexp(x, axes, keepdim=True)).exp()

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(0.5)

    @property
    def ulps(self) -> int:
        return 1 << 20  # the exponent's rounding is amplified by its size, here up to e^-700


class LogSoftmax(Nonlinearity):
    """Logarithm of softmax: the Jacobian ``I − 1pᵀ`` has norms max(1, K−1), √K and 2."""

    name = "LogSoftmax"

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def evaluate(self, *inputs: Tensor) -> Tensor:
        axes = [axis + 1 for axis in self.axes]
        return inputs[0] - torch.logsumexp(inputs[0], axes, keepdim=True)

    def lipschitz(self, *shapes: Shape) -> Norms:
        classes = math.prod(shapes[0][axis] for axis in self.axes)
        return Norms(float(max(1, classes - 1)), exact_root(classes), 2.0)


class RootMeanSquare(Nonlinearity):
    """``x / √(mean(x²) + ε)`` over ``axes``: the division of layer and RMS normalisation.

    With s the root, the Jacobian is ``(I − xxᵀ/(n s²))/s``: norm 1/s ≤ 1/√ε in l2.  In l1 and
    linf the rank-one part adds ``‖x‖₁‖x‖∞/(n s²) ≤ (√n + 1)/2``.
    """

    name = "RootMeanSquare"

    def __init__(self, axes: tuple[int, ...], epsilon: float) -> None:
        self.axes = axes
        self.epsilon = epsilon

    def evaluate(self, *inputs: Tensor) -> Tensor:
        axes = [axis + 1 for axis in self.axes]
        mean = inputs[0].square().mean(axes, keepdim=True)
        return inputs[0] / (mean + self.epsilon).sqrt()

    def lipschitz(self, *shapes: Shape) -> Norms:
        if self.epsilon <= 0.0:
            return same(math.inf)
        steepest = div_up(1.0, math.nextafter(math.sqrt(self.epsilon), 0.0))
        group = math.prod(shapes[0][axis] for axis in self.axes)
        spread = mul_up(steepest, up(1.0 + up((sqrt_up(float(group)) + 1.0) / 2.0)))
        return Norms(spread, steepest, spread)

    @property
    def ulps(self) -> int:
        return 1 << 12

    @property
    def obstacle(self) -> str:
        return "" if self.epsilon > 0.0 else "divides by a norm that can be zero"

    @property
    def help(self) -> str:
        return "" if self.epsilon > 0.0 else "add a positive epsilon under the root"


class Product(Nonlinearity):
    """A product or quotient of two signals: its slopes grow with the signals."""

    def __init__(self, name: str, help: str) -> None:
        self.name = name
        self._help = help

    def evaluate(self, *inputs: Tensor) -> Tensor:
        first, second = inputs
        if self.name == "MatMul":
            return first @ second
        return first * second if self.name == "Mul" else first / second

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(math.inf)

    @property
    def obstacle(self) -> str:
        return {
            "Mul": "multiplies two signals",
            "Div": "divides by a signal",
            "MatMul": "multiplies two signals (as dot-product attention does)",
        }[self.name]

    @property
    def help(self) -> str:
        return self._help
