"""Starting multipliers: strictly feasible, and not far above AutoLip's constant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.dags import group_sort, max_min, max_pool
from generators.drawing import Drawing

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds.demands import demands_of
from lipcert.bounds.relaxation import Part, relax
from lipcert.conic.feasibility import is_feasible
from lipcert.graph import Graph
from lipcert.nonlinear import ACTIVATIONS, PRelu
from lipcert.signals import fold


def weights(*sizes: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((m, n)) / math.sqrt(n) for n, m in zip(sizes, sizes[1:], strict=False)
    ]


def chain(layers: list[np.ndarray], bend) -> Graph:
    d = Drawing(layers[0].shape[1])
    value = d.matrix(layers[0])
    for weight in layers[1:]:
        value = d.matrix(weight, bend(d, value))
    return d.graph(value)


def activated(name: str, **options: float):
    return lambda d, v: d.add(ACTIVATIONS[name](**options), v)


def slopes_of_elements(*slopes: float):
    def bend(d: Drawing, v: str) -> str:
        given = torch.tensor(slopes, dtype=torch.float64).repeat(d.shapes[v][0] // len(slopes))
        return d.add(PRelu(given), v)

    return bend


BENDS = {
    "relu": activated("Relu"),
    "leaky": activated("LeakyRelu", alpha=0.1),
    "steep": activated("LeakyRelu", alpha=-3.0),
    "linear": activated("LeakyRelu", alpha=1.0),
    "gelu": activated("Gelu"),
    "sigmoid": activated("Sigmoid"),
    "abs": activated("Abs"),
    "linear beside bent": slopes_of_elements(1.0, 0.0),
    "linear beside steep": slopes_of_elements(1.0, -4.0),
    "max-min": max_min,
    "sort": lambda d, v: group_sort(d, v, 3),
    "pool": lambda d, v: max_pool(d, v, 3, begin=1, end=1),
}


@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS.keys())
@pytest.mark.parametrize("per_layer", [False, True])
def test_the_start_is_feasible_and_near_autolip(bend, per_layer: bool) -> None:
    form = fold(chain(weights(5, 6, 12, 6, 4), bend))
    context = BoundContext()
    problem = relax([Part(form)], context, per_layer=per_layer)
    assert is_feasible(problem, problem.start)
    plain = METHODS["autolip"](form, context).value
    assert math.sqrt(float(problem.start[0])) <= 8.0 * plain


def test_a_stage_with_equal_slopes_costs_the_square_of_the_steepest() -> None:
    """``u = (1 + |c|/r) g`` and ``h = (r + |c|)² g``, by hand for a LeakyReLU of 1/2."""
    d = Drawing(1)
    form = fold(d.graph(d.matrix([[3.0]], d.add(ACTIVATIONS["LeakyRelu"](alpha=0.5), "x"))))
    found = demands_of(form, None, 1.0, BoundContext(), 1.0)
    assert found.multipliers == pytest.approx([9.0 * (1.0 + 0.75 / 0.25)])
    assert found.entry == pytest.approx(9.0)


def test_unequal_slopes_cost_at_most_twice_that() -> None:
    slopes = torch.tensor([1.0, 0.0, -2.0, 0.9], dtype=torch.float64)
    d = Drawing(4)
    form = fold(d.graph(d.add(PRelu(slopes), "x")))
    found = demands_of(form, None, 1.0, BoundContext(), 1.0)
    assert 4.0 * (1.0 - 1e-9) <= found.entry <= 8.0


def test_a_box_costs_the_square_of_its_constant() -> None:
    d = Drawing(2)
    form = fold(d.graph(d.relu("x")))
    assert demands_of(form, 3.0, 2.0, BoundContext(), 1.5).entry == 27.0


def test_a_signal_that_does_not_move_is_not_demanded_without_end() -> None:
    """It reads zeros beside one that moves."""
    d = Drawing(3)
    still, moving = d.relu(d.matrix(np.zeros((2, 3)))), d.relu(d.matrix(np.eye(3)))
    total = d.total(d.matrix(np.full((2, 2), 1e3), still), d.matrix(np.ones((2, 3)), moving))
    form = fold(d.graph(total))
    found = demands_of(form, None, 1.0, BoundContext(), 1.0)
    assert all(0.0 < demand < 1e16 for demand in (found.entry, *found.multipliers))
    assert found.entry < 30.0
    value = METHODS["lipsdp"](form, BoundContext()).value
    assert math.sqrt(6.0) <= value <= math.sqrt(6.0) * (1.0 + 1e-6)


def test_output_that_reads_the_input_alone_beside_dead_neurons() -> None:
    d = Drawing(3)
    form = fold(d.graph(d.total(d.matrix(2.0 * np.eye(3)), d.relu(d.matrix(np.zeros((3, 3)))))))
    value = METHODS["lipsdp"](form, BoundContext()).value
    assert 2.0 <= value <= 2.0 * (1.0 + 1e-6)


@pytest.mark.parametrize(("scale", "layers"), [(1e-3, 12), (1e-2, 30), (1e3, 12), (1e8, 5)])
def test_deep_chains_of_small_and_large_weights_start_near_autolip(
    scale: float, layers: int
) -> None:
    """Not at a part of the largest demand: that is many orders above a small constant."""
    rng = np.random.default_rng(1)
    form = fold(
        chain([scale * rng.standard_normal((5, 5)) for _ in range(layers)], activated("Relu"))
    )
    context = BoundContext()
    problem = relax([Part(form)], context)
    plain = METHODS["autolip"](form, context).value
    assert plain * (1.0 - 1e-9) <= math.sqrt(float(problem.start[0])) <= 4.0 * plain
