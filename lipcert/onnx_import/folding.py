"""Evaluating nodes whose inputs are all constants: computed weights and shape arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from lipcert.errors import InputError
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import AnyArray, Constant
from lipcert.onnx_import.growth import expected_size
from lipcert.onnx_import.scope import MAX_ELEMENTS, Scope
from lipcert.registry import Registry

Folder = Callable[[NodeProto, list[Constant], Scope], Constant]

FOLDERS: Registry[Folder] = Registry("constant folder")
"""Arithmetic on real constants, with radii."""

STRUCTURAL = frozenset(
    [
        "Concat",
        "ConstantOfShape",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Reshape",
        "Shape",
        "Size",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
        "DepthToSpace",
        "SpaceToDepth",
        "EyeLike",
        "OneHot",
        "ScatterND",
        "ScatterElements",
        "Compress",
        "Trilu",
        "ReverseSequence",
    ]
)
"""Operators that only move or create elements: folded with the reference implementation."""

DECIDING = frozenset(
    [
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "And",
        "Or",
        "Not",
        "Xor",
        "IsNaN",
        "IsInf",
        "ArgMax",
        "ArgMin",
        "NonZero",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Mod",
        "BitShift",
        "Unique",
        "TopK",
        "Cast",
        "CastLike",
    ]
)
"""Operators whose result on real numbers may hang on their last bit: exact operands only."""


def fold(node: NodeProto, scope: Scope) -> list[Constant]:
    """The node's outputs as constants.  Raises UnsupportedError where rounding is not bounded."""
    operands = [scope.constants[name] if name else Constant(np.zeros(0)) for name in node.input]
    present = [operand for name, operand in zip(node.input, operands, strict=True) if name]
    if node.op_type == "Constant":
        return [_literal(node, scope)]
    scope.allow(expected_size(node, operands), "a constant", MAX_ELEMENTS)
    real = any(operand.is_float for operand in present)
    if node.op_type in FOLDERS and real:
        with np.errstate(all="ignore"):
            return [FOLDERS[node.op_type](node, operands, scope)]
    if real and node.op_type not in STRUCTURAL | DECIDING:
        raise scope.refuse(
            "computes a weight in a way whose rounding is not bounded",
            "fold constants when exporting (torch.onnx.export does by default)",
        )
    inexact = any(operand.radius is not None for operand in present)
    if inexact and node.op_type == "Cast" and _casts_to_real(node):
        return present  # real arithmetic does not round
    if inexact and node.op_type not in STRUCTURAL:
        raise scope.refuse("decides on a computed weight, which is known only up to rounding")
    if Attributes(node, scope).text("reduction", "none") != "none":
        raise scope.refuse("adds up constants while it scatters them", "export without reduction")
    return _reference(node, operands, scope)


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


def read_tensor(tensor: onnx.TensorProto, place: str, sources: tuple[str, ...]) -> Constant:
    """A stored tensor as a constant.  Raises InputError when its bytes do not fit its shape."""
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > MAX_ELEMENTS:
        raise InputError(place, f"declares the shape {tuple(tensor.dims)}", "the file is damaged")
    try:
        return as_constant(numpy_helper.to_array(tensor), None, sources)
    except Exception as error:
        raise InputError(
            place, f"cannot be read ({error})", "the file is damaged; export it again"
        ) from error


def _casts_to_real(node: NodeProto) -> bool:
    to = next((a.i for a in node.attribute if a.name == "to"), 0)
    return to in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def _reference(node: NodeProto, operands: list[Constant], scope: Scope) -> list[Constant]:
    """Run ONNX's reference implementation on the values and, where there are any, on the radii."""
    values = _run(node, [operand.value for operand in operands], scope)
    sources = tuple(dict.fromkeys(name for operand in operands for name in operand.sources))
    radii: list[AnyArray | None] = [None] * len(values)
    if any(operand.radius is not None for operand in operands):
        widths = [o.spread if o.is_float else o.value for o in operands]
        radii = [np.abs(np.asarray(r, np.float64)) for r in _run(node, widths, scope)]
    return [as_constant(v, r, sources) for v, r in zip(values, radii, strict=True)]


def _run(node: NodeProto, values: list[AnyArray], scope: Scope) -> list[AnyArray]:
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


def as_constant(
    value: AnyArray, radius: AnyArray | None = None, sources: tuple[str, ...] = ()
) -> Constant:
    """An array as a constant: real types as float64, which holds each of them exactly."""
    if value.dtype == bool or np.issubdtype(value.dtype, np.integer) or value.dtype.kind in "USO":
        return Constant(value, None, sources)
    if value.dtype.kind == "c":
        raise ValueError("complex numbers")
    real = np.asarray(value, dtype=np.float64)
    return Constant(real, None if radius is None else np.asarray(radius, np.float64), sources)
