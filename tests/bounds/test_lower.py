"""Lower bounds: real slopes only, even where derivatives on a kink are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.methods import applied

import lipcert
from lipcert.bounds import BoundContext, lower_bound
from lipcert.bounds.lower import FEWEST, POPULATION
from lipcert.bounds.slopes import Clock, slopes_at
from lipcert.errors import SoundnessError
from lipcert.graph import Graph, Node
from lipcert.nonlinear import ACTIVATIONS, Softmax
from lipcert.signals import fold
from lipcert.spectral import NORMS
from lipcert.spectral.tensors import unit_vectors, vector_norms

ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}


def still() -> float:
    """A clock that stands still: only the rounds limit the search, whatever the machine does."""
    return 0.0


def kinked() -> Graph:
    """``leaky(x) − relu(x)``: slopes 0 and 1/2, though at 0 derivatives chain to 1 − 0."""
    d = Drawing(2)
    bent = d.add(ACTIVATIONS["LeakyRelu"](alpha=0.5), "x")
    return d.graph(d.total(bent, d.scaled(-1.0, d.relu("x"))))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("start", [torch.zeros(4, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), None])
def test_no_slope_is_taken_on_a_kink(norm: str, start: torch.Tensor | None) -> None:
    found = lower_bound(
        kinked(), norm=norm, rounds=20, now=still, starts=None if start is None else start.double()
    )
    assert 0.49 <= found <= 0.5


@pytest.mark.parametrize("norm", NORMS)
def test_linear_map_is_found(norm: str) -> None:
    weight = np.random.default_rng(2).standard_normal((4, 6))
    d = Drawing(6)
    truth = float(np.linalg.norm(weight, ORDERS[norm]))
    found = lower_bound(d.graph(d.matrix(weight)), norm=norm, rounds=5, now=still)
    assert 0.99 * truth <= found <= truth


@pytest.mark.parametrize("norm", NORMS)
def test_never_above_the_bounds(norm: str) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        d = Drawing(4)
        h = d.relu(d.matrix(rng.standard_normal((6, 4)), "x", rng.standard_normal(6)))
        y = d.matrix(rng.standard_normal((3, 6)), h)
        graph = d.graph(y)
        found = lower_bound(graph, norm=norm, rounds=5, now=still, seed=seed)
        for constants in applied(fold(graph), BoundContext(norm)).values():
            assert 0.0 < found <= constants.value


@pytest.mark.parametrize("norm", NORMS)
def test_samples_that_are_single_numbers(norm: str) -> None:
    """A model of an open batch and no other axis."""
    relu = Node("r", "Relu", ACTIVATIONS["Relu"](), ("x",), "y", (1,))
    graph = Graph("m", (relu,), "x", "y", (1,), True, 17)
    assert 0.99 <= lower_bound(graph, norm=norm, rounds=5, now=still) <= 1.0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [30.0, 100.0, 300.0])
def test_no_slope_comes_from_directions_that_underflow(norm: str, scale: float) -> None:
    """Far out a softmax is flat: gradients are about 1e-200, and their squares are zero."""
    rng = np.random.default_rng(3)
    d = Drawing(6)
    graph = d.graph(d.add(Softmax((0,)), d.matrix(rng.standard_normal((4, 6)))))
    points = scale * torch.from_numpy(rng.standard_normal((256, 6)))
    directions = torch.from_numpy(rng.standard_normal((256, 6)))
    clock = Clock(0.0, 1.0, still, torch.device("cpu"))
    found, unit = slopes_at(graph, points, directions, norm, steps=12, clock=clock)
    assert 0.0 < float(found[found > 0.0].min()) < 1e-20
    sizes = torch.linalg.vector_norm(unit, ORDERS[norm], dim=1)
    assert bool((sizes[found > 0.0] <= 1.0 + 1e-12).all())
    jacobians = torch.func.vmap(torch.func.jacrev(lambda x: graph.evaluate(x[None])[0]))(points)
    norms = torch.linalg.matrix_norm(jacobians, ORDERS[norm])
    assert bool((found <= norms * (1.0 + 1e-9) + 1e-300).all())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [1e-6, 1e-9, 1e-12, 1e-15])
def test_what_may_be_rounding_is_no_slope(norm: str, size: float) -> None:
    """Of ``(x + W x) − x`` as little is left as W is small, and the rounding stays."""
    for seed in range(5):
        weight = size * np.random.default_rng(seed).standard_normal((6, 6))
        d = Drawing(6)
        more = d.total("x", d.matrix(weight))
        graph = d.graph(d.total(more, d.scaled(-1.0, "x")))
        found = lower_bound(graph, norm=norm, rounds=5, now=still, seed=seed)
        assert found <= float(np.linalg.norm(weight, ORDERS[norm]))


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1.0, 1e200])
def test_norms_and_unit_vectors_of_any_size(size: float) -> None:
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0]], dtype=torch.float64)
    norms = torch.tensor([[5.0], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(vector_norms(size * x, (1,)), size * norms, atol=0.0, rtol=1e-12)
    torch.testing.assert_close(unit_vectors(size * x, (1,)), x / 5.0, atol=0.0, rtol=1e-12)


def test_a_slope_above_the_bound_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, product = rectified()
    monkeypatch.setattr("lipcert.api.lower_bound", lambda *_, **__: 2.0 * product)
    with pytest.raises(SoundnessError, match="above the bound"):
        lipcert.bound(graph, method="autolip")


def test_constant_map_has_slope_zero() -> None:
    d = Drawing(3)
    assert lower_bound(d.graph(d.matrix(np.zeros((2, 3)))), rounds=2, now=still) == 0.0


def test_more_starts_than_points_and_repeatable() -> None:
    graph = kinked()
    starts = torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once = lower_bound(graph, rounds=2, starts=starts, now=still)
    again = lower_bound(graph, rounds=2, starts=starts, now=still)
    assert once == again and math.isfinite(once)


@dataclass
class Cost:
    """A clock that each evaluation moves on: by ``base``, and by ``each`` for every point."""

    base: float
    each: float
    first: float = 0.0
    time: float = 0.0
    batches: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def pay(self, points: int) -> None:
        self.time += self.base + self.each * points + (0.0 if self.batches else self.first)
        self.batches.append(points)


def priced(graph: Graph, cost: Cost) -> Graph:
    """The graph, whose evaluations cost something."""

    class Priced(Graph):
        def evaluate(self, x: torch.Tensor) -> torch.Tensor:
            cost.pay(len(x))
            return super().evaluate(x)

    return Priced(**{entry.name: getattr(graph, entry.name) for entry in fields(graph)})


def rectified(sizes: Sequence[int] = (5, 7, 6, 3)) -> tuple[Graph, float]:
    """A small network, and the product of its layers' norms."""
    rng = np.random.default_rng(4)
    d = Drawing(sizes[0])
    value, product = "x", 1.0
    for index, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weight = rng.standard_normal((fan_out, fan_in))
        value = d.matrix(weight, value, rng.standard_normal(fan_out))
        value = d.relu(value) if index + 2 < len(sizes) else value
        product *= float(np.linalg.norm(weight, 2))
    return d.graph(value), product


@pytest.mark.parametrize("each", [1e-5, 1e-3, 0.01, 0.05, 0.3, 1.0, 30.0])
@pytest.mark.parametrize("base", [0.0, 0.02])
@pytest.mark.parametrize("starts", [None, torch.ones(9, 5, dtype=torch.float64)])
def test_the_time_is_kept_whatever_an_evaluation_costs(
    each: float, base: float, starts: torch.Tensor | None
) -> None:
    """Over it go one step, of one point where points are dear, and two looks at what was found."""
    graph, product = rectified()
    cost = Cost(base, each)
    seconds = 2.0
    found = lower_bound(priced(graph, cost), seconds=seconds, starts=starts, now=cost.now)
    assert 0.0 < found <= product
    step = 2 * (base + each * max(cost.batches[-2:]))  # one step evaluates twice at most
    look = 2 * (base + each)
    assert cost.time <= max(seconds, base + each) + step + look
    if FEWEST * each > seconds / 4:
        assert set(cost.batches) == {1}
    assert cost.batches[0] == 1


def test_the_cheapest_step_comes_first_and_is_all_where_the_start_took_the_time() -> None:
    graph, product = rectified()
    cost = Cost(0.0, 1e-4, first=60.0)
    assert 0.0 < lower_bound(priced(graph, cost), seconds=2.0, now=cost.now) <= product
    assert cost.batches == [1, 1, 1]  # and two looks at what it found


def test_the_more_time_the_more_points() -> None:
    graph, _ = rectified()
    most = []
    for seconds in (0.01, 1.0, 100.0):
        cost = Cost(0.0, 1e-3)
        lower_bound(priced(graph, cost), seconds=seconds, rounds=1, now=cost.now)
        most.append(max(cost.batches))
    assert most[0] == 1 and most[1] == FEWEST and most[2] == POPULATION


def test_one_point_is_polished_as_long_as_there_is_time() -> None:
    """Power steps at one point alone come near the norm of a linear map."""
    weight = np.random.default_rng(2).standard_normal((4, 6))
    d = Drawing(6)
    cost = Cost(0.0, 1.0)
    found = lower_bound(priced(d.graph(d.matrix(weight)), cost), seconds=20.0, now=cost.now)
    truth = float(np.linalg.norm(weight, 2))
    assert set(cost.batches) == {1} and len(cost.batches) <= 24
    assert 0.9 * truth <= found <= truth


@pytest.mark.parametrize(("limit", "most"), [(30.0, 2.0), (1.0, 1.0), (1e-9, 1.1e-10)])
def test_bound_leaves_the_search_what_is_left_of_the_time_limit(
    monkeypatch: pytest.MonkeyPatch, limit: float, most: float
) -> None:
    given = []

    def search(graph: Graph, *, seconds: float, **others: object) -> float:
        given.append(seconds)
        return 0.0

    monkeypatch.setattr("lipcert.api.lower_bound", search)
    lipcert.bound(rectified()[0], time_limit=limit)
    assert 0.0 < given[0] <= most
