"""Evaluating nodes whose inputs are all constants: computed weights and shape arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
from onnx import NodeProto
from onnx.reference import ReferenceEvaluator

from lipcert.graph import Rearrangement
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import AnyArray, Constant
from lipcert.onnx_import.growth import expected_size
from lipcert.onnx_import.indexed import INDEXED
from lipcert.onnx_import.scope import Scope
from lipcert.onnx_import.tensors import as_constant, read_tensor
from lipcert.registry import Registry
from lipcert.rounding import UNIT_ROUNDOFF

Folder = Callable[[NodeProto, list[Constant], Scope], Constant]

FOLDERS: Registry[Folder] = Registry("constant folder")
"""Arithmetic on real constants, with radii."""

# fmt: off
STRUCTURAL = frozenset({
    "Compress", "Concat", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Flatten",
    "Gather", "GatherElements", "GatherND", "Identity", "OneHot", "Pad", "Reshape",
    "ReverseSequence", "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
})
"""Operators that only move or create elements: folded with the reference implementation."""

DECIDING = frozenset({
    "And", "ArgMax", "ArgMin", "BitShift", "Cast", "CastLike", "Ceil", "Equal", "Floor", "Greater",
    "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Mod", "NonZero", "Not", "Or",
    "Round", "Sign", "TopK", "Unique", "Xor",
})
"""Operators whose result on real numbers may hang on their last bit: exact operands only."""

COUNTING = frozenset({
    "Abs", "Add", "Clip", "CumSum", "Div", "MatMul", "Max", "Min", "Mul", "Neg", "Pow", "Range",
    "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Sub", "Sum",
})
"""Arithmetic that is exact on whole numbers."""
MOVING = frozenset({
    "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})
"""Structural operators that take every element of the result from their first operand."""
# fmt: on

UNTOUCHED = frozenset({"ConstantOfShape", "EyeLike", "Shape", "Size"})
"""Operators whose result does not depend on the values of a real operand."""


def fold(node: NodeProto, scope: Scope, *, signal: bool = False) -> list[Constant]:
    """The node's outputs as constants, or as positions of a signal's elements.

    Raises UnsupportedError where rounding is not bounded, and for results of absurd size.
    """
    operands = [scope.constants[name] if name else Constant(np.zeros(0)) for name in node.input]
    present = [operand for name, operand in zip(node.input, operands, strict=True) if name]
    if node.op_type == "Constant":
        return [_literal(node, scope)]
    expected = expected_size(node, operands)
    if signal:
        scope.allow(expected, "a tensor")
    else:
        scope.allow_constant(expected)
    real = any(operand.is_float for operand in present)
    if node.op_type in FOLDERS and real:
        with np.errstate(all="ignore"):
            return [FOLDERS[node.op_type](node, operands, scope)]
    if node.op_type == "Cast" and _casts_to_real(node):
        return [_as_real(operands[0])]
    if node.op_type not in STRUCTURAL | DECIDING | (frozenset() if real else COUNTING):
        raise scope.refuse(
            "computes a constant in a way whose rounding is not bounded",
            "fold constants when exporting (torch.onnx.export does by default)",
        )
    inexact = any(operand.radius is not None for operand in present)
    if inexact and node.op_type not in STRUCTURAL:
        raise scope.refuse(
            "decides on a computed weight, which is known only up to rounding",
            "fold constants when exporting",
        )
    if Attributes(node, scope).text("reduction", "none") != "none":
        raise scope.refuse("adds up constants while it scatters them", "export without reduction")
    return _reference(node, operands, scope)


def _as_real(operand: Constant) -> Constant:
    """A cast between real types, or from whole numbers: real arithmetic does not round."""
    if operand.is_float:
        return operand
    if operand.value.dtype.kind in "USO":
        raise ValueError("text is not a number")
    exact = bool((np.abs(operand.middle) < 2.0**53).all())
    radius = None if exact else np.abs(operand.middle) * UNIT_ROUNDOFF
    return Constant(operand.middle, radius, operand.sources)


def _literal(node: NodeProto, scope: Scope) -> Constant:
    """The value of a Constant node."""
    if len(node.attribute) != 1:
        raise scope.refuse(f"has {len(node.attribute)} attributes where one gives its value")
    (attribute,) = node.attribute
    if attribute.name == "value" and attribute.HasField("t"):
        return read_tensor(attribute.t, scope.place, ())
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name not in _LITERALS:
        raise scope.refuse(f"gives its value as {attribute.name!r}", "export plain numbers")
    return as_constant(np.asarray(value, dtype=_LITERALS[attribute.name]))


_LITERALS: dict[str, type[np.generic]] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def _casts_to_real(node: NodeProto) -> bool:
    to = next((a.i for a in node.attribute if a.name == "to"), 0)
    return to in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def _reference(node: NodeProto, operands: list[Constant], scope: Scope) -> list[Constant]:
    """Run ONNX's reference implementation on the values and, where there are any, on the radii."""
    values = _run(node, [operand.value for operand in operands], scope)
    made_of = operands[:1] if node.op_type in MOVING and operands[0].is_float else operands
    sources = tuple(dict.fromkeys(name for operand in made_of for name in operand.sources))
    radii: list[AnyArray | None] = [None] * len(values)
    inexact = any(operand.radius is not None for operand in operands)
    if inexact and node.op_type not in UNTOUCHED:
        widths = [o.spread if o.is_float else o.value for o in operands]
        radii = [np.abs(np.asarray(r, np.float64)) for r in _run(node, widths, scope)]
    found = [as_constant(v, r, sources) for v, r in zip(values, radii, strict=True)]
    moved = operands[0].origins if node.op_type in MOVING else ()
    if not moved:
        return found
    return [
        replace(constant, origins=tuple(o.moved(_mover(node, operands, scope, k)) for o in moved))
        for k, constant in enumerate(found)
    ]


def _mover(node: NodeProto, operands: list[Constant], scope: Scope, output: int) -> Rearrangement:
    """What the node does to the elements of its first operand, for one of its outputs."""
    others = [operand.value for operand in operands[1:]]
    return lambda array: _run(node, [array, *others], scope)[output]


def _run(node: NodeProto, values: list[AnyArray], scope: Scope) -> list[AnyArray]:
    if node.op_type in INDEXED:
        return [INDEXED[node.op_type](node, values, scope)]
    names = [f"i{k}" if name else "" for k, name in enumerate(node.input)]
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(names)
    feeds = {name: value for name, value in zip(names, values, strict=True) if name}
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = onnx.helper.make_graph([copy], "fold", inputs, outputs)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", scope.opset)], ir_version=8
    )
    try:
        with np.errstate(all="ignore"):
            results = iter(ReferenceEvaluator(model).run(None, feeds))
    except Exception as error:
        raise scope.refuse(f"its constant operands do not fit: {error}") from error
    return [np.asarray(next(results)) if name else np.zeros(0) for name in node.output]
