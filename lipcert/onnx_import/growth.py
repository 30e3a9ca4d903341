"""How large a computed constant will be, known before any memory is taken for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import NodeProto

from lipcert.onnx_import.constants import Constant

Estimate = Callable[[NodeProto, list[Constant]], float]


def expected_size(node: NodeProto, operands: list[Constant]) -> float:
    """Number of elements of the node's result, at least, as far as its operands tell."""
    estimate = ESTIMATES.get(node.op_type, _as_large_as_operands)
    return estimate(node, operands)


def _entries(constant: Constant) -> list[int]:
    return [int(entry) for entry in constant.value.reshape(-1)]


def _as_large_as_operands(node: NodeProto, operands: list[Constant]) -> float:
    """Elementwise with broadcasting: the product of the largest sizes along each axis."""
    rank = max((operand.value.ndim for operand in operands), default=0)
    sizes = [(1,) * (rank - o.value.ndim) + o.value.shape for o in operands]
    return math.prod(float(max(1, *along)) for along in zip(*sizes, strict=True) if along)


def _sum_of_operands(node: NodeProto, operands: list[Constant]) -> float:
    return float(sum(operand.value.size for operand in operands))


def _target_shape(node: NodeProto, operands: list[Constant]) -> float:
    return math.prod(float(max(1, n)) for n in _entries(operands[0]))


def _expanded(node: NodeProto, operands: list[Constant]) -> float:
    target = Constant(np.broadcast_to(0.0, tuple(max(1, n) for n in _entries(operands[1]))))
    return _as_large_as_operands(node, [operands[0], target])


def _tiled(node: NodeProto, operands: list[Constant]) -> float:
    return operands[0].value.size * math.prod(float(n) for n in _entries(operands[1]))


def _range(node: NodeProto, operands: list[Constant]) -> float:
    start, stop, step = (float(operand.middle.reshape(-1)[0]) for operand in operands)
    return float((stop - start) / step) if step else math.inf


def _padded(node: NodeProto, operands: list[Constant]) -> float:
    pads: list[int] = []
    if len(operands) > 1:
        pads = _entries(operands[1])
    for attribute in node.attribute:
        if attribute.name in ("pads", "paddings"):
            pads = list(attribute.ints)
    return math.prod(float(n) for n in operands[0].value.shape if n) * math.prod(
        1.0 + max(0, pad) for pad in pads
    )


def _one_hot(node: NodeProto, operands: list[Constant]) -> float:
    return operands[0].value.size * float(operands[1].middle.reshape(-1)[0])


def _gathered(node: NodeProto, operands: list[Constant]) -> float:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    data, indices = operands[0].value, operands[1].value
    return float(indices.size * data.size / max(1, data.shape[axis]))


def _gathered_slices(node: NodeProto, operands: list[Constant]) -> float:
    data, indices = operands[0].value, operands[1].value
    depth = indices.shape[-1] if indices.ndim else 0
    return indices.size / max(1, depth) * math.prod(float(n) for n in data.shape[depth:])


def _multiplied(node: NodeProto, operands: list[Constant]) -> float:
    left, right = operands[0].value, operands[1].value
    return left.size * right.size / max(1, left.shape[-1] if left.ndim else 1)


ESTIMATES: dict[str, Estimate] = {
    "ConstantOfShape": _target_shape,
    "Expand": _expanded,
    "Tile": _tiled,
    "Range": _range,
    "Pad": _padded,
    "OneHot": _one_hot,
    "Gather": _gathered,
    "GatherND": _gathered_slices,
    "MatMul": _multiplied,
    "Gemm": _multiplied,
    "Concat": _sum_of_operands,
    **dict.fromkeys(
        [
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
            "Slice",
            "Split",
            "Transpose",
            "GatherElements",
            "ScatterND",
            "ScatterElements",
            "Shape",
            "Size",
            "EyeLike",
            "DepthToSpace",
            "SpaceToDepth",
            "Compress",
            "ReduceSum",
            "ReduceMean",
            "ReduceL2",
            "ReduceSumSquare",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "Constant",
            "CumSum",
            "NonZero",
            "TopK",
            "Unique",
        ],
        _sum_of_operands,
    ),
}
