"""Random graphs drawn by hand: skips, concatenations, shared and dead signals, maps of all kinds.

Small and dense, with weights of several scales, for the methods that work on explicit matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from lipcert.graph import Affine, Graph
from lipcert.nonlinear import (
    ACTIVATIONS,
    Extremes,
    GroupMax,
    GroupSort,
    Larger,
    MaxMin,
    MaxPool,
    PRelu,
    Softmax,
)
from lipcert.operators import Indexing, Reshape

from .drawing import Drawing

Bend = Callable[[Drawing, str, np.random.Generator], str]

SMOOTH = ("Tanh", "Sigmoid", "Gelu", "Silu", "HardSwish", "Softplus", "Sin", "Selu")


def reshaped(d: Drawing, v: str, *shape: int) -> str:
    """The same elements in another shape."""
    return d.add(Affine(Reshape(d.shapes[v], shape)), v)


def taken(d: Drawing, v: str, index: Sequence[int] | np.ndarray) -> str:
    """Some elements."""
    return d.add(Affine(Indexing(torch.as_tensor(index), d.shapes[v])), v)


def joined(d: Drawing, *parts: str) -> str:
    """Vectors behind one another."""
    total = sum(math.prod(d.shapes[v]) for v in parts)
    start, placed = 0, []
    for v in parts:
        placed.append(d.placed(v, start, total))
        start += math.prod(d.shapes[v])
    return d.total(*placed)


def max_min(d: Drawing, v: str) -> str:
    """Neighbours sorted: all maxima first."""
    n = math.prod(d.shapes[v])
    pair = taken(d, v, np.arange(0, n, 2)), taken(d, v, np.arange(1, n, 2))
    return reshaped(d, d.add(MaxMin(), *pair, shape=(2, n // 2)), n)


def group_sort(d: Drawing, v: str, size: int, *, axis: int = 1) -> str:
    """Neighbours in groups (``axis`` 1), or elements far apart (0), sorted."""
    n = math.prod(d.shapes[v])
    shape = (n // size, size) if axis else (size, n // size)
    grouped = reshaped(d, v, *shape)
    return reshaped(d, d.add(GroupSort(axis, size, descending=True), grouped), n)


def max_pool(
    d: Drawing, v: str, kernel: int, *, stride: int = 1, begin: int = 0, end: int = 0
) -> str:
    """Maxima of windows of a vector."""
    n = math.prod(d.shapes[v])
    out = (n + begin + end - kernel) // stride + 1
    pool = MaxPool((kernel,), stride=(stride,), dilation=(1,), pads_begin=(begin,), pads_end=(end,))
    return reshaped(d, d.add(pool, reshaped(d, v, 1, 1, n), shape=(1, 1, out)), out)


# --- maps that are not linear ----------------------------------------------------------------------


def _divisor(n: int, rng: np.random.Generator, *choices: int) -> int:
    return int(rng.choice([g for g in choices if n % g == 0] or [1]))


def _relu(d: Drawing, v: str, rng: np.random.Generator) -> str:
    return d.relu(v)


def _leaky(d: Drawing, v: str, rng: np.random.Generator) -> str:
    slope = float(rng.choice([0.1, -0.5, 2.0, 0.9, -1.0, -3.0, 0.0]))
    return d.add(ACTIVATIONS["LeakyRelu"](alpha=slope), v)


def _prelu(d: Drawing, v: str, rng: np.random.Generator) -> str:
    slopes = rng.choice([0.25, -1.0, 0.0, 2.0, 1.0, -0.3], d.shapes[v])
    return d.add(PRelu(torch.from_numpy(slopes)), v)


def _smooth(d: Drawing, v: str, rng: np.random.Generator) -> str:
    return d.add(ACTIVATIONS[str(rng.choice(SMOOTH))](), v)


def _sorted(d: Drawing, v: str, rng: np.random.Generator) -> str:
    size = _divisor(math.prod(d.shapes[v]), rng, 2, 3, 4, 5)
    return group_sort(d, v, size, axis=int(rng.integers(2)))


def _max_min(d: Drawing, v: str, rng: np.random.Generator) -> str:
    even = math.prod(d.shapes[v]) % 2 == 0
    return max_min(d, v) if even else d.add(ACTIVATIONS["Abs"](), v)


def _max_pool(d: Drawing, v: str, rng: np.random.Generator) -> str:
    kernel = int(rng.integers(1, min(4, math.prod(d.shapes[v]) + 1)))
    begin, end = (int(pad) for pad in rng.integers(0, kernel, 2))
    return max_pool(d, v, kernel, stride=int(rng.integers(1, 3)), begin=begin, end=end)


def _larger(d: Drawing, v: str, rng: np.random.Generator) -> str:
    n = math.prod(d.shapes[v])
    others = [d.matrix(_weights(n, n, rng), v) for _ in range(rng.integers(1, 4))]
    return d.add(Larger(sign=float(rng.choice([-1.0, 1.0]))), v, *others)


def _extremes(d: Drawing, v: str, rng: np.random.Generator) -> str:
    n = math.prod(d.shapes[v])
    size = _divisor(n, rng, 2, 3, 4)
    if size == 1:
        return d.relu(v)
    both = d.add(Extremes((1,)), reshaped(d, v, n // size, size), shape=(2, n // size, 1))
    return reshaped(d, both, 2 * n // size)


def _group_max(d: Drawing, v: str, rng: np.random.Generator) -> str:
    n = math.prod(d.shapes[v])
    size = _divisor(n, rng, 1, 2, 3)
    tops = d.add(GroupMax((1,)), reshaped(d, v, n // size, size), shape=(n // size, 1))
    return reshaped(d, tops, n // size)


def _first_of_sorted(d: Drawing, v: str, rng: np.random.Generator) -> str:
    n = math.prod(d.shapes[v])
    size = _divisor(n, rng, 1, 2, 3, 4)
    kept = int(rng.integers(1, size + 1))
    grouped = reshaped(d, v, n // size, size)
    first = d.add(GroupSort(1, kept, descending=False), grouped, shape=(n // size, kept))
    return reshaped(d, first, kept * n // size)


def _softmax(d: Drawing, v: str, rng: np.random.Generator) -> str:
    return d.add(Softmax((0,)), v)


BENDS: tuple[Bend, ...] = (
    *(_relu, _relu, _leaky, _prelu, _smooth, _sorted, _sorted, _max_min, _max_min),
    *(_max_pool, _larger, _extremes, _group_max, _first_of_sorted, _softmax),
)


# --- graphs ----------------------------------------------------------------------------------------


def random_dag(seed: int, *, widest: int = 8, deepest: int = 6) -> Graph:
    """The graph of a seed, always the same one."""
    rng = np.random.default_rng(seed)
    d = Drawing(int(rng.integers(1, widest + 5)))
    signals = ["x"]
    for _ in range(rng.integers(1, deepest + 1)):
        sources = [str(v) for v in rng.choice(signals[-3:], int(rng.integers(1, 3)))]
        v = _read(d, sources, int(rng.integers(1, widest + 1)), rng)
        bent = BENDS[int(rng.integers(len(BENDS)))](d, v, rng)
        if rng.random() < 0.3 and d.shapes[bent] == d.shapes[v]:
            bent = d.total(bent, v)
        elif rng.random() < 0.2:
            bent = joined(d, bent, v)
        signals.append(bent)
    return d.graph(_output(d, signals, rng))


def _read(d: Drawing, sources: list[str], n: int, rng: np.random.Generator) -> str:
    parts = []
    for source in sources:
        weight = _weights(n, d.shapes[source][0], rng)
        parts.append(d.matrix(weight, source, rng.standard_normal(n)))
    if len(parts) == 1:
        return parts[0]
    return d.total(*parts) if rng.random() < 0.6 else joined(d, *parts)


def _weights(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    scale = rng.choice([1.0, 1e-3, 30.0, 0.0], p=[0.8, 0.1, 0.05, 0.05])
    weight = rng.standard_normal((rows, columns)) * scale / math.sqrt(columns)
    if rng.random() < 0.3:
        weight = np.abs(weight)
    if rng.random() < 0.15:
        weight[rng.integers(rows)] = 0.0
    return weight


def _output(d: Drawing, signals: list[str], rng: np.random.Generator) -> str:
    last = signals[-1]
    if rng.random() < 0.3:
        return last
    outputs = int(rng.integers(1, 6))
    read = [last, str(rng.choice(signals))] if rng.random() < 0.4 else [last]
    parts = [d.matrix(rng.standard_normal((outputs, d.shapes[v][0])), v) for v in read]
    return parts[0] if len(parts) == 1 else d.total(*parts)
