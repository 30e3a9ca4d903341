"""Circular padding: recognising an index map that wraps an image around."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lipcert.operators import Convolution, Indexing, Shape
from lipcert.operators.indexing import exact_root


@dataclass(frozen=True)
class CircularPeriod:
    """A torus on which the padded convolution is circular, and how often outputs repeat there.

    ``repeats`` is the square root of the most outputs that fall on one torus position.
    """

    torus: Shape
    repeats: float


def circular_period(operator: Convolution, extension: Indexing) -> CircularPeriod | None:
    """The torus of a convolution behind circular padding, or None when it is anything else.

    The index map must read ``x[(j − a) mod n]`` on every spatial axis for some lead ``a``, the
    convolution must add no zeros, and the stride must divide the period.
    """
    if any(operator.pads_begin) or any(operator.pads_end):
        return None
    source = extension.in_shape
    if len(source) != len(operator.in_shape) or source[:2] != operator.in_shape[:2]:
        return None
    torus = source[2:]
    if any(n == 0 or n % s for n, s in zip(torus, operator.stride, strict=True)):
        return None
    first = int(extension.index.reshape(-1)[0]) if extension.index.numel() else -1
    if first < 0:
        return None
    starts = torch.unravel_index(torch.tensor(first), source)[2:]
    positions = torch.arange(math.prod(source)).reshape(source)
    for axis, (start, n, padded) in enumerate(
        zip(starts, torus, operator.spatial, strict=True), start=2
    ):
        wrapped = (torch.arange(padded) + int(start)) % n
        positions = positions.index_select(axis, wrapped)
    if not torch.equal(positions, extension.index):
        return None
    most = math.prod(
        math.ceil(out * s / n)
        for out, s, n in zip(operator.out_spatial, operator.stride, torus, strict=True)
    )
    return CircularPeriod(torus, exact_root(most))
