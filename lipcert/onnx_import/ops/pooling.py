"""Maximum pooling, global pooling, reductions and sorting."""

from __future__ import annotations

import math

import numpy as np
import torch
from onnx import NodeProto

from lipcert.nonlinear import GroupMax, GroupSort, MaxPool
from lipcert.nonlinear.reductions import REDUCTIONS
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.operands import normal_axis, optional, read_axes
from lipcert.onnx_import.ops.arithmetic import scale
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.onnx_import.windows import inside_counts, read_window
from lipcert.operators import Adjoint, Indexing, Shape


@IMPORTERS.register("MaxPool")
def import_max_pool(node: NodeProto, scope: Scope) -> None:
    """Maximum over windows; the indices output is not supported."""
    shape = scope.shape(node.input[0])
    window = read_window(node, scope, shape[2:], None)
    if inside_counts(window, shape[2:]).min() < 1:
        raise scope.refuse(
            "has a window that lies entirely in the padding", "pad by less than the kernel"
        )
    pool = MaxPool(
        window.kernel,
        stride=window.stride,
        dilation=window.dilation,
        pads_begin=window.pads_begin,
        pads_end=window.pads_end,
    )
    scope.nonlinear(pool, [node.input[0]], (*shape[:2], *window.out), node.output[0])


@IMPORTERS.register("GlobalMaxPool")
def import_global_max_pool(node: NodeProto, scope: Scope) -> None:
    """Maximum over all positions of each channel."""
    shape = scope.shape(node.input[0])
    axes = tuple(range(2, len(shape)))
    _group_extremum(node, scope, axes, keepdims=True, sign=1.0)


@IMPORTERS.register("GlobalAveragePool")
def import_global_average_pool(node: NodeProto, scope: Scope) -> None:
    """Mean over all positions of each channel."""
    shape = scope.shape(node.input[0])
    _sum(node, scope, tuple(range(2, len(shape))), keepdims=True, mean=True)


def _reduction(node: NodeProto, scope: Scope) -> tuple[tuple[int, ...], bool] | None:
    """Axes and keepdims of a reduction; None when it leaves its input alone."""
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    axes = read_axes(node, scope, len(shape))
    if not axes:
        if options.flag("noop_with_empty_axes", 0):
            if node.op_type in REDUCTIONS and node.op_type != "ReduceProd":
                raise scope.refuse("reduces no axes, which runtimes read differently")
            scope.alias(node.input[0], node.output[0])
            return None
        axes = tuple(range(len(shape)))
    return axes, bool(options.flag("keepdims", 1))


@IMPORTERS.register("ReduceMean")
def import_reduce_mean(node: NodeProto, scope: Scope) -> None:
    """Mean over axes."""
    reduction = _reduction(node, scope)
    if reduction is not None:
        _sum(node, scope, reduction[0], keepdims=reduction[1], mean=True)


@IMPORTERS.register("ReduceSum")
def import_reduce_sum(node: NodeProto, scope: Scope) -> None:
    """Sum over axes."""
    reduction = _reduction(node, scope)
    if reduction is not None:
        _sum(node, scope, reduction[0], keepdims=reduction[1], mean=False)


def _reduced(shape: Shape, axes: tuple[int, ...], *, keepdims: bool) -> Shape:
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _sum(
    node: NodeProto, scope: Scope, axes: tuple[int, ...], *, keepdims: bool, mean: bool
) -> None:
    """The adjoint of a broadcast, of norm √count, over which a mean divides by the count."""
    shape = scope.shape(node.input[0])
    kept = _reduced(shape, axes, keepdims=True)
    target = _reduced(shape, axes, keepdims=keepdims)
    positions = np.arange(math.prod(kept), dtype=np.int64).reshape(kept)
    index = torch.from_numpy(np.array(np.broadcast_to(positions, shape)))
    summed = scope.linear(Adjoint(Indexing(index, kept)), node.input[0])
    count = math.prod(shape[axis] for axis in axes)
    if mean:
        share = ball.divide(ball.exact(1.0), ball.exact(float(max(1, count))))
        if count & (count - 1) == 0:
            share = ball.exact(1.0 / max(1, count))
        summed = scale(summed, share, scope, None)
    scope.reshape(summed, target, node.output[0])


@IMPORTERS.register("ReduceMax")
def import_reduce_max(node: NodeProto, scope: Scope) -> None:
    """Maximum over axes."""
    reduction = _reduction(node, scope)
    if reduction is not None:
        _group_extremum(node, scope, reduction[0], keepdims=reduction[1], sign=1.0)


@IMPORTERS.register("ReduceMin")
def import_reduce_min(node: NodeProto, scope: Scope) -> None:
    """Minimum over axes."""
    reduction = _reduction(node, scope)
    if reduction is not None:
        _group_extremum(node, scope, reduction[0], keepdims=reduction[1], sign=-1.0)


def _group_extremum(
    node: NodeProto, scope: Scope, axes: tuple[int, ...], *, keepdims: bool, sign: float
) -> None:
    shape = scope.shape(node.input[0])
    target = _reduced(shape, axes, keepdims=keepdims)
    if math.prod(shape[axis] for axis in axes) == 1:
        scope.reshape(node.input[0], target, node.output[0])
        return
    kept = _reduced(shape, axes, keepdims=True)
    extremum = scope.nonlinear(GroupMax(axes, sign=sign), [node.input[0]], kept)
    scope.reshape(extremum, target, node.output[0])


@IMPORTERS.register(*REDUCTIONS)
def import_reduction(node: NodeProto, scope: Scope) -> None:
    """A reduction that is neither a sum nor a maximum."""
    reduction = _reduction(node, scope)
    if reduction is not None:
        axes, keepdims = reduction
        shape = scope.shape(node.input[0])
        kept = _reduced(shape, axes, keepdims=True)
        reduced = scope.nonlinear(REDUCTIONS[node.op_type](axes), [node.input[0]], kept)
        scope.reshape(reduced, _reduced(shape, axes, keepdims=keepdims), node.output[0])


@IMPORTERS.register("TopK")
def import_top_k(node: NodeProto, scope: Scope) -> None:
    """The first values of each sorted line; their indices are not supported."""
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    axis = normal_axis(options.integer("axis", -1), len(shape), scope)
    count = scope.integers(node.input[1], "k")[0] if optional(node, 1) else options.integer("k", 0)
    if not 0 < count <= shape[axis]:
        raise scope.refuse(f"cannot take {count} of {shape[axis]} values")
    if count > 1 and not options.flag("sorted", 1):
        raise scope.refuse("returns values in no defined order (sorted=0)", "export sorted=1")
    largest = bool(options.flag("largest", 1))
    if count == 1:
        _group_extremum(node, scope, (axis,), keepdims=True, sign=1.0 if largest else -1.0)
        return
    target = (*shape[:axis], count, *shape[axis + 1 :])
    sort = GroupSort(axis, count, descending=largest)
    scope.nonlinear(sort, [node.input[0]], target, node.output[0])
