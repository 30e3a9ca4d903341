"""A random operator of every kind, and its matrix by the definition, entry by entry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch

from lipcert.operators import (
    Adjoint,
    Centring,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Indexing,
    LinearOperator,
    Reshape,
    Shape,
    Sum,
    Transpose,
)

Maker = Callable[[np.random.Generator], LinearOperator]
MAKERS: dict[type[LinearOperator], Maker] = {}
"""One generator for every kind; a test holds it against the subclasses that exist."""


def kinds() -> list[type[LinearOperator]]:
    """Every concrete kind of operator in the library."""
    found: list[type[LinearOperator]] = []
    queue: list[type[LinearOperator]] = [LinearOperator]
    while queue:
        for kind in queue.pop().__subclasses__():
            queue.append(kind)
            if kind not in found and kind.__module__.startswith("lipcert."):
                found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def makes(kind: type[LinearOperator]) -> Callable[[Maker], Maker]:
    def enter(maker: Maker) -> Maker:
        MAKERS[kind] = maker
        return maker

    return enter


def weights(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """Small dyadic rationals, so that sums of their products are exact in float64."""
    return torch.from_numpy(rng.integers(-12, 13, shape) / 8.0)


def size(rng: np.random.Generator, low: int = 1, high: int = 6) -> int:
    return int(rng.integers(low, high + 1))


def shape_of(rng: np.random.Generator, rank: int | None = None, most: int = 4) -> Shape:
    rank = size(rng, 1, 4) if rank is None else rank
    return tuple(size(rng, 1, most) for _ in range(rank))


@makes(Dense)
def dense(rng: np.random.Generator) -> Dense:
    return Dense(weights(rng, size(rng), size(rng)), shape_of(rng, size(rng, 0, 2), 3))


@makes(Diagonal)
def diagonal(rng: np.random.Generator) -> Diagonal:
    shape = shape_of(rng)
    kept = tuple(n if rng.random() < 0.6 else 1 for n in shape)
    scale = weights(rng, *kept)
    return Diagonal(scale if rng.random() < 0.8 else scale.reshape(-1)[0], shape)


@makes(Centring)
def centring(rng: np.random.Generator) -> Centring:
    shape = tuple(int(rng.choice([1, 2, 4])) for _ in range(size(rng, 1, 3)))
    count = size(rng, 1, len(shape))
    return Centring(shape, tuple(sorted(rng.choice(len(shape), count, replace=False).tolist())))


@makes(Indexing)
def indexing(rng: np.random.Generator) -> Indexing:
    source, target = shape_of(rng, most=3), shape_of(rng, most=3)
    low = -1 if rng.random() < 0.7 else 0
    index = rng.integers(low, math.prod(source), target)
    return Indexing(torch.from_numpy(index), source)


@makes(Reshape)
def reshape(rng: np.random.Generator) -> Reshape:
    shape = shape_of(rng)
    return Reshape(shape, (math.prod(shape),) if rng.random() < 0.5 else tuple(reversed(shape)))


@makes(Transpose)
def transpose(rng: np.random.Generator) -> Transpose:
    shape = shape_of(rng)
    return Transpose(shape, tuple(rng.permutation(len(shape)).tolist()))


@makes(Convolution)
def convolution(rng: np.random.Generator, *, lead: int | None = None) -> Convolution:
    dims = size(rng, 1, 3)
    most = {1: 9, 2: 6, 3: 3}[dims]
    groups = size(rng, 1, 3) if rng.random() < 0.5 else 1
    while True:
        spatial = tuple(size(rng, 1, most) for _ in range(dims))
        kernel = tuple(size(rng, 1, 3 if dims > 1 else 5) for _ in range(dims))
        dilation = tuple(size(rng, 1, 2) for _ in range(dims))
        begin = tuple(size(rng, 0, 3) for _ in range(dims))
        end = tuple(size(rng, 0, 3) for _ in range(dims))
        fits = (
            n + b + e >= (k - 1) * d + 1
            for n, b, e, k, d in zip(spatial, begin, end, kernel, dilation, strict=True)
        )
        if all(fits):
            break
    return Convolution(
        weights(rng, groups * size(rng, 1, 2), size(rng, 1, 2), *kernel),
        spatial,
        stride=tuple(size(rng, 1, 3) for _ in range(dims)),
        dilation=dilation,
        pads_begin=begin,
        pads_end=end,
        groups=groups,
        lead=(size(rng, 1, 2) if rng.random() < 0.3 else 1) if lead is None else lead,
    )


@makes(Adjoint)
def adjoint(rng: np.random.Generator) -> Adjoint:
    return Adjoint(any_leaf(rng))


@makes(Sum)
def summation(rng: np.random.Generator) -> Sum:
    """Parts of one shape: matrices, scalings and index maps, some writing to places of their own."""
    shape = shape_of(rng, 2, 3)
    count = math.prod(shape)
    if rng.random() < 0.4:
        owner = rng.integers(0, 3, shape)
        maps = [np.where(owner == k, rng.integers(0, count, shape), -1) for k in range(3)]
        parts: list[LinearOperator] = [Indexing(torch.from_numpy(m), shape) for m in maps]
        parts[0] = Composed((parts[0], Diagonal(weights(rng, *shape), shape)))
    else:
        flat = (count,)
        parts = [
            Composed(
                (Reshape(flat, shape), Dense(weights(rng, count, count)), Reshape(shape, flat))
            ),
            Diagonal(weights(rng, *shape), shape),
            Reshape(shape, shape),
            Indexing(torch.from_numpy(rng.integers(-1, count, shape)), shape),
        ]
        rng.shuffle(parts)
        parts = parts[: size(rng, 2, 4)]
    return Sum(tuple(parts))


@makes(Composed)
def product(rng: np.random.Generator) -> Composed:
    """A chain of two to five factors whose shapes fit, innermost first."""
    factors: list[LinearOperator] = [any_leaf(rng)]
    for _ in range(size(rng, 1, 4)):
        factors.insert(0, following(rng, factors[0].out_shape))
    return Composed(tuple(factors))


LEAVES = (dense, diagonal, centring, indexing, reshape, transpose, convolution)


def any_leaf(rng: np.random.Generator) -> LinearOperator:
    return LEAVES[int(rng.integers(len(LEAVES)))](rng)


def following(rng: np.random.Generator, shape: Shape) -> LinearOperator:
    """An operator that reads ``shape``."""
    choices: list[Callable[[], LinearOperator]] = [
        lambda: Diagonal(weights(rng, *(n if rng.random() < 0.5 else 1 for n in shape)), shape),
        lambda: Dense(weights(rng, size(rng, 1, 4), shape[-1]), shape[:-1]),
        lambda: Reshape(shape, (1, math.prod(shape))),
        lambda: Reshape(shape, tuple(reversed(shape))),
        lambda: Transpose(shape, tuple(rng.permutation(len(shape)).tolist())),
        lambda: Indexing(
            torch.from_numpy(rng.integers(-1, math.prod(shape), shape_of(rng, 3, 3))), shape
        ),
        lambda: convolving(rng, shape),
        lambda: scaled_channels(rng, shape),
        lambda: wrapping(rng, shape),
    ]
    return choices[int(rng.integers(len(choices)))]()


def scaled_channels(rng: np.random.Generator, shape: Shape) -> Diagonal:
    """A scaling of axis 1 alone, as batch normalisation is."""
    wide = tuple(n if axis == 1 else 1 for axis, n in enumerate(shape))
    return Diagonal(weights(rng, *wide), shape)


def convolving(rng: np.random.Generator, shape: Shape) -> LinearOperator:
    """A convolution that fits ``shape`` where its rank allows one, otherwise a matrix."""
    if not 3 <= len(shape) <= 5:
        return Dense(weights(rng, size(rng, 1, 4), shape[-1]), shape[:-1])
    dims, channels = len(shape) - 2, shape[1]
    groups = channels if rng.random() < 0.3 else 1
    return Convolution(
        weights(rng, groups * size(rng, 1, 2), channels // groups, *(2,) * dims),
        shape[2:],
        stride=tuple(size(rng, 1, 2) for _ in range(dims)),
        dilation=(1,) * dims,
        pads_begin=tuple(size(rng, 0, 1) for _ in range(dims)),
        pads_end=(1,) * dims,
        groups=groups,
        lead=shape[0],
    )


def wrapping(rng: np.random.Generator, shape: Shape) -> LinearOperator:
    """Circular padding of all axes from 2 on, shifted by any amount."""
    positions = np.arange(math.prod(shape)).reshape(shape)
    for axis in range(2, len(shape)):
        line = np.arange(-size(rng, 0, 2), shape[axis] + size(rng, 0, 3)) % shape[axis]
        positions = np.take(positions, line, axis=axis)
    return Indexing(torch.from_numpy(np.ascontiguousarray(positions)), shape)


# --- the matrix of an operator, by definition --------------------------------------------------


def definition(operator: LinearOperator) -> np.ndarray:
    """The operator as an ``(out, in)`` matrix, written down without its own apply or adjoint."""
    for kind, rule in RULES.items():
        if isinstance(operator, kind):
            return rule(operator)
    raise AssertionError(f"no definition for {type(operator).__name__}")


def _dense(op: Dense) -> np.ndarray:
    return np.kron(np.eye(math.prod(op.lead)), op.weight.numpy())


def _diagonal(op: Diagonal) -> np.ndarray:
    return np.diag(np.broadcast_to(op.scale.numpy(), op.in_shape).reshape(-1))


def _centring(op: Centring) -> np.ndarray:
    matrix = np.eye(op.in_size)
    places = list(itertools.product(*(range(n) for n in op.in_shape)))
    kept = [axis for axis in range(len(op.in_shape)) if axis not in op.axes]
    count = math.prod(op.in_shape[axis] for axis in op.axes)
    for row, a in enumerate(places):
        for column, b in enumerate(places):
            if all(a[axis] == b[axis] for axis in kept):
                matrix[row, column] -= 1.0 / count
    return matrix


def _transposed_axes(op: Transpose) -> np.ndarray:
    matrix = np.zeros((op.out_size, op.in_size))
    for row, place in enumerate(itertools.product(*(range(n) for n in op.out_shape))):
        source = [0] * len(place)
        for axis, coordinate in zip(op.permutation, place, strict=True):
            source[axis] = coordinate
        matrix[row, _flat(source, op.in_shape)] = 1.0
    return matrix


def _indexing(op: Indexing) -> np.ndarray:
    matrix = np.zeros((op.out_size, op.in_size))
    for row, column in enumerate(op.index.reshape(-1).tolist()):
        if column >= 0:
            matrix[row, column] = 1.0
    return matrix


def _convolution(op: Convolution) -> np.ndarray:
    weight = op.weight.numpy()
    out_channels, per_group = weight.shape[:2]
    in_shape, out_shape = op.in_shape, op.out_shape
    matrix = np.zeros((op.out_size, op.in_size))
    taps = list(itertools.product(*(range(k) for k in weight.shape[2:])))
    for place in itertools.product(*(range(n) for n in out_shape)):
        batch, o, *m = place
        group = o // (out_channels // op.groups)
        for i, tap in itertools.product(range(per_group), taps):
            source = [
                op.stride[a] * m[a] + op.dilation[a] * tap[a] - op.pads_begin[a]
                for a in range(len(m))
            ]
            if all(0 <= j < n for j, n in zip(source, op.spatial, strict=True)):
                column = _flat([batch, group * per_group + i, *source], in_shape)
                matrix[_flat(place, out_shape), column] += weight[(o, i, *tap)]
    return matrix


def _composed(op: Composed) -> np.ndarray:
    matrix = definition(op.factors[0])
    for factor in op.factors[1:]:
        matrix = matrix @ definition(factor)
    return matrix


def _flat(place: list[int] | tuple[int, ...], shape: Shape) -> int:
    position = 0
    for coordinate, n in zip(place, shape, strict=True):
        position = position * n + coordinate
    return position


RULES: dict[type[LinearOperator], Callable[..., np.ndarray]] = {
    Dense: _dense,
    Diagonal: _diagonal,
    Centring: _centring,
    Reshape: lambda op: np.eye(op.in_size),
    Transpose: _transposed_axes,
    Indexing: _indexing,
    Convolution: _convolution,
    Adjoint: lambda op: definition(op.operator).T,
    Sum: lambda op: sum(definition(part) for part in op.summands),
    Composed: _composed,
}


def matrix_of(operator: LinearOperator) -> np.ndarray:
    """The ``(out, in)`` matrix that :meth:`apply` computes."""
    basis = torch.eye(operator.in_size, dtype=torch.float64)
    image = operator.apply(basis.reshape(operator.in_size, *operator.in_shape))
    return image.reshape(operator.in_size, operator.out_size).T.numpy()
