"""Dense layers of a graph: a product, and the addition of its bias as a node of its own."""

from __future__ import annotations

from collections.abc import Mapping

from lipcert.graph import Affine, Graph, Node, Operation
from lipcert.operators import Dense, is_identity


def dense_and_bias(
    node: Node, producers: Mapping[str, Node]
) -> tuple[Dense, Affine | None, str] | None:
    """A dense operator, the map that adds its bias, and the value it reads."""
    operation = node.operation
    if not isinstance(operation, Affine):
        return None
    if isinstance(operation.operator, Dense):
        return operation.operator, operation, node.inputs[0]
    before = producers.get(node.inputs[0])
    if before is None or not is_identity(operation.operator):
        return None
    first = before.operation
    if not isinstance(first, Affine) or first.bias is not None:
        return None
    if not isinstance(first.operator, Dense):
        return None
    return first.operator, operation, before.inputs[0]


def only_shifted(graph: Graph) -> frozenset[str]:
    """Products that nothing reads but the addition of a bias in the same ONNX node."""
    makers = {node.output: node.name for node in graph.nodes}
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    alone = {name: own[0] for name, own in readers.items() if len(own) == 1}
    found = {
        name
        for name, node in alone.items()
        if _adds_a_bias(node.operation) and makers.get(name) == node.name
    }
    return frozenset(found - {graph.output})


def _adds_a_bias(operation: Operation) -> bool:
    if not isinstance(operation, Affine) or operation.bias is None:
        return False
    return is_identity(operation.operator)
