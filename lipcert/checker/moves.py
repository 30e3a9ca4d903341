"""Operations that move elements, evaluated alike on references to signals and on constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Weight
from .network import MOST_SIZE
from .reader import Importer
from .wire import Node

Array = NDArray[Any]


def identity(importer: Importer, node: Node, array: Array) -> Array:
    """Identity, and Dropout at inference."""
    if node.kind == "Dropout" and len(node.inputs) > 2:
        raise CheckError("Dropout in training mode is not covered")
    return array


def reshape(importer: Importer, node: Node, array: Array) -> Array:
    """Reshape."""
    sides = importer.listed(node, 1, "shape") or ()
    if not node.attributes.get("allowzero", 0):
        sides = tuple(array.shape[i] if s == 0 else s for i, s in enumerate(sides))
    return array.reshape(sides)


def flatten(importer: Importer, node: Node, array: Array) -> Array:
    """Flatten: to two axes."""
    axis = node.attributes.get("axis", 1)
    axis = axis + array.ndim if axis < 0 else axis
    return array.reshape(math.prod(array.shape[:axis]), -1)


def transpose(importer: Importer, node: Node, array: Array) -> Array:
    """Transpose."""
    return array.transpose(node.attributes.get("perm", tuple(range(array.ndim))[::-1]))


def squeeze(importer: Importer, node: Node, array: Array) -> Array:
    """Squeeze: all axes of side one where none are named."""
    axes = importer.listed(node, 1, "axes")
    if axes == ():  # to some runtimes that is all axes
        raise CheckError("Squeeze of no axis is not covered")
    return array.squeeze(None if axes is None else tuple(a % array.ndim for a in axes))


def unsqueeze(importer: Importer, node: Node, array: Array) -> Array:
    """Unsqueeze."""
    axes = importer.listed(node, 1, "axes") or ()
    return np.expand_dims(array, tuple(a % (array.ndim + len(axes)) for a in axes))


def cut(importer: Importer, node: Node, array: Array) -> Array:
    """Slice, forward."""
    starts = importer.listed(node, 1, "starts") or ()
    ends = importer.listed(node, 2, "ends") or ()
    axes = importer.listed(node, 3, "axes") or tuple(range(len(starts)))
    steps = importer.listed(node, 4, "steps") or (1,) * len(starts)
    if min(steps, default=1) < 1:
        raise CheckError("Slice backwards is not covered")
    chosen = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen[axis] = slice(start, end, step)
    return array[tuple(chosen)]


MOVES: dict[str, Callable[[Importer, Node, Array], Array]] = {
    "Identity": identity,
    "Dropout": identity,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Slice": cut,
}


def move(importer: Importer, node: Node) -> None:
    """One of ``MOVES``."""
    name, out, evaluated = node.inputs[0], node.outputs[0], MOVES[node.kind]
    for table in (importer.signals, importer.wholes):
        if name in table:
            table[out] = evaluated(importer, node, table[name])
            return
    own = importer.real(name)
    importer.reals[out] = Weight(evaluated(importer, node, own.mantissa), own.exponent, own.radius)


def concat(importer: Importer, node: Node) -> None:
    """Signals, or whole numbers, behind one another."""
    for table in (importer.signals, importer.wholes):
        if all(name in table for name in node.inputs):
            arrays = [table[name] for name in node.inputs]
            table[node.outputs[0]] = np.concatenate(arrays, node.attributes["axis"])
            return
    raise CheckError("Concat of constant reals, or with signals, is not covered")


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
    chosen = slice(node.attributes.get("start", 0), node.attributes.get("end", len(shape)))
    importer.wholes[node.outputs[0]] = shape[chosen]
