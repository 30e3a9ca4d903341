"""Evaluating a graph in float64 with a proven bound of what rounding did to the outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.graph import Affine, Graph, Node, Total
from lipcert.rounding import SMALLEST_NORMAL, UNIT_ROUNDOFF, add_up, mul_up
from lipcert.spectral import NORMS, NormSettings
from lipcert.spectral.tensors import power_of_two_scale

CHEAP = NormSettings(max_side=512, max_work=2e9)
"""Norms that carry rounding errors need not be tight."""


@dataclass(frozen=True)
class Evaluation:
    """Values of one batch, and a bound of each one's l2 distance to real arithmetic."""

    values: Mapping[str, Tensor]
    errors: Mapping[str, float]


class RoundedEvaluator:
    """Evaluates batches of one graph, tracking the rounding error of chosen values.

    Each operation's own error, ``γ_n‖|A|‖‖x‖``, is carried on by the spectral norms and Lipschitz
    constants of what follows.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._gains = [self._gain(node) for node in graph.nodes]

    def _gain(self, node: Node) -> float:
        if isinstance(node.operation, Affine):
            return NORMS["l2"](node.operation.operator, CHEAP).value
        if isinstance(node.operation, Total):
            return 1.0
        shapes = [self.graph.shape_of(name) for name in node.inputs]
        return node.operation.lipschitz(*shapes).l2

    def run(self, x: Tensor, wanted: tuple[str, ...]) -> Evaluation:
        """Evaluate a float64 batch ``(N, *sample_shape)`` and keep the values ``wanted``."""
        graph = self.graph
        values = {graph.input: x.reshape(x.shape[0], *graph.input_shape)}
        errors = {graph.input: 0.0}
        sizes = {graph.input: largest_norm(x)}
        for node, gain, spent in zip(graph.nodes, self._gains, graph.last_uses, strict=True):
            output = node.operation.evaluate(*(values[name] for name in node.inputs))
            values[node.output] = output
            sizes[node.output] = largest_norm(output)
            errors[node.output] = self._error(node, gain, sizes, errors)
            for name in spent:
                if name not in wanted:
                    del values[name]
        return Evaluation(
            {name: values[name].reshape(x.shape[0], -1) for name in wanted},
            {name: errors[name] for name in wanted},
        )

    def _error(
        self, node: Node, gain: float, sizes: Mapping[str, float], errors: Mapping[str, float]
    ) -> float:
        before = add_up(*(errors[name] for name in node.inputs))
        out = sizes[node.output]
        operation = node.operation
        if isinstance(operation, Affine):
            operator = operation.operator
            own = mul_up(operator.evaluation_error.l2, sizes[node.inputs[0]])
            own = add_up(own, operator.underflow)
            if operation.bias is not None:
                own = add_up(own, operation.bias_error, mul_up(2.0 * UNIT_ROUNDOFF, out))
        elif isinstance(operation, Total):
            total = add_up(*(sizes[name] for name in node.inputs))
            own = mul_up(len(node.inputs) * 2.0 * UNIT_ROUNDOFF, total)
        else:
            # relative to the input too: x·Φ(x) far left of zero is what is left of a cancellation
            reach = add_up(out, *(mul_up(gain, sizes[name]) for name in node.inputs))
            own = mul_up(operation.ulps * 2.0 * UNIT_ROUNDOFF, reach)
            own = add_up(own, operation.ulps * SMALLEST_NORMAL * math.prod(node.shape))
        return add_up(mul_up(gain, before), own)


def largest_norm(batch: Tensor) -> float:
    """Bound of the largest l2 norm over the samples of a batch."""
    if not batch.numel():
        return 0.0
    flat = batch.reshape(batch.shape[0], -1)
    size = float(torch.linalg.vector_norm(flat, dim=1).max())
    if 1e-140 < size < 1e140:
        return size * (1.0 + 1e-9)
    scale = power_of_two_scale(flat)  # against over- and underflow of the squares
    return mul_up(float(torch.linalg.vector_norm(flat / scale, dim=1).max()), scale, 1.0 + 1e-9)
