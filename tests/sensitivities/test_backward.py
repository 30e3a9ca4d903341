"""Loss gradients at values: hand-made graphs, and autograd on random ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generators.dags import random_dag
from generators.drawing import Drawing
from hypothesis import given
from hypothesis import strategies as st

from lipcert.bounds import BoundContext
from lipcert.graph import Graph
from lipcert.nonlinear import Larger
from lipcert.sensitivities.backward import Backward, Head
from lipcert.sensitivities.engine import TIGHTENINGS
from lipcert.sensitivities.suffix import starting_at
from lipcert.signals import fold

ALL = frozenset(TIGHTENINGS)


def backward(graph: Graph, L: float = 1.0, head: Head | None = None) -> Backward:
    return Backward(graph, fold(graph), L, BoundContext("l2"), head)


def test_a_residual_block_adds_its_branches() -> None:
    d = Drawing(2)
    branch = d.relu(d.matrix([[3.0, 0.0], [0.0, 3.0]]))
    graph = d.graph(d.total(branch, "x"))
    found = backward(graph, 2.0).run(frozenset())
    assert pytest.approx(2.0 * (1.0 + 3.0)) == found["x"].G
    assert pytest.approx(2.0) == found[branch].G


def test_linear_stretches_are_taken_whole() -> None:
    """Two matrices that undo each other."""
    d = Drawing(2)
    h = d.relu("x")
    graph = d.graph(d.matrix([[0.1, 0.0], [0.0, 10.0]], d.matrix([[10.0, 0.0], [0.0, 0.1]], h)))
    assert pytest.approx(100.0) == backward(graph).run(frozenset())[h].G
    assert pytest.approx(1.0) == backward(graph).run(ALL)[h].G
    assert backward(graph).run(ALL)[h].how == "suffix"


def test_a_head_replaces_the_last_layer() -> None:
    d = Drawing(2)
    h = d.relu("x")
    graph = d.graph(d.matrix([[1.0, 0.0], [1.0, 1.0]], h, [1.0, 2.0]))
    found = backward(graph, 2.0, lambda W: 1.0).run(ALL)
    assert pytest.approx(1.0) == found[h].G and pytest.approx(1.0) == found["x"].G
    assert found[graph.output].G == 2.0
    assert backward(graph, 2.0, lambda W: 1.0).run(frozenset())[h].G > 2.0


def test_a_head_needs_a_layer_of_its_own() -> None:
    """A matrix on tokens, or one whose output is read again, is not the last layer alone."""
    d = Drawing(2)
    h = d.matrix([[1.0, 0.0], [0.0, 1.0]])
    graph = d.graph(d.total(h, d.relu(h)))
    assert backward(graph, 1.0, lambda W: 0.0).run(ALL)["x"].G >= 1.0


@given(st.integers(0, 100_000))
def test_no_gradient_is_longer_than_its_bound(seed: int) -> None:
    graph = random_dag(seed)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((20, *graph.sample_shape))).requires_grad_()
    values = {graph.input: x}
    for node in graph.nodes:
        values[node.output] = node.operation.evaluate(*(values[name] for name in node.inputs))
    output = values[graph.output].reshape(20, -1)
    direction = torch.from_numpy(rng.standard_normal(tuple(output.shape)))
    direction = direction / direction.norm(dim=1, keepdim=True)
    names = [name for name in values if values[name].requires_grad]
    slopes = torch.autograd.grad(
        (output * direction).sum(), [values[name] for name in names], allow_unused=True
    )
    for on in (ALL, frozenset[str]()):
        found = backward(graph).run(on)
        for name, slope in zip(names, slopes, strict=True):
            if slope is not None:
                longest = float(slope.reshape(20, -1).norm(dim=1).max())
                assert longest <= found[name].G * (1.0 + 1e-12) + 1e-12


def test_fixed_signals_do_not_count() -> None:
    """From h on: max(h, x) and + x change with h alone."""
    d = Drawing(2)
    h = d.relu(d.matrix([[2.0, 0.0], [0.0, 2.0]]))
    larger = d.add(Larger(), "x", h)
    graph = d.graph(d.total(d.matrix([[3.0, 0.0], [0.0, 3.0]], larger), "x"))
    rest = starting_at(graph, h)
    assert rest.input == h and rest.output == graph.output
    values = rest.evaluate(torch.tensor([[1.0, 2.0]]).double())
    assert values.tolist() == [[3.0, 6.0]]
    assert backward(graph).constants[h] == pytest.approx(3.0)
