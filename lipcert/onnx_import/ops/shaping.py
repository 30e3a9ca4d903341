"""Operators that move elements: reshape, transpose, slice, gather, pad, concatenate and the like."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto

from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.folding import fold
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Attributes, Scope
from lipcert.operators import Shape, Transpose


def optional(node: NodeProto, position: int) -> str:
    """Name of an optional input, empty when it is absent."""
    return node.input[position] if len(node.input) > position else ""


def read_axes(node: NodeProto, scope: Scope, rank: int, position: int = 1) -> tuple[int, ...]:
    """Axes from an input (newer opsets) or an attribute (older ones), made non-negative."""
    if optional(node, position):
        axes = tuple(scope.integers(node.input[position], "axes"))
    else:
        axes = Attributes(node, scope).integers("axes", ())
    return tuple(normal_axis(axis, rank, scope) for axis in axes)


def normal_axis(axis: int, rank: int, scope: Scope) -> int:
    """A possibly negative axis as a non-negative one."""
    if not -rank <= axis < rank:
        raise scope.refuse(f"axis {axis} is out of range for rank {rank}")
    return axis % rank


@IMPORTERS.register("Identity", "Dropout")
def import_identity(node: NodeProto, scope: Scope) -> None:
    """The identity; dropout at inference is one."""
    if optional(node, 2) and bool(scope.constant(node.input[2], "training mode").value.any()):
        raise scope.refuse("is in training mode", "export the model with model.eval()")
    scope.alias(node.input[0], node.output[0])


@IMPORTERS.register("Cast", "CastLike")
def import_cast(node: NodeProto, scope: Scope) -> None:
    """Between real types of at least 32 bits: the identity of real arithmetic."""
    target = Attributes(node, scope).integer("to", 1)
    if target not in (1, 11):
        raise scope.refuse(
            "rounds the signal to another type, which is discontinuous",
            "export the model in float32 throughout",
        )
    scope.alias(node.input[0], node.output[0])


@IMPORTERS.register("Reshape")
def import_reshape(node: NodeProto, scope: Scope) -> None:
    """The same elements in row-major order."""
    source = scope.shape(node.input[0])
    if optional(node, 1):
        target = scope.integers(node.input[1], "target shape")
    else:
        target = list(Attributes(node, scope).integers("shape", ()))
    keep_zeros = Attributes(node, scope).integer("allowzero", 0)
    shape = [
        source[axis] if size == 0 and not keep_zeros and axis < len(source) else size
        for axis, size in enumerate(target)
    ]
    if scope.batch > 1 and shape and shape[0] == scope.batch and source[0] == 1:
        shape[0] = 1
    known = math.prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and known > 0:
        shape[shape.index(-1)] = math.prod(source) // known
    if min(shape, default=1) < 0 or math.prod(shape) != math.prod(source):
        raise scope.refuse(
            f"cannot reshape {source} to {tuple(target)}", "export with a batch size of 1"
        )
    scope.reshape(node.input[0], tuple(shape), node.output[0])


@IMPORTERS.register("Flatten")
def import_flatten(node: NodeProto, scope: Scope) -> None:
    """To two axes."""
    shape = scope.shape(node.input[0])
    axis = Attributes(node, scope).integer("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis <= len(shape):
        raise scope.refuse(f"axis {axis} is out of range for rank {len(shape)}")
    target = (math.prod(shape[:axis]), math.prod(shape[axis:]))
    scope.reshape(node.input[0], target, node.output[0])


@IMPORTERS.register("Squeeze")
def import_squeeze(node: NodeProto, scope: Scope) -> None:
    """Without some axes of size 1."""
    shape = scope.shape(node.input[0])
    axes = read_axes(node, scope, len(shape))
    axes = axes or tuple(axis for axis, size in enumerate(shape) if size == 1)
    if any(shape[axis] != 1 for axis in axes):
        raise scope.refuse(f"squeezes an axis of {shape} that is not 1")
    target = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    scope.reshape(node.input[0], target, node.output[0])


@IMPORTERS.register("Unsqueeze")
def import_unsqueeze(node: NodeProto, scope: Scope) -> None:
    """With more axes of size 1."""
    shape = list(scope.shape(node.input[0]))
    count = len(shape) + (
        len(scope.integers(node.input[1], "axes"))
        if optional(node, 1)
        else len(Attributes(node, scope).integers("axes", ()))
    )
    for axis in sorted(read_axes(node, scope, count)):
        shape.insert(axis, 1)
    scope.reshape(node.input[0], tuple(shape), node.output[0])


@IMPORTERS.register("Transpose")
def import_transpose(node: NodeProto, scope: Scope) -> None:
    """A permutation of axes."""
    shape = scope.shape(node.input[0])
    order = Attributes(node, scope).integers("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise scope.refuse(f"perm {order} is not a permutation of the axes of {shape}")
    scope.linear(Transpose(shape, order), node.input[0], node.output[0])


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
        size = shape[axis]
        low, high = (0, size) if step > 0 else (-1, size - 1)
        first = min(max(start + size if start < 0 else start, max(low, 0)), high)
        last = min(max(end + size if end < 0 else end, low), high if step > 0 else size)
        chosen = np.arange(first, last, step)
        positions = np.take(positions, chosen, axis=axis)
    scope.rearrange(positions, node.input[0], node.output[0])


@IMPORTERS.register("Gather")
def import_gather(node: NodeProto, scope: Scope) -> None:
    """Slices at constant indices."""
    indices = scope.constant(node.input[1], "indices").value
    shape = scope.shape(node.input[0])
    axis = normal_axis(Attributes(node, scope).integer("axis", 0), len(shape), scope)
    if not np.issubdtype(indices.dtype, np.integer) or np.any(
        (indices < -shape[axis]) | (indices >= shape[axis])
    ):
        raise scope.refuse(f"its indices do not fit axis {axis} of {shape}")
    positions = np.take(scope.positions(node.input[0]), indices, axis=axis)
    scope.rearrange(positions, node.input[0], node.output[0])


@IMPORTERS.register("GatherElements", "GatherND")
def import_gather_elements(node: NodeProto, scope: Scope) -> None:
    """Elements at constant indices: what the operator does to flat positions."""
    _by_reference(node, scope)


@IMPORTERS.register("DepthToSpace", "SpaceToDepth", "Tile", "Trilu")
def import_rearrangement(node: NodeProto, scope: Scope) -> None:
    """A fixed rearrangement: what the operator does to flat positions."""
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
    moved = fold(copy, scope)[0].value
    scope.rearrange(moved - 1, node.input[0], node.output[0])


@IMPORTERS.register("Expand")
def import_expand(node: NodeProto, scope: Scope) -> None:
    """Broadcast to a shape."""
    target = scope.integers(node.input[1], "target shape")
    try:
        shape = tuple(int(n) for n in np.broadcast_shapes(scope.shape(node.input[0]), tuple(target)))
    except ValueError as error:
        raise scope.refuse(f"cannot expand to {target}") from error
    expanded = scope.broadcast(node.input[0], shape)
    scope.alias(expanded, node.output[0])


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
    start, parts = 0, []
    fixed = np.zeros(full)
    radius = np.zeros(full)
    sources: tuple[str, ...] = ()
    for name, shape in zip(node.input, shapes, strict=True):
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
    whole = scope.total(parts)
    _finish_with_constant(scope, whole, fixed, radius, sources, node.output[0])


def _finish_with_constant(
    scope: Scope, whole: str, fixed: np.ndarray, radius: np.ndarray,
    sources: tuple[str, ...], output: str,
) -> None:
    if fixed.any() or radius.any() or sources:
        scope.shift(Constant(fixed, radius if radius.any() else None, sources), whole, output)
    else:
        scope.alias(whole, output)


@IMPORTERS.register("Pad")
def import_pad(node: NodeProto, scope: Scope) -> None:
    """Constant, reflect, edge or wrap padding; negative pads crop."""
    options = Attributes(node, scope)
    shape = scope.shape(node.input[0])
    rank = len(shape)
    pads = scope.integers(node.input[1], "pads") if optional(node, 1) else list(
        options.integers("pads", options.integers("paddings", ()))
    )
    axes = read_axes(node, scope, rank, 3) if optional(node, 3) else tuple(range(rank))
    if len(pads) != 2 * len(axes):
        raise scope.refuse(f"its {len(pads)} pads do not fit rank {rank}")
    if sum(abs(pad) for pad in pads) > 1 << 24:
        raise scope.refuse("pads by more than 16 million elements")
    mode = options.text("mode", "constant")
    value = scope.number(node.input[2], "pad value") if optional(node, 2) else options.number(
        "value", 0.0
    )
    positions = scope.positions(node.input[0])
    for place, axis in enumerate(axes):
        line = _padded_line(shape[axis], pads[place], pads[len(axes) + place], mode, scope)
        taken = np.take(positions, np.maximum(line, 0), axis=axis)
        outside = (line < 0).reshape(-1, *(1,) * (rank - axis - 1))
        positions = np.where(outside, -1, taken)
    fill = np.where(positions < 0, value, 0.0)
    if not fill.any():
        scope.rearrange(positions, node.input[0], node.output[0])
    else:
        padded = scope.rearrange(positions, node.input[0])
        scope.shift(Constant(fill), padded, node.output[0])


def _padded_line(size: int, before: int, after: int, mode: str, scope: Scope) -> np.ndarray:
    """Positions along one axis after padding, −1 where a constant goes."""
    line = np.arange(-before, size + after)
    if mode == "constant":
        return np.where((line >= 0) & (line < size), line, -1)
    if mode == "wrap":
        return line % size
    if mode == "edge":
        return np.clip(line, 0, size - 1)
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        folded = line % period
        return np.where(folded < size, folded, period - folded)
    raise scope.refuse(f"mode {mode!r} is not known")


@IMPORTERS.register("Resize", "Upsample")
def import_resize(node: NodeProto, scope: Scope) -> None:
    """Nearest-neighbour enlargement by whole factors, the only kind that is read."""
    options = Attributes(node, scope)
    shape = scope.shape(node.input[0])
    scales_at = 1 if len(node.input) <= 2 else 2
    mode = options.text("mode", "nearest")
    if optional(node, 3):
        target = tuple(scope.integers(node.input[3], "sizes"))
    elif optional(node, scales_at):
        scales = scope.constant(node.input[scales_at], "scales").middle.reshape(-1)
        target = tuple(int(n * s) for n, s in zip(shape, scales, strict=True))
    else:
        raise scope.refuse("gives neither scales nor sizes")
    if mode != "nearest" or len(target) != len(shape) or any(
        b % a for a, b in zip(shape, target, strict=True)
    ):
        raise scope.refuse(
            f"resizes {shape} to {target} by {mode!r}",
            "use nearest-neighbour enlargement by whole factors",
        )
    coordinates = options.text("coordinate_transformation_mode", "half_pixel")
    rounding = options.text("nearest_mode", "round_prefer_floor")
    repeats = {
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("pytorch_half_pixel", "round_prefer_floor"),
    }
    if scope.opset >= 11 and (coordinates, rounding) not in repeats:
        raise scope.refuse(f"uses {coordinates!r} with {rounding!r}, which is not a plain repeat")
    positions = scope.positions(node.input[0])
    for axis, (old, new) in enumerate(zip(shape, target, strict=True)):
        positions = np.repeat(positions, new // max(1, old), axis=axis)
    scope.rearrange(positions, node.input[0], node.output[0])


def broadcast_shape(scope: Scope, *shapes: Shape) -> Shape:
    """The common shape of operands, or a refusal."""
    try:
        return tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise scope.refuse(f"its operands' shapes {shapes} do not broadcast") from error
