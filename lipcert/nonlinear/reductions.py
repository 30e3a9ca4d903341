"""Norms, log-sum-exp and products over axes, which stay as dimensions of 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lipcert.nonlinear.base import Nonlinearity, same
from lipcert.operators import Norms, Shape
from lipcert.operators.indexing import exact_root
from lipcert.registry import Registry
from lipcert.spectral.tensors import vector_norms

REDUCTIONS: Registry[Callable[[tuple[int, ...]], Reduction]] = Registry("reduction")


class Reduction(Nonlinearity):
    """A map of each group of elements, given by ``axes``, to one number."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def group(self, shape: Shape) -> int:
        """How many elements are reduced to one."""
        return math.prod(shape[axis] for axis in self.axes)

    def batch_axes(self) -> list[int]:
        """The axes of a batch."""
        return [axis + 1 for axis in self.axes]

    @property
    def ulps(self) -> int:
        return 1 << 12


@REDUCTIONS.register("ReduceL2")
class EuclideanNorm(Reduction):
    """l2 norm: 1-Lipschitz in l2 by the triangle inequality, and ``‖x‖₂ ≤ ‖x‖₁, √n ‖x‖∞``."""

    name = "ReduceL2"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return vector_norms(inputs[0], tuple(self.batch_axes()))

    def lipschitz(self, *shapes: Shape) -> Norms:
        return Norms(1.0, 1.0, exact_root(self.group(shapes[0])))


@REDUCTIONS.register("ReduceL1")
class SumOfMagnitudes(Reduction):
    """l1 norm: 1-Lipschitz in l1, and ``‖x‖₁ ≤ √n ‖x‖₂, n ‖x‖∞``."""

    name = "ReduceL1"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0].abs().sum(self.batch_axes(), keepdim=True)

    def lipschitz(self, *shapes: Shape) -> Norms:
        count = self.group(shapes[0])
        return Norms(1.0, exact_root(count), float(count))


@REDUCTIONS.register("ReduceLogSumExp")
class LogSumExp(Reduction):
    """``log Σ e^x``: the gradient is a softmax p, with ``‖p‖∞, ‖p‖₂ ≤ ‖p‖₁ = 1``."""

    name = "ReduceLogSumExp"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return torch.logsumexp(inputs[0], self.batch_axes(), keepdim=True)

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(1.0)


class UnboundedReduction(Reduction):
    """A reduction whose slope has no global bound."""

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(math.inf)

    @property
    def obstacle(self) -> str:
        return f"the slope of {self.name} is unbounded"

    @property
    def help(self) -> str:
        return "no constant holds everywhere; put an operation of bounded slope in its place"


@REDUCTIONS.register("ReduceSumSquare")
class SumOfSquares(UnboundedReduction):
    """``Σ x²``."""

    name = "ReduceSumSquare"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0].square().sum(self.batch_axes(), keepdim=True)


@REDUCTIONS.register("ReduceLogSum")
class LogOfSum(UnboundedReduction):
    """``log Σ x``."""

    name = "ReduceLogSum"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0].sum(self.batch_axes(), keepdim=True).log()


@REDUCTIONS.register("ReduceProd")
class ProductOverAxes(UnboundedReduction):
    """``Π x``."""

    name = "ReduceProd"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        product = inputs[0]
        for axis in self.batch_axes():
            product = product.prod(axis, keepdim=True)
        return product
