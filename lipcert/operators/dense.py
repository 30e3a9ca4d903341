"""Multiplication of the last axis by a matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.operators.base import ZERO_NORMS, LinearOperator, Norms, Shape


class Dense(LinearOperator):
    """``y[..., o] = Σ_i weight[o, i] x[..., i]`` on tensors of shape ``(*lead, in)``.

    The same matrix acts on every leading position, so the norms are those of ``weight``.
    """

    def __init__(self, weight: Tensor, lead: Shape = (), error: Norms = ZERO_NORMS) -> None:
        self.weight = weight
        self.lead = lead
        self.in_shape = (*lead, weight.shape[1])
        self.out_shape = (*lead, weight.shape[0])
        self.error = error

    def apply(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.weight

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        magnitude = self.weight.abs()
        rows, columns = magnitude.sum(1), magnitude.sum(0)
        return rows.expand(self.out_shape), columns.expand(self.in_shape)

    @property
    def terms(self) -> int:
        return max(self.weight.shape)

    @property
    def cost(self) -> float:
        return 2.0 * math.prod(self.lead) * self.weight.numel()

    def to(self, device: torch.device) -> Dense:
        return Dense(self.weight.to(device), self.lead, self.error)

    @property
    def device(self) -> torch.device:
        return self.weight.device
