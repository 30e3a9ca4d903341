"""Small questions that importer functions ask about a node's operands."""

from __future__ import annotations

from onnx import NodeProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.scope import Scope


def optional(node: NodeProto, position: int) -> str:
    """Name of an optional input, empty when it is absent."""
    return node.input[position] if len(node.input) > position else ""


def optional_output(node: NodeProto, position: int) -> str:
    """Name of an output, empty when it is absent."""
    return node.output[position] if len(node.output) > position else ""


def read_axes(node: NodeProto, scope: Scope, rank: int, position: int = 1) -> tuple[int, ...]:
    """Axes from an input (newer opsets) or an attribute (older ones), made non-negative."""
    if optional(node, position):
        axes = tuple(scope.integers(node.input[position], "axes"))
    else:
        axes = Attributes(node, scope).integers("axes", ())
    axes = tuple(normal_axis(axis, rank, scope) for axis in axes)
    if len(set(axes)) != len(axes):
        raise scope.refuse(f"names an axis twice in {axes}")
    return axes


def normal_axis(axis: int, rank: int, scope: Scope) -> int:
    """A possibly negative axis as a non-negative one."""
    if not -rank <= axis < rank:
        raise scope.refuse(f"axis {axis} is out of range for rank {rank}")
    return axis % rank
