"""The largest value of a quadratic over the corners of a box, by two halves of its variables.

With the corner of one half fixed, the rest adds at most its own largest value and, variable by
variable, the larger of two products.  A corner of either half that cannot reach a value already
found is dropped; few pairs are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.spectral import NormSettings

MOST_VARIABLES = 36
"""Variables up to which the corners of both halves are listed."""
MOST_WORK = 2e10
"""Operations spent on the pairs that are left."""
CHUNK = 1 << 21
"""Pairs looked at together."""
FEW_VARIABLES = 16
"""Variables up to which every corner is looked at without a search for a first value."""
STARTS = 30
"""Starts of that search."""


@dataclass(frozen=True)
class Quadratic:
    """``dᵀ Q d + 2 q·d`` for d between ``low`` and ``high``."""

    gram: Tensor
    linear: Tensor
    low: Tensor
    high: Tensor

    def at(self, order: Tensor) -> Quadratic:
        """The same in another order of the variables."""
        gram = self.gram[order][:, order]
        return Quadratic(gram, self.linear[order], self.low[order], self.high[order])


def largest_corner(form: Quadratic, settings: NormSettings) -> tuple[float, Tensor] | None:
    """The largest value over all corners and where it is; None where there are too many.

    Up to rounding: the terms of a value are added up in some order.  No corner that was dropped
    has a value, computed in that order, above the one returned.
    """
    n = len(form.low)
    size = torch.maximum(form.low.square(), form.high.square())
    order = (form.gram.diagonal() * size).argsort(descending=True)
    form = form.at(order)
    half = n // 2
    listed = 2.0 ** (n - half)
    if n > MOST_VARIABLES or not settings.leaves_time_for(40.0 * listed * (n + 1)):
        return None
    corner, best = (form.high, -math.inf) if n <= FEW_VARIABLES else _climbed(form)
    left, right = _half(form, slice(0, half)), _half(form, slice(half, n))
    kept = left.reaching(best, right), right.reaching(best, left)
    work = 2.0 * len(kept[0]) * len(kept[1]) * (n - half)
    if work > MOST_WORK or not settings.leaves_time_for(work):
        return None
    for rows in torch.split(kept[0], max(1, CHUNK // max(1, len(kept[1])))):
        values = left.joint[rows] @ right.corners[kept[1]].T
        values += left.values[rows][:, None] + right.values[kept[1]]
        if values.numel() and float(values.max()) > best:
            i, j = divmod(int(values.argmax()), values.shape[1])
            best = float(values[i, j])
            corner = torch.cat((left.corners[rows[i]], right.corners[kept[1][j]]))
    return best, corner[order.argsort()]


def corner_bits(count: int, start: int, stop: int) -> Tensor:
    """The numbers from start to stop as rows of ``count`` bits."""
    return ((torch.arange(start, stop)[:, None] >> torch.arange(count)) & 1).bool()


@dataclass(frozen=True)
class _Half:
    """Corners of half of the variables: values on their own, and products with the others."""

    corners: Tensor
    values: Tensor
    joint: Tensor
    low: Tensor
    high: Tensor

    def reaching(self, best: float, other: _Half) -> Tensor:
        """The corners with which some corner of the other half may reach ``best``."""
        gain = torch.maximum(self.joint * self.low, self.joint * self.high).sum(1)
        return (self.values + gain + other.values.max() >= best).nonzero()[:, 0]


def _half(form: Quadratic, part: slice) -> _Half:
    count = part.stop - part.start
    others = torch.ones(len(form.low), dtype=torch.bool)
    others[part] = False
    corners = torch.where(corner_bits(count, 0, 1 << count), form.high[part], form.low[part])
    values = ((corners @ form.gram[part, part]) * corners).sum(1)
    values += 2.0 * (corners @ form.linear[part])
    joint = 2.0 * (corners @ form.gram[part][:, others])
    return _Half(corners, values, joint, form.low[others], form.high[others])


def _climbed(form: Quadratic) -> tuple[Tensor, float]:
    """A corner of large value, one variable changed at a time from several starts."""
    generator = torch.Generator().manual_seed(0)
    best, best_value = form.high, -math.inf
    for _ in range(STARTS):
        bits = torch.rand(len(form.low), generator=generator) > 0.5
        corner = torch.where(bits, form.high, form.low)
        for _ in range(4 * len(corner)):
            step = torch.where(bits, form.low, form.high) - corner
            slope = 2.0 * (form.gram @ corner + form.linear)
            gain = step * (slope + step * form.gram.diagonal())
            k = int(gain.argmax())
            if float(gain[k]) <= 1e-13 * float(gain.abs().max()):
                break
            bits[k] = ~bits[k]
            corner = torch.where(bits, form.high, form.low)
        value = float(corner @ form.gram @ corner + 2.0 * (form.linear @ corner))
        if value > best_value:
            best, best_value = corner, value
    return best, best_value
