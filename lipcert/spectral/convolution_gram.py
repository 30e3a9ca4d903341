"""The explicit Gram matrix of a zero-padded convolution, assembled from products of taps."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from lipcert.operators import Convolution


def convolution_gram_work(operator: Convolution) -> float:
    """Floating-point operations (and memory moves, counted eightfold) of the assembly."""
    channels = min(operator.weight.shape[0], operator.weight.shape[1])
    taps = math.prod(operator.kernel)
    positions = math.prod(operator.out_spatial)
    return 8.0 * taps * taps * channels * channels * positions


def convolution_gram(operator: Convolution) -> Tensor:
    """``AᵀA`` or ``AAᵀ``, whichever is smaller, of an ungrouped convolution at one position.

    Its block between two pixels sums ``W_tᵀW_t'`` (or ``W_tW_t'ᵀ``) over the pairs of taps that
    join them, so no pass over a basis is needed.  Every entry is a sum of at most
    ``out_channels · taps`` (or ``in_channels · taps``) products, the same as in a product of the
    explicit matrices.
    """
    taps = list(itertools.product(*(range(k) for k in operator.kernel)))
    matrices = operator.weight.reshape(*operator.weight.shape[:2], -1).permute(2, 0, 1)
    reads = [_read_positions(operator, tap) for tap in taps]
    if operator.in_size <= operator.out_size:
        return _input_gram(operator, matrices, reads)
    return _output_gram(operator, matrices, reads)


def _read_positions(operator: Convolution, tap: tuple[int, ...]) -> Tensor:
    """Flat input position that each output reads through a tap, −1 in the padding."""
    flat = torch.zeros((), dtype=torch.int64)
    inside = torch.ones((), dtype=torch.bool)
    for axis, n in enumerate(operator.spatial):
        m = torch.arange(operator.out_spatial[axis])
        j = m * operator.stride[axis] + tap[axis] * operator.dilation[axis]
        j = j - operator.pads_begin[axis]
        flat = flat[..., None] * n + j
        inside = inside[..., None] & (j >= 0) & (j < n)
    return torch.where(inside, flat, -1).reshape(-1)


def _input_gram(operator: Convolution, matrices: Tensor, reads: list[Tensor]) -> Tensor:
    pixels, channels = math.prod(operator.spatial), operator.weight.shape[1]
    gram = matrices.new_zeros(pixels, pixels, channels, channels)
    for (first, p), (second, q) in itertools.product(enumerate(reads), repeat=2):
        both = (p >= 0) & (q >= 0)
        gram[p[both], q[both]] += matrices[first].T @ matrices[second]
    size = pixels * channels
    return gram.permute(2, 0, 3, 1).reshape(size, size)


def _output_gram(operator: Convolution, matrices: Tensor, reads: list[Tensor]) -> Tensor:
    outputs, channels = math.prod(operator.out_spatial), operator.weight.shape[0]
    gram = matrices.new_zeros(outputs, outputs, channels, channels)
    inverse = []
    for read in reads:
        where = torch.full((math.prod(operator.spatial),), -1)
        inside = read >= 0
        where[read[inside]] = torch.nonzero(inside).reshape(-1)
        inverse.append(where)
    for (first, m), (second, n) in itertools.product(enumerate(inverse), repeat=2):
        both = (m >= 0) & (n >= 0)
        gram[m[both], n[both]] += matrices[first] @ matrices[second].T
    size = outputs * channels
    return gram.permute(2, 0, 3, 1).reshape(size, size)
