"""Softmax and the divisions of normalisation layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.nonlinear.base import Nonlinearity, same
from lipcert.operators import Norms, Shape
from lipcert.operators.indexing import exact_root
from lipcert.rounding import div_up, down, mul_up, sqrt_up, up


class Softmax(Nonlinearity):
    """Softmax along ``axes``: the Jacobian ``diag(p) − ppᵀ`` has l1, l2, linf norms up to 1/2."""

    name = "Softmax"

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return _softmax(inputs[0], self.axes)

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(0.5)

    @property
    def ulps(self) -> int:
        return 1 << 12  # the exponent, down to −745, turns its rounding into that many of these


def _softmax(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Softmax of a batch, measured from the largest element."""
    along = [axis + 1 for axis in axes]
    raised = (x - x.amax(along, keepdim=True)).exp()
    return raised / raised.sum(along, keepdim=True)


class LogSoftmax(Nonlinearity):
    """Logarithm of softmax: the Jacobian ``I − 1pᵀ`` has norms max(1, K−1), √K and 2."""

    name = "LogSoftmax"

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def evaluate(self, *inputs: Tensor) -> Tensor:
        axes = [axis + 1 for axis in self.axes]
        below = inputs[0] - inputs[0].amax(axes, keepdim=True)
        return below - torch.logsumexp(below, axes, keepdim=True)

    def lipschitz(self, *shapes: Shape) -> Norms:
        classes = math.prod(shapes[0][axis] for axis in self.axes)
        return Norms(float(max(1, classes - 1)), exact_root(classes), 2.0)


class MaskedSoftmax(Nonlinearity):
    """Softmax along ``axes`` over the elements that are not ``hidden``; those give zero.

    The same Jacobian on the visible elements and zeros elsewhere, so the same constants.
    """

    name = "MaskedSoftmax"

    def __init__(self, axes: tuple[int, ...], hidden: Tensor) -> None:
        self.axes = axes
        self.hidden = hidden

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return _softmax(inputs[0].masked_fill(self.hidden, -math.inf), self.axes)

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(0.5)

    @property
    def ulps(self) -> int:
        return 1 << 12

    def to(self, device: torch.device) -> MaskedSoftmax:
        return MaskedSoftmax(self.axes, self.hidden.to(device))


class RootMeanSquare(Nonlinearity):
    """``x / max(√(gain·mean(x²) + ε) + offset, floor)`` over ``axes``: layer and RMS normalisation.

    With s the root and d = s + offset the Jacobian is ``(I − gain·xxᵀ/(n s d))/d``, whose
    eigenvalues lie in [0, 1/d] as gain·|x|²/n = s² − ε ≤ s d; where the floor is higher it is
    ``I/floor``.  So the l2 constant is one over the least denominator.  In l1 and linf the
    rank-one part adds ``‖x‖₁‖x‖∞/‖x‖₂² ≤ (√n + 1)/2``.
    """

    name = "RootMeanSquare"

    def __init__(
        self,
        axes: tuple[int, ...],
        epsilon: float,
        *,
        gain: float = 1.0,
        offset: float = 0.0,
        floor: float = 0.0,
    ) -> None:
        self.axes = axes
        self.epsilon = epsilon
        self.gain = gain
        self.offset = offset
        self.floor = floor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        axes = [axis + 1 for axis in self.axes]
        mean = inputs[0].square().mean(axes, keepdim=True)
        norm = (self.gain * mean + self.epsilon).sqrt() + self.offset
        return inputs[0] / norm.clamp(min=self.floor)

    @property
    def least(self) -> float:
        """A lower bound of the denominator, the parameters being known to one rounding."""
        root = down(math.sqrt(max(0.0, down(self.epsilon)))) if self.epsilon > 0.0 else 0.0
        offset = down(self.offset) if self.offset > 0.0 else 0.0
        floor = down(self.floor) if self.floor > 0.0 else 0.0
        return max(0.0, floor, down(root + offset) if root and offset else root + offset)

    def lipschitz(self, *shapes: Shape) -> Norms:
        if self.least == 0.0:
            return same(math.inf)
        steepest = div_up(1.0, self.least)
        group = math.prod(shapes[0][axis] for axis in self.axes)
        spread = mul_up(steepest, up(1.0 + up((sqrt_up(float(group)) + 1.0) / 2.0)))
        return Norms(spread, steepest, spread)

    @property
    def ulps(self) -> int:
        return 1 << 12

    @property
    def obstacle(self) -> str:
        return "" if self.least > 0.0 else "divides by a norm that can be zero"

    @property
    def help(self) -> str:
        return "" if self.least > 0.0 else "add a positive epsilon to the norm"


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
