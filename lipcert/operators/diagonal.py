"""Elementwise scaling, and the removal of a mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.operators.base import ZERO_NORMS, LinearOperator, Norms, Shape


class Diagonal(LinearOperator):
    """``y = scale * x`` with ``scale`` broadcast to ``shape``."""

    def __init__(self, scale: Tensor, shape: Shape, error: Norms = ZERO_NORMS) -> None:
        self.scale = scale
        self.in_shape = self.out_shape = shape
        self.error = error

    def apply(self, x: Tensor) -> Tensor:
        return x * self.scale

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.scale

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        magnitude = self.scale.abs().expand(self.in_shape)
        return magnitude, magnitude

    @property
    def terms(self) -> int:
        return 1

    @property
    def cost(self) -> float:
        return float(self.in_size)

    def to(self, device: torch.device) -> Diagonal:
        return Diagonal(self.scale.to(device), self.in_shape, self.error)

    @property
    def device(self) -> torch.device:
        return self.scale.device


class Centring(LinearOperator):
    """``y = x − mean(x)`` over ``axes`` (axes of ``shape``): an orthogonal projection."""

    def __init__(self, shape: Shape, axes: tuple[int, ...]) -> None:
        self.in_shape = self.out_shape = shape
        self.axes = axes
        self.group = math.prod(shape[axis] for axis in axes)

    def apply(self, x: Tensor) -> Tensor:
        return x - x.mean([axis + 1 for axis in self.axes], keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.apply(y)

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        total = torch.full(self.in_shape, 2.0 * (1.0 - 1.0 / self.group), dtype=torch.float64)
        return total, total

    @property
    def terms(self) -> int:
        return self.group + 2

    @property
    def cost(self) -> float:
        return 2.0 * self.in_size

    def to(self, device: torch.device) -> Centring:
        return self

    @property
    def device(self) -> None:
        return None
