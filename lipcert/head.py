"""The head of a classifier: where its logits are, behind a final softmax or sigmoid."""

from __future__ import annotations

from lipcert.graph import Affine, Graph
from lipcert.nonlinear import Activation, LogSoftmax, Softmax
from lipcert.operators import Reshape


def logits_of(graph: Graph) -> str:
    """The value whose order and sign decide: the output, or the input of a final monotone map.

    A softmax over all outputs and an elementwise sigmoid keep the order of their arguments; a
    sigmoid's threshold 1/2 is the argument's sign.  Reshapes behind them change nothing.
    """
    producers = {node.output: node for node in graph.nodes}
    value = graph.output
    while value in producers:
        node = producers[value]
        operation = node.operation
        plain = isinstance(operation, Affine) and operation.bias is None
        if plain and isinstance(operation, Affine) and isinstance(operation.operator, Reshape):
            value = node.inputs[0]
            continue
        if isinstance(operation, Softmax | LogSoftmax):
            covered = 1
            for axis in operation.axes:
                covered *= node.shape[axis]
            return node.inputs[0] if covered == graph.outputs else graph.output
        if isinstance(operation, Activation) and operation.name == "Sigmoid":
            return node.inputs[0]
        return graph.output
    return graph.output
