"""Operators that take elements and put them together: slice, gather, split, tile, concatenate."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.folding import fold
from lipcert.onnx_import.operands import normal_axis, optional, read_axes
from lipcert.onnx_import.ops.arithmetic import add_constant
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope


@IMPORTERS.register("Slice")
def import_slice(node: NodeProto, scope: Scope) -> None:
    """Every step-th element between starts and ends."""
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    if optional(node, 1):
        starts = scope.integers(node.input[1], "starts")
        ends = scope.integers(node.input[2], "ends")
    else:
        starts, ends = list(options.integers("starts", ())), list(options.integers("ends", ()))
    if optional(node, 3) or "axes" in options:
        axes = read_axes(node, scope, len(shape), 3)
    else:
        axes = tuple(range(len(starts)))
    steps = scope.integers(node.input[4], "steps") if optional(node, 4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise scope.refuse("its starts, ends, axes and steps do not fit together")
    positions = scope.positions(node.input[0])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = _sliced(shape[axis], start, end, step)
        positions = np.take(positions, chosen, axis=axis)
    scope.rearrange(positions, node.input[0], node.output[0])


def _sliced(size: int, start: int, end: int, step: int) -> np.ndarray:
    """The positions that a slice takes from an axis, clamped as ONNX has it."""
    low, high = (0, size) if step > 0 else (-1, size - 1)
    first = min(max(start + size if start < 0 else start, 0), high)
    last = min(max(end + size if end < 0 else end, low), size)
    return np.arange(first, last, step)


@IMPORTERS.register("Gather")
def import_gather(node: NodeProto, scope: Scope) -> None:
    """Slices at constant indices."""
    constant = scope.constant(node.input[1], "indices").value
    shape = scope.shape(node.input[0])
    axis = normal_axis(Attributes(node, scope).integer("axis", 0), len(shape), scope)
    if not np.issubdtype(constant.dtype, np.integer):
        raise scope.refuse(f"its indices are of type {constant.dtype}")
    indices = constant.astype(np.int64)
    if np.any((indices < -shape[axis]) | (indices >= shape[axis])):
        raise scope.refuse(f"its indices do not fit axis {axis} of {shape}")
    scope.allow(math.prod(shape) / shape[axis] * indices.size, "a tensor")
    positions = np.take(scope.positions(node.input[0]), indices, axis=axis)
    scope.rearrange(positions, node.input[0], node.output[0])


@IMPORTERS.register("GatherElements", "GatherND")
def import_gather_elements(node: NodeProto, scope: Scope) -> None:
    """Elements at constant indices: what the operator does to flat positions."""
    _by_reference(node, scope)


@IMPORTERS.register("DepthToSpace", "SpaceToDepth", "Tile", "Trilu")
def import_rearrangement(node: NodeProto, scope: Scope) -> None:
    """A fixed rearrangement: what the operator does to flat positions."""
    Attributes(node, scope).flag("upper", 1)
    _by_reference(node, scope)


def _by_reference(node: NodeProto, scope: Scope) -> None:
    """Apply the operator itself to positions counted from one; zeros it creates become −1."""
    numbered = scope.fresh(node.input[0])
    scope.constants[numbered] = Constant(scope.positions(node.input[0]) + 1)
    for name in node.input[1:]:
        if name:
            scope.constant(name, "second operand")
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[0] = numbered
    moved = np.asarray(fold(copy, scope, signal=True)[0].value, dtype=np.int64)
    del scope.constants[numbered]
    scope.rearrange(moved - 1, node.input[0], node.output[0])


@IMPORTERS.register("Split")
def import_split(node: NodeProto, scope: Scope) -> None:
    """Consecutive pieces along an axis."""
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    axis = normal_axis(options.integer("axis", 0), len(shape), scope)
    count = len(node.output)
    if optional(node, 1):
        sizes = scope.integers(node.input[1], "split")
    elif "split" in options:
        sizes = list(options.integers("split", ()))
    else:
        each = math.ceil(shape[axis] / count)
        if scope.opset < 18 and shape[axis] % count:
            raise scope.refuse(f"cannot split {shape[axis]} into {count} equal parts")
        sizes = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    if sum(sizes) != shape[axis] or len(sizes) != count or min(sizes) < 0:
        raise scope.refuse(f"cannot split {shape[axis]} into {sizes}")
    stops = np.cumsum(sizes)[:-1].tolist()
    for name, piece in zip(
        node.output, np.split(scope.positions(node.input[0]), stops, axis), strict=True
    ):
        if name:
            scope.rearrange(piece, node.input[0], name)


@IMPORTERS.register("Concat")
def import_concat(node: NodeProto, scope: Scope) -> None:
    """Signals placed side by side: the sum of each one embedded among zeros."""
    shapes = [scope.shape(name) for name in node.input]
    rank = len(shapes[0])
    axis = normal_axis(Attributes(node, scope).integer("axis", 0), rank, scope)
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(others) != 1 or any(len(shape) != rank for shape in shapes):
        raise scope.refuse(f"cannot concatenate {shapes} along axis {axis}")
    full = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    scope.allow(math.prod(full), "a tensor")
    start, parts = 0, []
    fixed, radius = np.zeros(full), np.zeros(full)
    sources: tuple[str, ...] = ()
    for name, shape in zip(node.input, shapes, strict=True):
        if not math.prod(shape):
            continue
        where = (slice(None),) * axis + (slice(start, start + shape[axis]),)
        start += shape[axis]
        if scope.is_constant(name):
            constant = scope.constants[name]
            fixed[where], radius[where] = constant.middle, constant.spread
            sources += constant.sources
        else:
            index = np.full(full, -1, dtype=np.int64)
            index[where] = scope.positions(name)
            parts.append(scope.rearrange(index, name))
    if not parts:
        raise scope.refuse("puts only empty signals together", "export without them")
    whole = scope.total(parts)
    if fixed.any() or radius.any() or sources:
        bias = Constant(fixed, radius if radius.any() else None, sources)
        add_constant(bias, whole, scope, node.output[0])
    else:
        scope.alias(whole, node.output[0])
