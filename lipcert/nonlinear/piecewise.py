"""Continuous piecewise-linear functions of one variable, given by their corners."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from lipcert.nonlinear.activations import ACTIVATIONS, Activation
from lipcert.nonlinear.gates import enclosing


class PiecewiseLinear(Activation):
    """``slopes[i]·x + offsets[i]`` between the corners ``breaks[i−1]`` and ``breaks[i]``."""

    def __init__(
        self, breaks: list[Fraction], slopes: list[Fraction], offsets: list[Fraction]
    ) -> None:
        super().__init__("PiecewiseLinear", self._bent, *enclosing(slopes))
        self.table = torch.tensor(
            [[float(number) for number in row] for row in (slopes, offsets)], dtype=torch.float64
        )
        self.corners = torch.tensor([float(corner) for corner in breaks], dtype=torch.float64)

    def _bent(self, x: Tensor) -> Tensor:
        piece = torch.bucketize(x.contiguous(), self.corners.to(x))
        table = self.table.to(x)
        return table[0][piece] * x + table[1][piece]


def piecewise_linear(
    breaks: list[Fraction], slopes: list[Fraction], offsets: list[Fraction]
) -> Activation:
    """A continuous piecewise-linear function, under its usual name where it has one."""
    if breaks == [0] and offsets == [0, 0] and slopes[1] == 1:
        if slopes[0] == 0:
            return ACTIVATIONS["Relu"]()
        if Fraction(float(slopes[0])) == slopes[0]:
            return ACTIVATIONS["LeakyRelu"](alpha=float(slopes[0]))
    return PiecewiseLinear(breaks, slopes, offsets)
