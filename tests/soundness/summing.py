"""Float32 evaluations of a network node by node, in orders of summation that are drawn or are bad."""

from __future__ import annotations

from functools import cache

import numpy as np

from lipcert.checker.exact import Rows
from lipcert.checker.maps import identity
from lipcert.checker.network import Affine, Network, Stage

ORDERS = ("drawn", "tree", "by sign", "largest first")
MOST_OFF = 2.0**-20
"""What a sigmoid or tanh may be off by."""


def evaluated(
    network: Network, x: np.ndarray, rng: np.random.Generator, order: str, *, fused: bool
) -> dict[str, np.ndarray]:
    """All values up to the logits of one float32 sample, flat."""
    values = {network.input: x.reshape(-1).astype(np.float32)}
    for name, maker in network.makers.items():
        if network.logits in values:
            break
        if isinstance(maker, Stage):
            values[name] = _stage(maker, values[maker.source], rng)
            continue
        factors, read = matrix(maker, network.sizes[name])
        flat = np.concatenate([values[source] for source in read])
        found = [added(row, flat, rng, order, fused=fused) for row in factors]
        values[name] = np.array(found, dtype=np.float32)
        if maker.bias is not None:
            own = maker.bias
            bias = np.ldexp(own.mantissa.reshape(-1).astype(float), own.exponent)
            values[name] = values[name] + bias.astype(np.float32)
    return values


@cache
def matrix(maker: Affine, size: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The coefficients of all that a sum reads, as float32."""
    parts = []
    for _, maps in maker.summands:
        rows = identity(size)
        for one in reversed(maps):
            rows = one.pull(rows)
        parts.append(numbers(rows))
    return np.concatenate(parts, 1).astype(np.float32), tuple(s for s, _ in maker.summands)


def numbers(rows: Rows) -> np.ndarray:
    """Rows as float64."""
    flat = rows.mantissa.reshape(len(rows.mantissa), -1)
    return np.ldexp(flat.astype(float), rows.exponent)


def added(
    row: np.ndarray, x: np.ndarray, rng: np.random.Generator, order: str, *, fused: bool
) -> np.float32:
    """``Σ row·x`` in float32: a drawn tree of additions, or one after another."""
    used = np.flatnonzero(row)
    products = row[used] * x[used]
    if order == "tree":
        terms = list(products)
        while len(terms) > 1:
            i, j = (int(k) for k in rng.choice(len(terms), 2, replace=False))
            terms[i] = terms[i] + terms[j]
            del terms[j]
        return terms[0] if terms else np.float32(0.0)
    keys = {
        "drawn": rng.random(len(used)),
        "by sign": -products * rng.choice([-1.0, 1.0]),
        "largest first": -np.abs(products),
    }
    total = np.float32(0.0)
    for k in used[np.argsort(keys[order])]:
        exact = float(row[k]) * float(x[k])  # 48 bits
        total = np.float32(float(total) + exact) if fused else total + row[k] * x[k]
    return total


def _stage(maker: Stage, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if maker.kind == "Relu":
        return np.maximum(x, np.float32(0.0))
    if maker.kind == "Abs":
        return np.abs(x)
    if maker.kind == "LeakyRelu":
        return np.where(x >= 0, x, np.float32(maker.below) * x)
    if maker.kind in ("Sigmoid", "Tanh"):
        v = x.astype(float)
        curve = 1.0 / (1.0 + np.exp(-v)) if maker.kind == "Sigmoid" else np.tanh(v)
        off = 0.9 * MOST_OFF * rng.choice([-1.0, 1.0], len(x))
        return (curve + off).astype(np.float32)
    if maker.kind == "MaxPool":
        assert maker.windows is not None
        read = np.where(maker.windows >= 0, x[np.maximum(maker.windows, 0)], -np.inf)
        return read.max(-1).astype(np.float32)
    first, second = np.split(x, 2)
    assert maker.kind == "Sort"
    return np.concatenate([np.maximum(first, second), np.minimum(first, second)])
