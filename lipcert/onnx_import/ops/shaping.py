"""Operators that keep every element: identity, casts, reshapes, transposes, expansion."""

from __future__ import annotations

import math

from onnx import NodeProto, TensorProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.operands import optional, read_axes
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.operators import Transpose

ROUNDS = "rounds the signal to another type, which is discontinuous"
WIDE = "export the model in float32 throughout"


@IMPORTERS.register("Identity", "Dropout")
def import_identity(node: NodeProto, scope: Scope) -> None:
    """The identity; dropout at inference is one."""
    if optional(node, 2) and bool(scope.constant(node.input[2], "training mode").value.any()):
        raise scope.refuse("is in training mode", "export the model with model.eval()")
    scope.alias(node.input[0], node.output[0])


@IMPORTERS.register("Cast")
def import_cast(node: NodeProto, scope: Scope) -> None:
    """Between real types of at least 32 bits: the identity of real arithmetic."""
    target = Attributes(node, scope).integer("to", 0)
    if target not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise scope.refuse(ROUNDS, WIDE)
    scope.alias(node.input[0], node.output[0])


@IMPORTERS.register("CastLike")
def import_cast_like(node: NodeProto, scope: Scope) -> None:
    """To the type of another value: the identity in a model that knows no narrow real types."""
    like = node.input[1]
    real = like in scope.shapes or (like in scope.constants and scope.constants[like].is_float)
    if node.input[0] not in scope.shapes or not real or scope.narrow:
        raise scope.refuse(ROUNDS, WIDE)
    scope.alias(node.input[0], node.output[0])


@IMPORTERS.register("Reshape")
def import_reshape(node: NodeProto, scope: Scope) -> None:
    """The same elements in row-major order."""
    source = scope.shape(node.input[0])
    if optional(node, 1):
        target = scope.integers(node.input[1], "target shape")
    else:
        target = list(Attributes(node, scope).integers("shape", ()))
    keep_zeros = Attributes(node, scope).flag("allowzero", 0)
    shape = [
        source[axis] if size == 0 and not keep_zeros and axis < len(source) else size
        for axis, size in enumerate(target)
    ]
    if scope.batch > 1 and shape and shape[0] == scope.batch and source[:1] == (1,):
        shape[0] = 1
    known = math.prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and known > 0:
        shape[shape.index(-1)] = math.prod(source) // known
    if min(shape, default=1) < 0 or math.prod(shape) != math.prod(source):
        raise scope.refuse(
            f"cannot reshape {source} to {tuple(target)}",
            "export with a batch size of 1 or a dynamic batch",
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


@IMPORTERS.register("Expand")
def import_expand(node: NodeProto, scope: Scope) -> None:
    """Broadcast to a shape."""
    target = scope.integers(node.input[1], "target shape")
    shape = scope.common_shape(scope.shape(node.input[0]), tuple(target))
    scope.alias(scope.broadcast(node.input[0], shape), node.output[0])
