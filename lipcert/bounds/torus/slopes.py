"""Slope intervals of activations, channel by channel."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lipcert.nonlinear.activations import Activation
from lipcert.nonlinear.base import Slopes
from lipcert.signals import Stage

SMALLEST_HALF_WIDTH = 1e-5
"""Least half-width of a slope interval, in units of its centre: a wider one is sound too."""


def widened(stage: Stage) -> Stage:
    """The stage with slope intervals that hold 0: those of its activation, masked by 0 or 1."""
    slopes, own = stage.nonlinearity.slopes, stage.nonlinearity
    assert slopes is not None
    alpha, beta = (torch.as_tensor(end, dtype=torch.float64) for end in (slopes.alpha, slopes.beta))
    masked = Activation(own.name, own.evaluate, alpha.clamp(max=0.0), beta.clamp(min=0.0))
    return replace(stage, nonlinearity=masked)


def channel_ends(stage: Stage) -> tuple[Tensor, Tensor] | None:
    """Least and steepest slope of each channel ``(C,)``; None where positions differ."""
    slopes = stage.nonlinearity.slopes
    if slopes is None:
        return None
    ends = []
    for value in (slopes.alpha, slopes.beta):
        full = torch.as_tensor(value, dtype=torch.float64).expand(stage.shape)[0].flatten(1)
        if not bool(torch.isfinite(full).all()) or not bool((full == full[:, :1]).all()):
            return None
        ends.append(full[:, 0].clone())
    return ends[0], ends[1]


def channel_slopes(stage: Stage) -> tuple[Tensor, Tensor] | None:
    """Centre and squared half-width of each channel's slopes; None where positions differ."""
    ends = channel_ends(stage)
    return None if ends is None else centre_and_square(Slopes(*ends))


def centre_and_square(slopes: Slopes) -> tuple[Tensor, Tensor]:
    """Centres c and upper bounds of the squares r² of half-widths, elementwise."""
    centre = torch.as_tensor(slopes.centre, dtype=torch.float64)
    width = torch.as_tensor(slopes.half_width, dtype=torch.float64)
    width = torch.maximum(width, SMALLEST_HALF_WIDTH * centre.abs() + 1e-300)
    exact = (width * 2.0 == (width * 2.0).round()) & (width < 1e7)  # their squares are exact
    above = torch.nextafter(width.square(), torch.full_like(width, math.inf))
    return centre, torch.where(exact, width.square(), above)
