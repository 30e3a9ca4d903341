"""Pad, in every mode."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.operands import optional, read_axes
from lipcert.onnx_import.ops.arithmetic import add_constant
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Positions, Scope


@IMPORTERS.register("Pad")
def import_pad(node: NodeProto, scope: Scope) -> None:
    """Constant, reflect, edge or wrap padding; negative pads crop."""
    options = Attributes(node, scope)
    shape = scope.shape(node.input[0])
    rank = len(shape)
    pads = (
        scope.integers(node.input[1], "pads")
        if optional(node, 1)
        else list(options.integers("pads", options.integers("paddings", ())))
    )
    axes = read_axes(node, scope, rank, 3) if optional(node, 3) else tuple(range(rank))
    if len(pads) != 2 * len(axes):
        raise scope.refuse(f"its {len(pads)} pads do not fit rank {rank}", "export it again")
    mode = options.text("mode", "constant")
    value = (
        scope.number(node.input[2], "pad value")
        if optional(node, 2)
        else options.limit("value", 0.0)
    )
    positions = scope.positions(node.input[0])
    for place, axis in enumerate(axes):
        size = shape[axis] + pads[place] + pads[len(axes) + place]
        if size < 0:
            raise scope.refuse(f"crops more than there is of axis {axis} of {shape}")
        others = math.prod(n for a, n in enumerate(positions.shape) if a != axis)
        scope.allow(size * others, "a tensor")
        line = _padded_line(shape[axis], pads[place], pads[len(axes) + place], mode, scope)
        taken = np.take(positions, np.maximum(line, 0), axis=axis)
        outside = (line < 0).reshape(-1, *(1,) * (rank - axis - 1))
        positions = np.where(outside, -1, taken)
    fill = np.where(positions < 0, value, 0.0)
    if not fill.any():
        scope.rearrange(positions, node.input[0], node.output[0])
    else:
        add_constant(
            Constant(fill), scope.rearrange(positions, node.input[0]), scope, node.output[0]
        )


def _padded_line(size: int, before: int, after: int, mode: str, scope: Scope) -> Positions:
    """Positions along one axis after padding, −1 where a constant goes."""
    line = np.arange(-before, size + after)
    if mode == "constant":
        return np.where((line >= 0) & (line < size), line, -1)
    if size == 0:
        raise scope.refuse(f"pads an empty axis in mode {mode!r}", "export it again")
    if mode == "wrap":
        return line % size
    if mode == "edge":
        return np.clip(line, 0, size - 1)
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        folded = line % period
        return np.where(folded < size, folded, period - folded)
    raise scope.refuse(f"mode {mode!r} is not known", "use constant, reflect, edge or wrap")
