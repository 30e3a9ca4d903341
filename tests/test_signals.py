"""The signal form: linear stretches folded, shared signals joined, the same map as the graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.dags import random_dag
from generators.drawing import Drawing
from generators.methods import CLOSED_FORMS, applied, excess
from hypothesis import given
from hypothesis import strategies as st

from lipcert.bounds import BoundContext
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS, MaxMin
from lipcert.operators import Indexing
from lipcert.signals import SignalForm, ending_at, fold, starting_at
from lipcert.spectral import NORMS


def remade(form: SignalForm, graph: Graph, x: torch.Tensor) -> torch.Tensor:
    """The map that a signal form makes of ``x``; biases are left out of it."""
    signals = [x]
    for stage in form.stages:
        total = sum(operator.apply(signals[j]) for j, operator in stage.terms.items())
        parts, start = [], 0
        flat = total.flatten(1)
        for shape in stage.input_shapes:
            size = math.prod(shape)
            parts.append(flat[:, start : start + size].reshape(-1, *shape))
            start += size
        signals.append(stage.nonlinearity.evaluate(*parts))
    return sum(op.apply(signals[j]) for j, op in form.output_terms.items()).flatten(1)


def bounds(graph: Graph, norm: str) -> dict[str, float]:
    found = applied(fold(graph), BoundContext(norm))
    return {name: constants.value for name, constants in found.items()}


def assert_is(truth: float, found: dict[str, float]) -> None:
    """Nothing is rounded where nothing has to be; a solver may end a little above."""
    for method, value in found.items():
        if method in CLOSED_FORMS:
            assert value == truth
        else:
            assert truth <= value <= truth + excess(method)


EYE = np.eye(3)
RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal((3, 3)) for _ in range(3))


def test_chain_has_one_stage_per_nonlinearity() -> None:
    d = Drawing(3)
    y = d.matrix(C, d.relu(d.matrix(B, d.relu(d.matrix(A, "x", [1.0, 2.0, 3.0])))))
    form = fold(d.graph(y))
    assert [list(stage.terms) for stage in form.stages] == [[0], [1]]
    assert list(form.output_terms) == [2]
    assert form.size(0) == form.size(2) == 3


def test_form_is_the_same_map() -> None:
    """Shortcuts, sharing, several inputs of one nonlinearity, no biases."""
    d = Drawing(3)
    a = d.relu(d.matrix(A))
    b = d.total(a, d.matrix(B, a), "x")
    c = d.add(MaxMin(), d.matrix(C, b), d.scaled(-0.5, a), shape=(2, 3))
    flat = d.add(Affine(Indexing(torch.arange(6), (2, 3))), c)
    y = d.total(d.placed(flat, 0, 9), d.placed("x", 6, 9), d.placed(b, 3, 9))
    graph = d.graph(y)
    x = torch.from_numpy(RNG.standard_normal((5, 3)))
    np.testing.assert_allclose(
        remade(fold(graph), graph, x).numpy(), graph.evaluate(x).numpy(), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("norm", NORMS)
def test_linear_graph_is_one_operator_whose_norm_is_found(norm: str) -> None:
    """``A x + B(C x) − x``: the norm of the folded matrix, not a sum of norms."""
    d = Drawing(3)
    y = d.total(d.matrix(A), d.matrix(B, d.matrix(C)), d.scaled(-1.0, "x"))
    graph = d.graph(y)
    assert not fold(graph).stages
    truth = float(np.linalg.norm(A + B @ C - EYE, {"l1": 1, "l2": 2, "linf": np.inf}[norm]))
    for method, found in bounds(graph, norm).items():
        assert truth * (1 - 1e-14) <= found <= truth * (1 + excess(method))


@pytest.mark.parametrize("norm", NORMS)
def test_signal_minus_itself_is_nothing(norm: str) -> None:
    d = Drawing(3)
    shared = d.relu(d.matrix(A))
    graph = d.graph(d.total(shared, d.scaled(-1.0, shared)))
    for found in bounds(graph, norm).values():
        assert 0.0 <= found < 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_residual_is_not_taken_for_two_independent_branches(norm: str) -> None:
    """``x − relu(x)/1`` has slopes in [0, 1]: averaging finds it; AutoLip gives at most 2."""
    d = Drawing(3)
    graph = d.graph(d.total("x", d.scaled(-1.0, d.relu("x"))))
    found = bounds(graph, norm)
    assert 1.0 <= found["averaged"] <= 1.0 + 1e-9
    assert 1.0 <= found["autolip"] <= 2.0 * (1 + 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_branches_side_by_side_are_the_stacked_operator(norm: str) -> None:
    """``[A x; B x]``: of linear branches exactly, in every norm."""
    d = Drawing(3)
    y = d.total(d.placed(d.matrix(A), 0, 6), d.placed(d.matrix(B), 3, 6))
    stacked = np.concatenate((A, B))
    truth = float(np.linalg.norm(stacked, {"l1": 1, "l2": 2, "linf": np.inf}[norm]))
    for method, found in bounds(d.graph(y), norm).items():
        assert truth * (1 - 1e-14) <= found <= truth * (1 + excess(method))


def test_bent_branches_side_by_side_add_in_squares() -> None:
    """Two 1-Lipschitz functions of separate signals: √2 at most, where a sum would give 2."""
    d = Drawing(3)
    left, right = d.relu("x"), d.add(ACTIVATIONS["Abs"](), "x")
    y = d.total(d.placed(left, 0, 6), d.placed(right, 3, 6))
    for norm, truth in (("l2", math.sqrt(2.0)), ("linf", 1.0)):
        for method, found in bounds(d.graph(y), norm).items():
            assert truth <= found <= truth * (1 + excess(method))


@pytest.mark.parametrize("norm", NORMS)
def test_positive_and_negative_parts(norm: str) -> None:
    """``[relu(x); relu(−x)]`` has constant 1; no bound may fall below."""
    d = Drawing(2)
    y = d.total(d.placed(d.relu("x"), 0, 4), d.placed(d.relu(d.scaled(-1.0, "x")), 2, 4))
    for method, found in bounds(d.graph(y), norm).items():
        assert 1.0 <= found <= 2.0 * (1 + excess(method))


@pytest.mark.parametrize("copies", [2, 3, 10])
def test_fan_out_costs_the_root_of_the_copies(copies: int) -> None:
    d = Drawing(2)
    shared = d.relu("x")
    parts = [d.placed(shared, 2 * k, 2 * copies) for k in range(copies)]
    for norm, truth in (("l2", math.sqrt(copies)), ("l1", float(copies)), ("linf", 1.0)):
        for method, found in bounds(d.graph(d.total(*parts)), norm).items():
            assert truth * (1 - 1e-15) <= found <= truth * (1 + excess(method))


def test_output_that_is_the_input() -> None:
    graph = Drawing(4).graph("x")
    for norm in NORMS:
        assert_is(1.0, bounds(graph, norm))


def test_output_that_does_not_depend_on_the_input() -> None:
    d = Drawing(2)
    y = d.add(Affine(Indexing(torch.full((3,), -1), (2,)), torch.ones(3, dtype=torch.float64)), "x")
    for norm in NORMS:
        assert_is(0.0, bounds(d.graph(y), norm))


def test_huge_biases_do_not_enter() -> None:
    d = Drawing(3)
    y = d.matrix(B, d.relu(d.matrix(A, "x", [1e300, -1e300, 0.0])), [1e308, 0.0, -1e308])
    plain = Drawing(3)
    same = plain.matrix(B, plain.relu(plain.matrix(A)))
    for norm in NORMS:
        assert bounds(d.graph(y), norm) == bounds(plain.graph(same), norm)


def continued(graph: Graph, value: str, x: torch.Tensor) -> torch.Tensor:
    """The map from a value on, without biases, every other signal zero."""
    values, reached = {value: x}, {value}
    for node in graph.nodes:
        if node.output == value:
            continue
        zeros = [torch.zeros(len(x), *graph.shape_of(name)).double() for name in node.inputs]
        read = [values.get(n, zero) for n, zero in zip(node.inputs, zeros, strict=True)]
        if isinstance(node.operation, Affine):
            values[node.output] = node.operation.operator.apply(read[0])
        elif reached.intersection(node.inputs):
            values[node.output] = node.operation.evaluate(*read)
        if reached.intersection(node.inputs):
            reached.add(node.output)
        else:
            values.pop(node.output, None)
    return values[graph.output]


@given(st.integers(0, 100_000))
def test_parts_of_a_form_are_the_parts_of_the_graph(seed: int) -> None:
    """From the input to any value, and from any value to the output."""
    graph = random_dag(seed)
    form = fold(graph)
    rng = np.random.default_rng(seed)

    def drawn(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((3, *shape)))

    x = drawn(graph.sample_shape)
    for value in [node.output for node in graph.nodes]:
        up_to = ending_at(graph, form, [value])[value]
        whole = fold(graph.ending_at(value))
        assert up_to.output_shape == graph.shape_of(value)
        torch.testing.assert_close(up_to.evaluate(x), whole.evaluate(x), rtol=1e-10, atol=1e-10)
        rest = starting_at(graph, form, value)
        if rest is not None and value != graph.output:
            z = drawn(graph.shape_of(value))
            truth = continued(graph, value, z).reshape(rest.evaluate(z).shape)
            torch.testing.assert_close(rest.evaluate(z), truth, rtol=1e-10, atol=1e-10)


def test_operators_between_stages_are_shared() -> None:
    d = Drawing(3)
    first = d.matrix(A)
    second = d.relu(d.matrix(B, d.relu(first)))
    graph = d.graph(d.total(d.matrix(C, second), d.relu("x")))
    form = fold(graph)
    rest = starting_at(graph, form, first)
    assert rest is not None and len(rest.stages) == 2
    assert rest.stages[1].terms[1] is form.stages[1].terms[1]
    assert rest.output_terms[2] is form.output_terms[2]


def test_from_a_value_that_the_output_does_not_depend_on() -> None:
    d = Drawing(3)
    dead = d.relu(d.matrix(A))
    graph = d.graph(d.relu("x"))
    assert starting_at(graph, fold(graph), dead) is None
