"""The rest of a model from one value on, and proven constants of it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from lipcert.bounds import METHODS, BoundContext
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.operators import Indexing
from lipcert.signals import SignalForm, fold

MOST_STAGES = 24
MOST_ELEMENTS = 1 << 13
"""Models with more nonlinearities, or larger signals in all, are left to AutoLip."""


def starting_at(graph: Graph, value: str) -> Graph:
    """The map from ``value`` to the output with every other signal held fixed.

    Fixed summands are left out, and fixed operands of nonlinearities stand as zeros: constants
    found without biases hold for any fixed signal.
    """
    reached = {value}
    nodes: list[Node] = []
    shape = graph.shape_of(value)
    for node in graph.nodes:
        if not reached.intersection(node.inputs) or node.output == value:
            continue
        inputs = tuple(name for name in node.inputs if name in reached)
        if not isinstance(node.operation, Total):
            for name in dict.fromkeys(node.inputs):
                if name not in reached:
                    nodes.append(_zeros(graph, name, value))
            inputs = tuple(n if n in reached else f"{n}/fixed" for n in node.inputs)
        nodes.append(replace(node, inputs=inputs))
        reached.add(node.output)
    rest = replace(graph, nodes=tuple(nodes), input=value, input_shape=shape, batched=False)
    return rest.ending_at(graph.output)


def _zeros(graph: Graph, name: str, value: str) -> Node:
    index = torch.full(graph.shape_of(name), -1, dtype=torch.int64)
    operation = Affine(Indexing(index, graph.shape_of(value)))
    fixed = f"{name}/fixed"
    return Node(fixed, "Fixed", operation, (value,), fixed, graph.shape_of(name))


def suffix_constants(
    graph: Graph, form: SignalForm, method: str, context: BoundContext
) -> dict[str, float]:
    """Constants of the maps from the stages' outputs to the model's; of small models only."""
    found: dict[str, float] = {}
    sizes = sum(math.prod(stage.shape) for stage in form.stages)
    if method == "autolip" or len(form.stages) > MOST_STAGES or sizes > MOST_ELEMENTS:
        return found
    for stage in reversed(form.stages):
        value = stage.node.output
        if context.expired or value == graph.output:
            continue
        rest = starting_at(graph, value)
        if rest.nodes:  # none where the output does not depend on the value
            found[value] = context.once(METHODS[method], fold(rest)).value
    return found
