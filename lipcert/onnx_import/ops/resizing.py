"""Resize and Upsample: a fixed linear map along each axis; and running sums, which are one too."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from onnx import NodeProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.interpolation import (
    COORDINATES,
    ROUNDINGS,
    Axis,
    Row,
    asymmetric,
    cubic_row,
    linear_row,
    nearest,
)
from lipcert.onnx_import.operands import normal_axis, optional
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Positions, Scope
from lipcert.operators import Dense, Transpose
from lipcert.rounding import UNIT_ROUNDOFF

LARGEST = 1 << 16
PLAIN = "use nearest, linear or cubic interpolation to fixed sizes"


@IMPORTERS.register("Resize", "Upsample")
def import_resize(node: NodeProto, scope: Scope) -> None:
    """Interpolation, one axis after the other."""
    options = Attributes(node, scope)
    if options.flag("antialias", 0):
        raise scope.refuse("resizes with antialias=1", PLAIN)
    mode = options.text("mode", "nearest")
    resized = [
        (number, axis)
        for number, axis in _read_axes(node, scope, options)
        if axis.old != axis.new or axis.scale != 1
    ]
    source = node.input[0]
    for number, axis in resized:
        scope.allow(math.prod(scope.shape(source)) / axis.old * axis.new, "a tensor")
        if axis.new > LARGEST:
            raise scope.refuse(f"resizes an axis to {axis.new}, more than {LARGEST}", PLAIN)
        locate = _coordinates(scope, options)
        if mode == "nearest":
            source = _take_nearest(source, number, axis, locate, scope, options)
        else:
            source = along_axis(source, number, _matrix(mode, axis, locate, scope, options), scope)
    scope.alias(source, node.output[0])


def _read_axes(node: NodeProto, scope: Scope, options: Attributes) -> list[tuple[int, Axis]]:
    shape = scope.shape(node.input[0])
    chosen = tuple(
        normal_axis(axis, len(shape), scope)
        for axis in options.integers("axes", tuple(range(len(shape))))
    )
    scales_at = 1 if len(node.input) <= 2 else 2
    if optional(node, 3):
        if options.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise scope.refuse("keeps the aspect ratio by its own rule", PLAIN)
        sizes = scope.integers(node.input[3], "sizes")
        scales = [Fraction(n, max(1, shape[a])) for a, n in zip(chosen, sizes, strict=True)]
    else:
        if node.op_type == "Upsample" and "scales" in options:
            given = options.numbers("scales")
        elif optional(node, scales_at):
            given = scope.constant(node.input[scales_at], "scales").middle.reshape(-1).tolist()
        else:
            raise scope.refuse("gives neither scales nor sizes", PLAIN)
        scales = [Fraction(scale) for scale in given]
        sizes = [_size(shape[a], scale, scope) for a, scale in zip(chosen, scales, strict=True)]
    if min(sizes, default=1) < 1 or min(shape) < 1:
        raise scope.refuse(f"resizes {shape} to {tuple(sizes)}", PLAIN)
    triples = zip(chosen, sizes, scales, strict=True)
    return [(a, Axis(shape[a], size, scale)) for a, size, scale in triples]


def _size(old: int, scale: Fraction, scope: Scope) -> int:
    """``⌊old · scale⌋``, refused where float32 arithmetic would give another number."""
    size = math.floor(old * scale)
    if size != int(np.float32(old) * np.float32(float(scale))):
        raise scope.refuse(f"scales {old} by {float(scale):g}, which depends on rounding", PLAIN)
    return size


def _coordinates(scope: Scope, options: Attributes) -> Callable[[int, Axis], Fraction]:
    usual = "half_pixel" if scope.opset >= 11 else "asymmetric"
    name = options.text("coordinate_transformation_mode", usual)
    if name not in COORDINATES:
        raise scope.refuse(f"uses the coordinates {name!r}", PLAIN)
    return COORDINATES[name]


def _take_nearest(
    source: str,
    number: int,
    axis: Axis,
    locate: Callable[[int, Axis], Fraction],
    scope: Scope,
    options: Attributes,
) -> str:
    name = options.text("nearest_mode", "round_prefer_floor") if scope.opset >= 11 else "floor"
    if name not in ROUNDINGS or (scope.opset < 11 and axis.scale < 1):
        raise scope.refuse(f"takes the nearest element by {name!r}", PLAIN)
    places = [locate(i, axis) for i in range(axis.new)]
    line = [nearest(x, axis, ROUNDINGS[name]) for x in places]
    # a runtime works in float32 and may see a place on the other side of a limit
    for x, chosen in zip(places, line, strict=True):
        slack = Fraction(1, 1 << 20) * (1 + abs(x))
        near = {nearest(x + e, axis, ROUNDINGS[name]) for e in (-slack, slack)}
        if near != {chosen} and not _is_exact_in_float32(x, axis, locate):
            raise scope.refuse(f"takes the element nearest to {float(x):g}, a tie", PLAIN)
    positions: Positions = np.take(scope.positions(source), np.array(line), axis=number)
    return scope.rearrange(positions, source)


def _is_exact_in_float32(x: Fraction, axis: Axis, locate: Callable[[int, Axis], Fraction]) -> bool:
    """Whether float32 arithmetic arrives at ``x`` too, by a quotient or by a product."""
    scale = np.float32(float(axis.scale))
    if locate is asymmetric:
        i = np.float32(float(x * axis.scale))
        return bool({float(i / scale), float(i * (np.float32(1.0) / scale))} == {float(x)})
    return Fraction(float(scale)) == axis.scale


def _matrix(
    mode: str,
    axis: Axis,
    locate: Callable[[int, Axis], Fraction],
    scope: Scope,
    options: Attributes,
) -> Constant:
    rows: list[Row]
    places = [locate(i, axis) for i in range(axis.new)]
    if mode in ("linear", "bilinear"):
        rows = [linear_row(x, axis) for x in places]
    elif mode == "cubic":
        a = Fraction(options.number("cubic_coeff_a", -0.75))
        exclude = bool(options.flag("exclude_outside", 0))
        rows = [cubic_row(x, axis, a, exclude_outside=exclude) for x in places]
    else:
        raise scope.refuse(f"resizes by {mode!r}", PLAIN)
    scope.allow(axis.old * axis.new, "a matrix")
    value = np.zeros((axis.new, axis.old))
    for i, row in enumerate(rows):
        for position, weight in row.items():
            value[i, position] = float(weight)
    return Constant(value, UNIT_ROUNDOFF * np.abs(value))


def along_axis(
    source: str, axis: int, matrix: Constant, scope: Scope, output: str | None = None
) -> str:
    """Append the multiplication of one axis by a matrix ``(new, old)``."""
    shape = scope.shape(source)
    last = len(shape) - 1
    swap = tuple({axis: last, last: axis}.get(a, a) for a in range(len(shape)))
    moved = scope.linear(Transpose(shape, swap), source)
    dense = Dense(matrix.tensor(), scope.shape(moved)[:-1], matrix.matrix_error())
    product = scope.linear(dense, moved)
    return scope.linear(Transpose(scope.shape(product), swap), product, output)


@IMPORTERS.register("CumSum")
def import_cumulative_sum(node: NodeProto, scope: Scope) -> None:
    """Running sums along an axis: a triangle of ones."""
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    axis = normal_axis(scope.integers(node.input[1], "axis")[0], len(shape), scope)
    size = shape[axis]
    scope.allow(size * size, "a matrix")
    triangle = np.tril(np.ones((size, size)), -options.flag("exclusive", 0))
    if options.flag("reverse", 0):
        triangle = triangle[::-1, ::-1].copy()
    along_axis(node.input[0], axis, Constant(triangle), scope, node.output[0])
