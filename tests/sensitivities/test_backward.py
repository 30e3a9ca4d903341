"""Loss gradients at values: hand-made graphs, and autograd on random ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from generators.dags import joined, max_min, random_dag, taken
from generators.drawing import Drawing, trained
from hypothesis import given
from hypothesis import strategies as st

from lipcert.bounds import BoundContext
from lipcert.graph import Graph
from lipcert.nonlinear import MaxMin
from lipcert.sensitivities.backward import Backward, Head, bodies, shared_reads
from lipcert.sensitivities.parts import COSTLY, TIGHTEST, Parts, suffixes
from lipcert.sensitivities.tightenings import TIGHTENINGS
from lipcert.signals import fold

ALL = frozenset(TIGHTENINGS)


def solved(parts: Parts, context: BoundContext) -> Parts:
    """Parts with all methods, the costly one on the two shortest and the two longest."""
    for method in TIGHTEST[:2]:
        parts.run(method, context)
    values = list(parts.forms)
    for value in values if len(values) < 4 else (*values[:2], *values[-2:]):
        if parts.work(value, context):
            parts.solve(value, context, math.inf)
    return parts


def backward(graph: Graph, L: float = 1.0, head: Head | None = None) -> Backward:
    """With every constant there is: of suffixes, of bodies, by all methods."""
    context, form = BoundContext("l2"), fold(graph)
    parts = solved(suffixes(graph, form, TIGHTEST), context)
    shared = shared_reads(graph, form)
    found = Backward(graph, form, L, context, parts, head, shared=shared)
    found.bodies = solved(bodies(graph, form, found, TIGHTEST), context)
    return found


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
    assert backward(graph).run(ALL)[h].how == "stretches"


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
    """With a head of its own where the output is a layer: two rows' difference."""
    graph = trained(random_dag(seed))
    rng = np.random.default_rng(seed)
    rows = rng.permutation(graph.outputs)[:2]

    def head(weight: torch.Tensor) -> float:
        difference = weight[rows[0]] - weight[rows[1]] if len(rows) == 2 else weight[0]
        return float(difference.norm()) * (1.0 + 1e-12)

    x = torch.from_numpy(rng.standard_normal((20, *graph.sample_shape))).requires_grad_()
    values = {graph.input: x}
    for node in graph.nodes:
        values[node.output] = node.operation.evaluate(*(values[name] for name in node.inputs))
    output = values[graph.output].reshape(20, -1)
    direction = torch.zeros_like(output)
    direction[:, rows] = torch.tensor([1.0, -1.0][: len(rows)]).double()
    names = [name for name in values if values[name].requires_grad]
    slopes = torch.autograd.grad(
        (output * direction).sum(), [values[name] for name in names], allow_unused=True
    )
    every = backward(graph, math.sqrt(2.0), head)
    for on in (ALL, frozenset[str]()):
        found = every.run(on)
        for name, slope in zip(names, slopes, strict=True):
            if slope is not None:
                longest = float(slope.reshape(20, -1).norm(dim=1).max())
                assert longest <= found[name].G * (1.0 + 1e-12) + 1e-12


def rotation(angle: float) -> np.ndarray:
    """A rotation of four dimensions: all its singular values are 1."""
    c, s = math.cos(angle), math.sin(angle)
    plane = np.array([[c, -s], [s, c]])
    return np.kron(plane, plane)


def split_max_min(d: Drawing, v: str) -> str:
    """As exporters write it: two halves, sorted elementwise, and put behind one another."""
    joint = d.add(MaxMin(), taken(d, v, [0, 1]), taken(d, v, [2, 3]), shape=(2, 2))
    return joined(d, taken(d, joint, [0, 1]), taken(d, joint, [2, 3]))


@pytest.mark.parametrize("sort", [max_min, split_max_min])
def test_halves_of_one_sort_do_not_add_up(sort: Callable[[Drawing, str], str]) -> None:
    """Orthogonal layers with MaxMin between: no gradient is longer than the loss's constant."""
    d = Drawing(4)
    first = d.matrix(rotation(0.3))
    second = d.matrix(rotation(1.1), sort(d, first))
    graph = d.trained(d.matrix(rotation(2.0), sort(d, second)))
    for on in (ALL, ALL - {"suffix"}):
        found = backward(graph, 3.0).run(on)
        for value in (first, second, graph.output):
            assert found[value].G * (1.0 + 1e-15) >= 3.0
            assert pytest.approx(3.0, rel=1e-9) == found[value].G
    assert backward(graph, 3.0).run(frozenset())[first].G > 11.0


@given(st.integers(0, 100_000))
def test_the_smallest_constant_is_that_of_no_method_alone(seed: int) -> None:
    graph = trained(random_dag(seed))
    both = backward(graph)
    for parts in (both.suffixes, both.bodies):
        smallest = parts.smallest(ALL)
        for value, known in parts.found.items():
            best = smallest[value]
            assert all(best.value <= constant for constant in known.values())
            assert known[best.method] == best.value
            without = parts.smallest(ALL - {COSTLY})[value]
            assert without.method != COSTLY and without.value >= best.value
    assert all(
        found.G <= layerwise.G * (1.0 + 1e-12)
        for found, layerwise in zip(
            both.run(ALL).values(), both.run(frozenset()).values(), strict=True
        )
    )


def test_lipsdp_says_that_it_gave_the_constant() -> None:
    rng = np.random.default_rng(5)
    d = Drawing(3)
    h = d.matrix(rng.standard_normal((12, 3)))
    k = d.matrix(rng.standard_normal((12, 12)), d.relu(h))
    graph = d.trained(d.matrix(rng.standard_normal((4, 12)), d.relu(k)))
    every = backward(graph)
    assert every.run(ALL)[h].how == "suffix (lipsdp)"
    assert every.run(ALL)[h].G < every.run(ALL - {COSTLY})[h].G
    assert every.run(ALL - {COSTLY})[h].how == "suffix (averaged)"
