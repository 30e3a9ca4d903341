"""Maps near samples in float64: linear ones with what float64 loses, slopes of others."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .exact import Weight, add, mul, root
from .maps import Convolution, Dense, Gather, Map, Scale
from .network import Affine, Stage
from .samples import _exponential

Array = NDArray[np.float64]
Places = NDArray[np.int64]

CHUNK = 1 << 22
"""Elements of one intermediate array."""
LEAST = 2.0**-800
"""More than all that underflows in one product with a map."""


def floats(own: Weight) -> Array:
    """The numbers in float64, each off by 2^-53 of itself but for ``own.radius``."""
    return np.asarray(np.ldexp(own.mantissa.astype(np.float64), own.exponent))


def length(values: Array) -> Array:
    """l2 norms over the last axis, rounded upward."""
    slack = 1.0 + (values.shape[-1] + 8) * 2.0**-51
    return np.asarray(add(mul(np.sqrt(np.square(values).sum(-1)), slack), 2.0**-480))


def dot(first: Array, second: Array) -> Array:
    """Sums of products of non-negative ``(N, R, n)`` and ``(N, n)``, rounded upward."""
    slack = 1.0 + (first.shape[-1] + 8) * 2.0**-51
    return np.asarray(add(mul((first @ second[..., None])[..., 0], slack), LEAST))


def terms(one: Map) -> int:
    """Products that make one element of the result."""
    if isinstance(one, Gather):
        return 0
    return 1 if isinstance(one, Scale) else math.prod(one.weight.mantissa.shape[1:])


def loud(one: Map, x: Array) -> Array:
    """The map's absolute values times non-negative ``x (N, inputs)``, rounded upward."""
    if isinstance(one, Gather):
        return np.asarray(one.taken(x))
    own = np.abs(floats(one.weight))
    if isinstance(one, Scale):
        found = x * own.reshape(1, -1)
    elif isinstance(one, Dense):
        found = (x.reshape(-1, own.shape[1]) @ own.T).reshape(len(x), -1)
    else:
        found = _in_parts(one, own, x, _convolved)
    off = mul(one.weight.radius, length(x))[:, None]
    return np.asarray(add(mul(found, 1.0 + (terms(one) + 8) * 2.0**-51), off, LEAST))


def heights(maps: tuple[Map, ...]) -> Array:
    """Bounds, ``(outputs,)`` or one, of the l2 norms of the rows of the maps' matrix."""
    gain = float(mul(1.0, *(one.gain for one in maps[:-1])))
    last = maps[-1]
    if isinstance(last, Gather):
        return np.where(last.index >= 0, gain, 0.0)
    own = floats(last.weight)
    own = own.reshape(-1, 1) if isinstance(last, Scale) else own.reshape(len(own), -1)
    rows = np.asarray(mul(add(length(own), last.weight.radius), gain, 1.0 + 2.0**-50))
    if isinstance(last, Dense):
        return np.tile(rows, last.lead)
    return np.repeat(rows, len(last.taps)) if isinstance(last, Convolution) else rows


def pulled(one: Map, rows: Array, off: Array) -> tuple[Array, Array]:
    """``rows (T, outputs)``, within ``off (T,)`` in l2 of others, times the map's matrix; and how
    far in l2 that is from those others times it."""
    if isinstance(one, Gather):
        values, sums, radius = np.asarray(one.summed(rows)), one.most, 0.0
    else:
        own, radius, sums = floats(one.weight), one.weight.radius, 1
        if isinstance(one, Scale):
            values = rows * own.reshape(1, -1)
        elif isinstance(one, Dense):
            values, sums = (rows.reshape(-1, len(own)) @ own).reshape(len(rows), -1), len(own)
        else:
            taps = one.taps.shape[1]
            values, sums = _in_parts(one, own, rows, _spread), len(own) * taps
            radius = mul(radius, root(float(taps)))
    lost = add(mul((sums + 8) * 2.0**-51, one.gain), radius, LEAST)
    return values, add(mul(off, one.gain), mul(lost, length(rows)), LEAST)


def _in_parts(
    one: Convolution, own: Array, rows: Array, part: Callable[[Convolution, Array, Array], Array]
) -> Array:
    kernel = own.reshape(one.groups, len(own) // one.groups, -1)
    step = max(1, CHUNK // max(1, one.in_channels * one.taps.size))
    starts = range(0, len(rows), step)
    found = [part(one, kernel, rows[start : start + step]) for start in starts]
    return np.concatenate(found).reshape(len(rows), -1)


def _convolved(one: Convolution, kernel: Array, x: Array) -> Array:
    read = one.reads.taken(x.reshape(-1, math.prod(one.spatial)))
    patches = read.reshape(len(x), one.groups, -1, len(one.taps))
    return np.asarray(kernel @ patches).reshape(len(x), -1)


def _spread(one: Convolution, kernel: Array, rows: Array) -> Array:
    taps = one.weight.mantissa.shape[2:]
    parts = kernel.swapaxes(1, 2) @ rows.reshape(len(rows), one.groups, -1, len(one.taps))
    parts = parts.reshape(len(rows), one.in_channels, *taps, *one.out_spatial)
    axes = list(zip(one.out_spatial, one.stride, one.dilation, one.pads, one.spatial, strict=True))
    stops = [(m - 1) * s + 1 for m, s, *_ in axes]
    sides = [
        max(p + n, stop + (k - 1) * d)
        for (_, _, d, p, n), stop, k in zip(axes, stops, taps, strict=True)
    ]
    found = np.zeros((len(rows), one.in_channels, *sides))
    for tap in np.ndindex(*taps):
        starts = [t * d for t, (_, _, d, *_) in zip(tap, axes, strict=True)]
        read = zip(starts, stops, one.stride, strict=True)
        at = tuple(slice(start, start + stop, step) for start, stop, step in read)
        found[(slice(None), slice(None), *at)] += parts[(slice(None), slice(None), *tap)]
    at = tuple(slice(p, p + n) for *_, p, n in axes)
    return found[(slice(None), slice(None), *at)].reshape(len(rows), -1)


def times(factor: Array, rows: Array) -> Array:
    """Rows ``(N, R, n)`` of ``x`` from those of ``y = factor ∘ x``."""
    return np.asarray(rows * factor[:, None])


def scattered(winner: Places, size: int, rows: Array) -> Array:
    """Rows ``(N, R, size)`` of ``x`` from those of ``y_o = x[winner_o]``."""
    starts = np.arange(0, rows.shape[0] * rows.shape[1] * size, size).reshape(*rows.shape[:2], 1)
    places = (starts + winner[:, None]).reshape(-1)
    found = np.zeros(starts.size * size)
    np.add.at(found, places, rows.reshape(-1))
    return found.reshape(*rows.shape[:2], size)


def slopes(maker: Stage, low: Array, high: Array) -> tuple[Array, Array]:
    """Least and largest slopes of an elementwise nonlinearity between two numbers."""
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    if maker.kind in ("Sigmoid", "Tanh"):
        near_zero = np.maximum(np.maximum(low, -high), 0.0)
        far = np.maximum(-low, high)
        scale = 1.0 if maker.kind == "Sigmoid" else 2.0
        least, most = (scale * scale * _bell(scale * at) for at in (far, near_zero))
        return np.maximum(least - 2.0**-40, 0.0), np.minimum(most + 2.0**-40, maker.constant)
    below = maker.parameters[0] if maker.parameters else {"Relu": 0.0, "Abs": -1.0}[maker.kind]
    under, over = np.where(high <= 0.0, below, 1.0), np.where(low >= 0.0, 1.0, below)
    return np.minimum(under, over), np.maximum(under, over)


def _bell(u: Array) -> Array:
    """The slope ``e^-u/(1 + e^-u)^2`` of the sigmoid at u ≥ 0, within 2^-45."""
    e = _exponential(u)
    return np.asarray(e / np.square(1.0 + e))


def is_move(maker: Affine) -> bool:
    """Whether a sum only puts elements of values somewhere, and rounds none."""
    chains = [maps for _, maps in maker.summands]
    if maker.bias is not None or not all(isinstance(one, Gather) for m in chains for one in m):
        return False
    written = [maps[0].index >= 0 for maps in chains if maps and isinstance(maps[0], Gather)]
    alone = len(written) == len(chains) and all(len(maps) == 1 for maps in chains)
    return len(chains) == 1 or (alone and bool((np.sum(written, axis=0) <= 1).all()))
