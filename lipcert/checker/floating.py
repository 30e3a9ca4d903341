"""Maps near samples in float64: linear ones with what float64 loses, slopes of others."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from .exact import Weight, add, length, mul, root
from .maps import Linear
from .network import Stage
from .samples import _exponential

Array = NDArray[np.float64]
Places = NDArray[np.int64]

LEAST = 2.0**-800
"""More than all that underflows in one product with a map."""


def floats(own: Weight) -> Array:
    """The numbers in float64, each off by 2^-53 of itself but for ``own.radius``."""
    return np.asarray(np.ldexp(own.mantissa.astype(np.float64), own.exponent))


def dot(first: Array, second: Array) -> Array:
    """Sums of products of non-negative ``(N, R, n)`` and ``(N, n)``, rounded upward."""
    slack = 1.0 + (first.shape[-1] + 8) * 2.0**-51
    return np.asarray(add(mul((first @ second[..., None])[..., 0], slack), LEAST))


def loud(one: Linear, x: Array) -> Array:
    """The map's absolute values times non-negative ``x (N, inputs)``, rounded upward."""
    own = np.abs(floats(one.weight))
    found = np.concatenate(one.in_parts(partial(one.forward, own), x))
    off = mul(one.weight.radius, length(x))[:, None]
    return np.asarray(add(mul(found, 1.0 + (one.size.terms[0] + 8) * 2.0**-51), off, LEAST))


def heights(maps: tuple[Linear, ...]) -> Array:
    """Bounds ``(outputs,)`` of the l2 norms of the rows of the maps' matrix."""
    gain = float(mul(1.0, *(one.gain for one in maps[:-1])))
    last = maps[-1]
    squares = last.forward(np.square(floats(last.weight)), np.ones((1, last.size.x)))[0]
    slack = 1.0 + (last.size.terms[0] + 8) * 2.0**-51
    rows = add(mul(np.sqrt(squares), slack), 2.0**-480, last.weight.radius)
    return np.asarray(mul(rows, gain))


def pulled(one: Linear, rows: Array, off: Array) -> tuple[Array, Array]:
    """``rows (T, outputs)``, within ``off (T,)`` in l2 of others, times the map's matrix; and how
    far in l2 that is from those others times it."""
    values = np.concatenate(one.in_parts(partial(one.backward, floats(one.weight)), rows))
    radius = mul(one.weight.radius, root(float(one.copies)))
    lost = add(mul((one.size.terms[1] + 8) * 2.0**-51, one.gain), radius, LEAST)
    return values, add(mul(off, one.gain), mul(lost, length(rows)), LEAST)


def through(maps: tuple[Linear, ...], rows: Array) -> tuple[Array, Array]:
    """Rows ``(N, R, outputs)`` times the maps' matrix, and how far in l2 that may be off."""
    part, lost = rows.reshape(-1, rows.shape[-1]), np.zeros(rows.shape[0] * rows.shape[1])
    for one in reversed(maps):
        part, lost = pulled(one, part, lost)
    return part.reshape(*rows.shape[:2], -1), lost.reshape(rows.shape[:2])


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
    under, over = (np.where(on, 1.0, maker.below or 0.0) for on in (high > 0.0, low >= 0.0))
    return np.minimum(under, over), np.maximum(under, over)


def _bell(u: Array) -> Array:
    """The slope ``e^-u/(1 + e^-u)^2`` of the sigmoid at u ≥ 0, within 2^-41."""
    e = _exponential(u)
    return np.asarray(e / np.square(1.0 + e))
