"""Samples through a network in integers: margins below which no rounding took them."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Integers, Rows, add, mul, power, root, up, weight
from .maps import scaled, total
from .network import Affine, Network, Stage

NAMES = ("x", "images", "X", "data", "x_test")
"""Names of the array of samples in an npz archive, tried in this order."""
MOST_ELEMENTS = 1 << 30
SMOOTH = 2.0**-40
"""What computing a sigmoid or tanh from float64 additions and products is off by at most."""


def read_samples(path: Path) -> NDArray[Any]:
    """The samples in an npz archive, in their own shape."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            name = next((name for name in NAMES if name in held), None)
            if name is None or held[name].file_size > 8 * MOST_ELEMENTS:
                raise CheckError(f"{path.name} holds no array of samples that is read")
            with archive.open(held[name]) as member:
                found = np.lib.format.read_array(member, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        raise CheckError(f"{path.name} is not an npz archive: {error}") from error
    most = 8 if found.dtype.kind == "f" else 4  # bytes that float64 holds
    if not found.ndim or found.dtype.kind not in "fiub" or found.itemsize > most:
        raise CheckError(f"{path.name} holds samples of a type that is not read")
    return found


def fits(shape: tuple[int, ...], network: Network) -> bool:
    """Whether samples ``(N, *sides)`` are the network's: flat, or but for sides of one alike."""
    own, wanted = ([s for s in sides[1:] if s != 1] for sides in (shape, network.input_shape))
    return own == wanted or (
        math.prod(own) == math.prod(wanted) and min(len(own), len(wanted)) <= 1
    )


def rows_of(samples: NDArray[Any]) -> Rows:
    """Samples as rows ``(N, elements)``."""
    own = weight(samples.reshape(len(samples), -1).astype(np.float64))
    return Rows(own.mantissa, own.exponent, np.full(len(samples), own.radius))


def forward(network: Network, x: Rows) -> dict[str, Rows]:
    """All values of samples up to the logits, each row's radius bounding what rounding left out."""
    values = {network.input: x}
    for name, maker in network.makers.items():
        if network.logits in values:
            break
        if isinstance(maker, Affine):
            values[name] = total([*maker.pushed(values), *_bias(maker)])
        else:
            values[name] = _stage(maker, values[maker.source])
    return values


def _bias(maker: Affine) -> list[Rows]:
    own = maker.bias
    if own is None:
        return []
    return [Rows(own.mantissa.reshape(1, -1), own.exponent, np.array([own.radius]))]


def _stage(maker: Stage, x: Rows) -> Rows:
    m = x.mantissa
    radius = mul(x.radius, maker.constant)
    if maker.below is not None:
        above = Rows(np.maximum(m, 0), x.exponent, radius)
        under = Rows(np.minimum(m, 0), x.exponent, np.zeros(len(m)))
        return total([above, scaled(under, maker.below)]) if maker.below else above
    if maker.windows is not None:
        read = maker.signs * m[:, np.maximum(maker.windows, 0)]
        most = np.where(maker.windows >= 0, read, np.iinfo(np.int64).min).max(-1, keepdims=True)
        return Rows((maker.signs * most)[..., 0], x.exponent, radius)
    if maker.kind in ("Sigmoid", "Tanh"):
        near = np.ldexp(m.astype(np.float64), x.exponent)
        curve = _sigmoid(near) if maker.kind == "Sigmoid" else _tanh(near)
        own = weight(curve)
        off = mul(root(float(m.shape[1])), SMOOTH)
        return Rows(own.mantissa, own.exponent, add(radius, own.radius, off))
    raise CheckError(f"evaluating {maker.kind} is not covered")


def _sigmoid(v: NDArray[np.float64]) -> NDArray[np.float64]:
    e = _exponential(np.abs(v))
    return np.where(v >= 0.0, 1.0, e) / (1.0 + e)


def _tanh(v: NDArray[np.float64]) -> NDArray[np.float64]:
    e = _exponential(2.0 * np.abs(v))
    found: NDArray[np.float64] = np.sign(v) * (1.0 - e) / (1.0 + e)
    return found


def _exponential(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """``e^-u`` for u ≥ 0 within 2^-41: a Taylor polynomial at u/1024 squared ten times."""
    r = np.minimum(u, 40.0) / 1024.0
    found = np.ones_like(r)
    for n in range(8, 0, -1):
        found = 1.0 - r * found / n
    for _ in range(10):
        found = found * found
    return found


def gaps(logits: Rows) -> tuple[Integers, NDArray[np.float64]]:
    """Largest logits, and lower bounds ``(N, K)`` of how far each other one is behind.

    One logit is decided by its sign: its gap ``(N, 1)`` is its size.
    """
    m = logits.mantissa
    if m.shape[1] == 1:
        size = np.ldexp(np.abs(m).astype(np.float64), logits.exponent)
        return (m[:, 0] > 0).astype(np.int64), _below(size - up(logits.radius)[:, None], size)
    best = m.argmax(1)
    ahead = np.ldexp((m[np.arange(len(m)), best][:, None] - m).astype(np.float64), logits.exponent)
    behind = _below(ahead - mul(logits.radius, math.sqrt(2.0) * (1 + 1e-15))[:, None], ahead)
    behind[np.arange(len(m)), best] = np.inf
    return best, behind


def _below(value: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.maximum(value - size * 2.0**-50 - power(-1070), 0.0)
    return found
