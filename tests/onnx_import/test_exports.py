"""What torch.onnx.export writes is read rightly, and bounded wherever a bound exists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lipcert.errors import LipcertError
from lipcert.graph import Graph, Node
from lipcert.nonlinear import Extremes, GroupSort, MaxMin, Nonlinearity
from lipcert.onnx_import import load_graph

TOLERANCE = 1e-5
ORDERS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


def test_export_is_read_and_bounded(case, exporter, exported):
    refusal = case.refusal(exporter)
    if refusal:
        with pytest.raises(LipcertError) as caught:
            load_graph(exported.path, output=exported.output)
        assert refusal in str(caught.value)
        assert caught.value.place.startswith("node '")
        assert caught.value.remedy
        return
    graph = load_graph(exported.path, output=exported.output)
    assert_agrees(graph, exported)
    for node in nonlinear_nodes(graph):
        assert_bounded(node, graph, case.infinite)
    if case.infinite:
        assert any(is_infinite(node, graph) for node in nonlinear_nodes(graph))
    if case.joint:
        (node,) = nonlinear_nodes(graph)
        assert isinstance(node.operation, MaxMin | Extremes | GroupSort)


def nonlinear_nodes(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.operation, Nonlinearity)]


def constants_of(node: Node, graph: Graph):
    return node.operation.lipschitz(*(graph.shape_of(name) for name in node.inputs))


def is_infinite(node: Node, graph: Graph) -> bool:
    return math.isinf(constants_of(node, graph).l2)


def assert_agrees(graph: Graph, exported) -> None:
    """The graph gives what the runtime gives, to float32 rounding of the largest output."""
    inputs = torch.from_numpy(exported.inputs).double()
    outputs, expected = graph.evaluate(inputs).numpy(), exported.expected
    assert outputs.shape == expected.shape
    assert np.abs(outputs - expected).max() <= TOLERANCE * max(np.abs(expected).max(), 1e-3)


def assert_bounded(node: Node, graph: Graph, infinite: frozenset[str]) -> None:
    """Finite constants, never below a sampled slope; or a known obstacle with a way out."""
    constants = constants_of(node, graph)
    operation = node.operation
    if math.isinf(constants.l2):
        assert node.onnx_type in infinite
        assert operation.obstacle and operation.help
        return
    assert math.isfinite(constants.l1) and math.isfinite(constants.linf)
    assert not operation.obstacle
    generator = torch.Generator().manual_seed(3)
    shapes = [(6, *graph.shape_of(name)) for name in node.inputs]
    for scale in (0.01, 1.0, 8.0):
        points = [scale * torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        steps = [1e-3 * torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        there = operation.evaluate(*(p + s for p, s in zip(points, steps, strict=True)))
        moved = (there - operation.evaluate(*points)).flatten(1)
        step = torch.cat([part.flatten(1) for part in steps], 1)
        rounding = 1e-13 * (1.0 + scale) * moved.shape[1] * max(1.0, constants.l2)
        for name, order in ORDERS.items():
            bound = getattr(constants, name) * torch.linalg.vector_norm(step, order, 1)
            assert (torch.linalg.vector_norm(moved, order, 1) <= bound + rounding).all(), name
