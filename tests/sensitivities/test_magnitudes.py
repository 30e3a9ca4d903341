"""Norms of values over input sets: exact cases, and samples that never exceed them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.dags import joined, random_dag
from generators.drawing import Drawing, trained
from hypothesis import given
from hypothesis import strategies as st

from lipcert.bounds import BoundContext
from lipcert.errors import InputError
from lipcert.graph import Affine, Graph, Node
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Dense
from lipcert.sensitivities.exact_affine import AffineBall
from lipcert.sensitivities.inputs import InputSet, clipped, data_maximum, norm_ball, pixel_range
from lipcert.sensitivities.magnitudes import Forward
from lipcert.sensitivities.parts import TIGHTEST, prefixes
from lipcert.sensitivities.tightenings import PLAIN, TIGHTENINGS
from lipcert.signals import fold

ALL = frozenset(TIGHTENINGS)


def forward(graph: Graph, inputs: InputSet) -> Forward:
    context = BoundContext("l2")
    parts = prefixes(graph, fold(graph), TIGHTEST, context)
    for method in TIGHTEST[:2]:
        parts.run(method, context)
    for value in parts.forms:
        if parts.work(value, context):
            parts.solve(value, context, math.inf)
    return Forward(graph, inputs, context, parts)


def single(operation, shape, out) -> Graph:
    node = Node("one", "One", operation, ("x",), "y", out)
    return Graph("one", (node,), "x", "y", shape, False, 17)


def test_largest_norm_of_a_dense_layer_is_exact() -> None:
    """W = diag(2, 1), b = (0, 1), R = 1: 4/√3 against 3."""
    weight = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double()
    graph = single(Affine(Dense(weight), torch.tensor([0.0, 1.0]).double()), (2,), (2,))
    run = forward(graph, norm_ball(1.0))
    assert pytest.approx(4.0 / math.sqrt(3.0), rel=1e-10) == run.run(ALL)["y"].X
    assert 4.0 / math.sqrt(3.0) <= run.run(ALL)["y"].X
    assert pytest.approx(3.0, rel=1e-10) == run.run(frozenset())["y"].X


@given(st.integers(0, 10_000))
def test_largest_norm_is_above_the_secular_equation(seed: int) -> None:
    """Against points on the sphere found by ascent; close to them, too."""
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers(1, 6, 2))
    weight, shift = rng.standard_normal((rows, columns)), rng.standard_normal(rows)
    dense = Dense(torch.from_numpy(weight))
    ball = AffineBall.of(dense, float(np.linalg.norm(weight, 2)) * (1.0 + 1e-12))
    assert ball is not None
    radius = float(rng.choice([0.1, 1.0, 7.0]))
    bound = ball.bound(radius, torch.from_numpy(shift))
    best = 0.0
    for _ in range(8):
        x = rng.standard_normal(columns)
        for _ in range(300):
            x = weight.T @ (weight @ x + shift)
            x *= radius / np.linalg.norm(x)
        best = max(best, float(np.linalg.norm(weight @ x + shift)))
    assert best <= bound
    assert bound <= best * (1.0 + 1e-4)


def test_sigmoid_of_four_elements_is_exact() -> None:
    graph = single(ACTIVATIONS["Sigmoid"](), (4,), (4,))
    found = forward(graph, norm_ball(2.0)).run(ALL)["y"]
    assert pytest.approx(1.462117, abs=5e-7) == found.X
    plain = forward(graph, norm_ball(2.0)).run(PLAIN)["y"]
    assert pytest.approx(2.0 * 0.5 + 0.25 * 2.0) == plain.X


@pytest.mark.parametrize(
    ("inputs", "shape", "expected"),
    [
        (norm_ball(5.0), (3,), 5.0),
        (clipped(2.0), (3,), 2.0),
        (pixel_range((3, 4, 4)), (3, 4, 4), math.sqrt(48.0)),
        (
            pixel_range((2, 3, 3), mean=(0.5, 0.2), std=(0.25, 0.1)),
            (2, 3, 3),
            math.sqrt(9 * ((0.5 / 0.25) ** 2 + (0.8 / 0.1) ** 2)),
        ),
    ],
)
def test_input_sets(inputs: InputSet, shape: tuple[int, ...], expected: float) -> None:
    assert inputs.bound == pytest.approx(expected, rel=1e-12) and inputs.bound >= expected
    assert inputs.is_private


def test_a_box_lies_in_its_ball() -> None:
    inputs = pixel_range((3, 2, 2), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (500, 3, 2, 2)).astype(float)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = (pixels - mean[:, None, None]) / std[:, None, None]
    assert inputs.centre is not None
    away = np.linalg.norm((x - inputs.centre.numpy()).reshape(500, -1), axis=1)
    assert away.max() <= inputs.radius and inputs.radius <= away.max() * (1.0 + 1e-12)
    assert np.linalg.norm(x.reshape(500, -1), axis=1).max() <= inputs.bound


def test_a_data_set_is_no_privacy_guarantee() -> None:
    inputs = data_maximum(np.array([[3.0, 4.0], [0.0, 1.0]]))
    assert 5.0 <= inputs.bound <= 5.00001 and not inputs.is_private


@pytest.mark.parametrize(
    "make",
    [
        lambda: norm_ball(0.0),
        lambda: norm_ball(math.inf),
        lambda: clipped(math.nan),
        lambda: pixel_range((2,), low=1.0, high=0.0),
        lambda: pixel_range((3, 2, 2), std=(0.0,)),
        lambda: pixel_range((3, 2, 2), mean=(0.1, 0.2)),
        lambda: data_maximum(np.array([[math.inf]])),
    ],
)
def test_unusable_input_sets_are_refused(make) -> None:
    with pytest.raises(InputError):
        make()


@given(st.integers(0, 100_000), st.booleans())
def test_no_value_is_longer_than_its_bound(seed: int, boxed: bool) -> None:
    graph = trained(random_dag(seed))
    rng = np.random.default_rng(seed)
    shape = graph.sample_shape
    if boxed:
        inputs = pixel_range(shape, -1.0, 2.0)
        x = torch.from_numpy(rng.choice([-1.0, 2.0, 0.3], (40, *shape)))
    else:
        inputs = norm_ball(1.5)
        x = torch.from_numpy(rng.standard_normal((40, *shape)))
        size = x.reshape(40, -1).norm(dim=1).reshape(-1, *(1 for _ in shape))
        x = x * (1.5 * (1.0 - 1e-15)) / size
    run = forward(graph, inputs)
    for on in (ALL, frozenset[str]()):
        found = run.run(on)
        for node in graph.nodes:
            values = graph.ending_at(node.output).evaluate(x)
            longest = float(values.norm(dim=1).max())
            # what is evaluated here is rounded; the bounds are of real arithmetic
            assert longest <= found[node.output].X * (1.0 + 1e-12) + 1e-12


def test_parts_side_by_side_add_in_squares() -> None:
    """Two copies of a ball of radius 3 behind one another: 3√2, where a sum would give 6."""
    d = Drawing(2)
    both = joined(d, d.relu("x"), d.relu(d.scaled(-1.0, "x")))
    found = forward(d.graph(both), norm_ball(3.0)).run(frozenset())[both].X
    assert 3.0 * math.sqrt(2.0) <= found <= 3.0 * math.sqrt(2.0) * (1.0 + 1e-12)
    overlapping = d.total(d.placed("x", 0, 3), d.placed("x", 1, 3))
    assert forward(d.graph(overlapping), norm_ball(3.0)).run(frozenset())[overlapping].X >= 6.0


def test_the_best_prefix_counts() -> None:
    """A residual sum that cancels: its branches are not taken for independent ones."""
    rng = np.random.default_rng(4)
    d = Drawing(6)
    h = d.relu(d.matrix(rng.standard_normal((6, 6))))
    sum_ = d.total(h, d.scaled(-1.0, d.relu(d.matrix(rng.standard_normal((6, 6)), h))))
    graph = d.trained(d.matrix(np.eye(6), sum_))
    run = forward(graph, norm_ball(1.0))
    found = run.run(ALL)
    smallest = run.prefixes.smallest(ALL)
    assert smallest[sum_].method == "lipsdp"
    assert all(smallest[sum_].value <= known for known in run.prefixes.found[sum_].values())
    assert found[sum_].D < found[h].D * 3.0 and found[sum_].how.endswith("(lipsdp)")
    assert run.run(ALL - {"lipsdp"})[sum_].X > found[sum_].X
