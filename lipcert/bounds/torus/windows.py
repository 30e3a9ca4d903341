"""Stages that select or average in windows, together with the activations beside them.

A window's output z and its m inputs v satisfy one inequality, whatever its position.

*Maxima* of activations, before or after, with slopes in [α, β]: the maximum moves by no more than
the largest of its arguments does, so ``dz² ≤ max_i (s dv_i)² ≤ ν ‖dv‖²``, ``ν = max(α², β²)``.
(More is true: ``(dz − c Σ_i dv_i)² ≤ ((1 − c)² + (m − 1) c²) ‖dv‖²`` for slopes in [0, 1] and
c ≤ 1/2; in all that was measured c = 0 gives the smallest bounds.)

*Weighted means* ``z = Σ_i w_i φ(v_i)``, slopes of φ within r of c:
``(dz − c Σ_i w_i dv_i)² = (Σ_i w_i (dφ_i − c dv_i))² ≤ ‖w‖² r² ‖dv‖²``.

Outside the output's window, where dz = 0, both hold with 0 in [α, β].  So they do for windows that
read beyond the image of v, on whose torus v goes on where z knows nothing of it: what is not looked
at counts as a slope of 0.  Windows may overlap: each has an inequality of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.bounds.torus.slopes import centre_and_square
from lipcert.nonlinear.base import Nonlinearity, Slopes, same
from lipcert.operators import Convolution, LinearOperator, Norms, Shape
from lipcert.rounding import add_up
from lipcert.signals import Stage
from lipcert.spectral.tensors import frobenius_up

UP = 1.0 + 1e-14
"""More than what a few roundings do to a sum of positive terms."""


@dataclass(frozen=True, eq=False)
class Windowed(Nonlinearity):
    """A stage of windows, made of several of a model's.

    Parameters
    ----------
    stages : those that it stands for, in order.
    pool : the mean that follows them; None for a maximum, which is one of the stages.
    window : a convolution of each channel by 1 (maxima), or by the mean's weights.
    slopes_of_channels : the least and steepest slope of the activations, ``(C,)`` each.
    """

    stages: tuple[Stage, ...]
    pool: LinearOperator | None
    window: Convolution
    slopes_of_channels: tuple[Tensor, Tensor]
    name: str = "Windowed"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        x = inputs[0]
        for stage in self.stages:
            x = stage.nonlinearity.evaluate(x)
        return x if self.pool is None else self.pool.apply(x)

    def lipschitz(self, *shapes: Shape) -> Norms:
        total = same(1.0)
        for stage in self.stages:
            total = total * stage.constants
        if self.pool is not None:
            total = total * (self.pool.absolute_norms + self.pool.evaluation_error)
        return total

    @property
    def most(self) -> int:
        """Inputs of one window."""
        return math.prod(self.window.kernel)

    def ends(self, *, masked: bool) -> tuple[Tensor, Tensor]:
        """The slopes of each channel, 0 among them where v or z is cut off on its torus."""
        low, high = self.slopes_of_channels
        return (low.clamp(max=0.0), high.clamp(min=0.0)) if masked else (low, high)

    def centre_and_below(self, *, masked: bool) -> tuple[Tensor, Tensor]:
        """c and ν of the inequality ``(dz − c Σ_i w_i dv_i)² ≤ ν ‖dv‖²``, ``(C,)`` each."""
        low, high = self.ends(masked=masked)
        if self.pool is None:
            steepest = torch.maximum(low.abs(), high.abs())
            return torch.zeros_like(high), steepest.square() * UP
        centre, square = centre_and_square(Slopes(low, high))
        return centre, square * self.weight_square * UP

    @property
    def weight_square(self) -> float:
        """Bound of ``‖w‖²``, of the true weights where the stored ones are not exact."""
        size = float(frobenius_up(self.window.weight.flatten(1)[:, None]).max())
        return add_up(size, self.window.error.l2) ** 2 * UP

    def as_slopes(self, *, masked: bool) -> Slopes:
        """An interval as steep as the inequality, with ``Σ_i w_i dv_i`` as large as it may be."""
        centre, below = self.centre_and_below(masked=masked)
        steepest = centre.abs() * math.sqrt(self.weight_square)
        return Slopes(steepest - below.sqrt(), steepest + below.sqrt())


def taps(window: Convolution) -> Convolution:
    """Every input of every window as a channel of its own: channels first, then taps."""
    channels, count = window.weight.shape[0], math.prod(window.kernel)
    unit = torch.eye(count, dtype=torch.float64, device=window.weight.device)
    weight = unit.reshape(count, 1, *window.kernel).repeat(
        channels, *(1 for _ in window.in_shape[1:])
    )
    return Convolution(
        weight,
        window.spatial,
        stride=window.stride,
        dilation=window.dilation,
        pads_begin=window.pads_begin,
        pads_end=window.pads_end,
        groups=channels,
    )
