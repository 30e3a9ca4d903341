"""Operations that move elements, and those of constants."""

from __future__ import annotations

import math

import numpy as np

from .constants import inverse, matrix_product, multiplied
from .exact import CheckError, Weight
from .network import MOST_SIZE
from .reader import Importer
from .wire import Node

MOVES = ("Identity", "Dropout", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice")


def moved(importer: Importer, node: Node, array: np.ndarray) -> np.ndarray:
    """An array with its elements where one of ``MOVES`` puts them."""
    kind, rank = node.kind, array.ndim
    if kind == "Reshape":
        sides = importer.listed(node, 1, "shape") or ()
        if not node.attributes.get("allowzero", 0):
            sides = tuple(array.shape[i] if s == 0 else s for i, s in enumerate(sides))
        return array.reshape(sides)
    if kind == "Flatten":
        axis = node.attributes.get("axis", 1)
        axis = axis + rank if axis < 0 else axis
        return array.reshape(math.prod(array.shape[:axis]), -1)
    if kind == "Transpose":
        return array.transpose(node.attributes.get("perm", tuple(range(rank))[::-1]))
    if kind == "Squeeze":
        axes = importer.listed(node, 1, "axes")
        return array.squeeze(None if axes is None else tuple(a % rank for a in axes))
    if kind == "Unsqueeze":
        axes = importer.listed(node, 1, "axes") or ()
        return np.expand_dims(array, tuple(a % (rank + len(axes)) for a in axes))
    if kind == "Slice":
        starts = importer.listed(node, 1, "starts") or ()
        ends = importer.listed(node, 2, "ends") or ()
        axes = importer.listed(node, 3, "axes") or tuple(range(len(starts)))
        steps = importer.listed(node, 4, "steps") or (1,) * len(starts)
        cut = [slice(None)] * rank
        for a, start, end, step in zip(axes, starts, ends, steps, strict=True):
            if step < 1:
                raise CheckError("Slice backwards is not covered")
            cut[a] = slice(start, end, step)
        return array[tuple(cut)]
    if kind == "Dropout" and len(node.inputs) > 2:
        raise CheckError("Dropout in training mode is not covered")
    return array


def move(importer: Importer, node: Node) -> None:
    """Reshape and its like."""
    importer.signals[node.outputs[0]] = moved(importer, node, importer.signals[node.inputs[0]])


def concat(importer: Importer, node: Node) -> None:
    """Signals behind one another; a constant among them is not covered."""
    parts = [importer.signals.get(name) for name in node.inputs]
    if any(part is None for part in parts):
        raise CheckError("Concat of signals and constants is not covered")
    arrays = [part for part in parts if part is not None]
    importer.signals[node.outputs[0]] = np.concatenate(arrays, node.attributes["axis"])


def split(importer: Importer, node: Node) -> None:
    """A signal in pieces."""
    array = importer.signals[node.inputs[0]]
    axis = node.attributes.get("axis", 0) % array.ndim
    sides = importer.listed(node, 1, "split")
    count, length = len(node.outputs), array.shape[axis]
    if sides is None:
        each = -(-length // count)
        sides = (*((each,) * (count - 1)), length - each * (count - 1))
    if sum(sides) != length or len(sides) != count or min(sides) < 0:
        raise CheckError("Split does not add up")
    pieces = np.split(array, np.cumsum(sides)[:-1], axis)
    importer.signals.update(zip(node.outputs, pieces, strict=True))


def pad(importer: Importer, node: Node) -> None:
    """Zeros around a signal."""
    array = importer.signals[node.inputs[0]]
    pads = importer.listed(node, 1, "pads") or ()
    value = node.attributes.get("value", 0.0)
    if len(node.inputs) > 2 and node.inputs[2]:
        value = float(np.any(importer.real(node.inputs[2]).mantissa))
    plain = node.attributes.get("mode", "constant") == "constant" and value == 0.0
    plain = plain and not any(node.inputs[3:])  # axes
    if not plain or min(pads, default=0) < 0 or len(pads) != 2 * array.ndim:
        raise CheckError("Pad other than with zeros is not covered")
    sides = list(zip(pads[: array.ndim], pads[array.ndim :], strict=True))
    if math.prod(n + a + b for n, (a, b) in zip(array.shape, sides, strict=True)) > MOST_SIZE:
        raise CheckError(f"the tensor {node.outputs[0]!r} is too large")
    importer.signals[node.outputs[0]] = np.pad(array, sides, constant_values=-1)


def hold(importer: Importer, node: Node) -> None:
    """Constant."""
    if not isinstance(node.attributes.get("value"), np.ndarray):
        raise CheckError(f"the constant {node.outputs[0]!r} is not covered")
    importer.constant(node.outputs[0], node.attributes["value"])


def sides(importer: Importer, node: Node) -> None:
    """Shape of a signal, for a batch of one."""
    shape = np.array(importer.signals[node.inputs[0]].shape, dtype=np.int64)
    cut = slice(node.attributes.get("start", 0), node.attributes.get("end", len(shape)))
    importer.wholes[node.outputs[0]] = shape[cut]


def move_constant(importer: Importer, node: Node) -> None:
    """Reshape and its like, of a constant."""
    name, out = node.inputs[0], node.outputs[0]
    if name in importer.wholes:
        importer.wholes[out] = moved(importer, node, importer.wholes[name])
    else:
        own = importer.real(name)
        importer.reals[out] = Weight(moved(importer, node, own.mantissa), own.exponent, own.radius)


def concat_constant(importer: Importer, node: Node) -> None:
    """Whole numbers behind one another."""
    if any(name not in importer.wholes for name in node.inputs):
        raise CheckError("Concat of constant reals is not covered")
    parts = [importer.wholes[name] for name in node.inputs]
    importer.wholes[node.outputs[0]] = np.concatenate(parts, node.attributes["axis"])


def compute(importer: Importer, node: Node) -> None:
    """Products and quotients of constants, exactly but for a bounded remainder."""
    first, second = (importer.real(name) for name in node.inputs)
    out = node.outputs[0]
    importer.network.computed = importer.network.computed or out
    shapes = first.mantissa.shape, second.mantissa.shape
    if node.kind == "MatMul":
        importer.reals[out] = matrix_product(first, second)
        return
    if node.kind == "Div":
        second = inverse(second)
    if second.mantissa.size != 1:
        raise CheckError(f"{node.kind} of two constant tensors is not covered")
    own = multiplied(first, second)
    wide = own.mantissa.reshape(np.broadcast_shapes(*shapes))
    importer.reals[out] = Weight(wide, own.exponent, own.radius)
