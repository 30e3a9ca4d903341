"""Norms of convolutions on a torus, in floating point."""

from __future__ import annotations

import itertools
import math

import numpy as np

from lipcert.checker.convolution import Convolution

CHUNK = 1 << 22
"""Elements of the blocks formed at once."""


def torus_of(map_: Convolution) -> tuple[int, ...]:
    """Sides of the smallest torus on which no tap wraps from the padding into the image."""
    sides = []
    kernel = map_.weight.mantissa.shape[2:]
    axes = zip(
        map_.spatial, map_.out_spatial, map_.stride, map_.pads, map_.dilation, kernel, strict=True
    )
    for n, out, stride, pad, dilation, taps in axes:
        last = (out - 1) * stride - pad + dilation * (taps - 1)
        sides.append(max(out, -(-max(n + pad, last + 1) // stride)))
    return tuple(sides)


def torus_estimate(map_: Convolution, sides: tuple[int, ...]) -> float:
    """The norm on a torus, about: the largest over frequencies of a block's.

    A frequency of the outputs meets the inputs of all phases of the stride (Sedghi et al. 2019).
    """
    weight = np.ldexp(map_.weight.mantissa.astype(np.float64), map_.weight.exponent)
    groups, out, inner = map_.groups, len(weight) // map_.groups, weight.shape[1]
    taps = list(itertools.product(*(range(side) for side in weight.shape[2:])))
    reads = np.array(taps).reshape(len(taps), -1) * np.array(map_.dilation)
    stride = np.array(map_.stride)
    _, phase = np.unique(reads % stride, axis=0, return_inverse=True)
    phase = phase.reshape(-1)
    count = int(phase.max()) + 1
    kernel = np.moveaxis(weight.reshape(groups, out, inner, len(taps)), 3, 0)
    grid = np.array(list(itertools.product(*(range(side) for side in sides))))
    grid = grid[: math.ceil(sides[0] / 2 + 1) * math.prod(sides[1:])]  # the rest are conjugates
    step = max(1, CHUNK // max(1, groups * out * inner * count))
    largest = 0.0
    for start in range(0, len(grid), step):
        turns = (grid[start : start + step] / np.array(sides)) @ (reads // stride).T
        wave = np.exp(2j * np.pi * turns)
        blocks = np.zeros((len(wave), groups, out, count, inner), dtype=complex)
        for p in range(count):
            own = phase == p
            blocks[:, :, :, p] = np.tensordot(wave[:, own], kernel[own], axes=(1, 0))
        matrices = blocks.reshape(len(wave), groups, out, -1)
        if matrices.shape[-2] > matrices.shape[-1]:
            matrices = np.swapaxes(matrices, -1, -2)
        gram = matrices @ np.conj(np.swapaxes(matrices, -1, -2))
        largest = max(largest, float(np.linalg.eigvalsh(gram)[..., -1].max()))
    return math.sqrt(max(largest, 0.0))
