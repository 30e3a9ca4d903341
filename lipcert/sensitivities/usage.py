"""How often a convolution uses what it reads: the factors between G·X and its kernel's gradient."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from lipcert.operators import Convolution
from lipcert.operators.indexing import exact_root


def kernel_factor(convolution: Convolution) -> float:
    """``√Π min(U, V)`` over the spatial axes.

    U is the most outputs that read one input element along an axis, V the most taps of one output
    that fall inside the input.  The gradient is ``Σ_m g_m ⊗ patch_m``: its norm is at most
    ``‖g‖ (Σ‖patch_m‖²)^½ ≤ G·X·√U``.  Taken tap by tap, ``Σ_t ‖g restricted to where t is
    inside‖²‖x‖² ≤ V·G²·X²``.  Fixing the taps of some axes and taking patches along the others
    mixes the two, axis by axis.  The adjoint only exchanges the roles of g and x.
    """
    return exact_root(math.prod(min(pair) for pair in _counts(convolution)))


def tap_factor(convolution: Convolution) -> float:
    """``√s`` with s the number of taps, never below :func:`kernel_factor`."""
    return exact_root(math.prod(convolution.kernel))


def _counts(convolution: Convolution) -> list[tuple[int, int]]:
    """U and V of each spatial axis, counted on its actual size."""
    return [
        _counted(*axis)
        for axis in zip(
            convolution.spatial,
            convolution.out_spatial,
            convolution.kernel,
            convolution.stride,
            convolution.dilation,
            convolution.pads_begin,
            strict=True,
        )
    ]


@lru_cache(maxsize=1024)
def _counted(
    size: int, out: int, kernel: int, stride: int, dilation: int, pad: int
) -> tuple[int, int]:
    starts, taps = np.arange(out)[:, None] * stride, np.arange(kernel)[None, :] * dilation
    reads = starts + taps - pad
    inside = (reads >= 0) & (reads < size)
    most_readers = int(np.bincount(reads[inside], minlength=1).max())
    return most_readers, int(inside.sum(1).max()) if inside.size else 0
