"""LipSDP as a method: sound on random graphs, tight where the truth is known, stopped at any time."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from generators.dags import group_sort, max_min, max_pool, random_dag, reshaped
from generators.drawing import Drawing
from generators.soundness import differences, is_above, is_above_dual, sampled_pairs, sampled_slopes

from lipcert.bounds import METHODS, BoundContext, lower_bound
from lipcert.bounds import pairs as pairs_of_outputs
from lipcert.bounds.relaxation import Part, relax
from lipcert.bounds.result import Constants
from lipcert.conic.feasibility import proven_multipliers
from lipcert.conic.hkm import solve
from lipcert.errors import InputError
from lipcert.graph import Graph
from lipcert.nonlinear import ACTIVATIONS, PRelu, Product, Softmax
from lipcert.rounding import mul_up, sqrt_up
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NormSettings

NAMES = ("lipsdp", "lipsdp-layer")


def chain(*sizes: int, seed: int = 0, name: str = "Relu") -> Graph:
    rng = np.random.default_rng(seed)
    d = Drawing(sizes[0])
    value = "x"
    for place, (n, m) in enumerate(itertools.pairwise(sizes)):
        read = d.add(ACTIVATIONS[name](), value) if place else value
        weight = rng.standard_normal((m, n)) * 1.5 / math.sqrt(n)
        value = d.matrix(weight, read, rng.standard_normal(m))
    return d.graph(value)


def bound(form: SignalForm, name: str = "lipsdp", **options: object) -> Constants:
    return METHODS[name](form, BoundContext(**options))


def proved(form: SignalForm, *, per_layer: bool = False) -> float:
    """The constant that the matrix inequality itself proves, without the minimum with others."""
    problem = relax([Part(form)], BoundContext(), per_layer=per_layer)
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled)
    y, _ = proven_multipliers(scaled, outcome.y, outcome.halfway.y)
    return sqrt_up(mul_up(float(y[0]), float(scaled.unit[0])))


# --- random graphs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100))
def test_between_every_slope_met_and_autolip(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tolerance on the unsound side: the references take off their own rounding."""
    monkeypatch.setattr(pairs_of_outputs, "MOST_REFINED", 4)
    graph = random_dag(seed, widest=6, deepest=5)
    form = fold(graph)
    rng = np.random.default_rng(seed)
    slopes, pairs = list(sampled_slopes(graph, rng)), sampled_pairs(graph, rng)
    lower = lower_bound(graph, seconds=0.01, rounds=2, seed=seed) if seed < 15 else 0.0
    found = {name: bound(form, name) for name in NAMES}
    plain = bound(form, "autolip").value
    neuron, layer = (found[name].value for name in NAMES)
    assert lower <= neuron <= layer * (1.0 + 2e-6)
    assert layer <= plain
    constants = found[NAMES[seed % 2]]
    table = constants.pairwise()
    assert not np.isnan(table).any() and not table.diagonal().any()
    assert (table == table.T).all()
    for slope in slopes:
        assert is_above(neuron, slope, "l2")
        for i, j, row in differences(slope.matrix):
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")
    for moved, risen, error in pairs:
        distance = float(np.linalg.norm(moved)) * (1.0 + 1e-14)
        assert neuron * distance >= float(np.linalg.norm(risen)) - error
        apart = np.abs(risen[:, None] - risen[None, :]) - error
        assert (table * distance >= apart).all()


@pytest.mark.parametrize("name", ["Relu", "Tanh", "Gelu", "Silu", "Abs", "Selu", "HardSwish"])
def test_own_value_is_below_the_others_on_chains(name: str) -> None:
    """Not by the minimum that the method takes: a model of the wrong slopes would show here."""
    for seed in range(3):
        form = fold(chain(5, 12, 9, 10, 3, seed=seed, name=name))
        neuron, layer = proved(form), proved(form, per_layer=True)
        averaged, plain = (bound(form, other).value for other in ("averaged", "autolip"))
        assert neuron <= layer * (1.0 + 2e-6)
        assert layer <= plain * (1.0 + 1e-6)
        assert neuron <= averaged * (1.0 + 1e-6)


# --- known constants ---------------------------------------------------------------------------------


def orthogonal(n: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def of_unit_layers(bend, layers: int, excess: list[float]) -> SignalForm:
    """Orthogonal layers, each perturbed to a norm of 1 + its excess at most."""
    n = 6
    d = Drawing(n)
    value = "x"
    for layer in range(layers):
        weight = orthogonal(n, layer)
        other = orthogonal(n, 100 + layer)
        value = bend(d, d.matrix(weight + excess[layer] * other, value))
    return fold(d.graph(d.matrix(orthogonal(n, 99), value)))


SORTS = {
    "max-min": max_min,
    "sort of 2": lambda d, v: group_sort(d, v, 2),
    "sort of 3": lambda d, v: group_sort(d, v, 3, axis=0),
    "sort of all": lambda d, v: group_sort(d, v, 6),
    "abs": lambda d, v: d.add(ACTIVATIONS["Abs"](), v),
}


@pytest.mark.parametrize("bend", SORTS.values(), ids=SORTS.keys())
@pytest.mark.parametrize("layers", [1, 3, 6])
def test_sorting_nets_of_orthogonal_layers_have_constant_one(bend, layers: int) -> None:
    form = of_unit_layers(bend, layers, [0.0] * layers)
    assert 1.0 - 1e-12 <= proved(form) <= 1.0 + 1e-6
    assert bound(form).value <= 1.0 + 1e-9
    excess = list(np.random.default_rng(layers).random(layers) * 0.05)
    perturbed = of_unit_layers(bend, layers, excess)
    product = math.prod(1.0 + e for e in excess)
    own = proved(perturbed)
    assert own <= product * (1.0 + 1e-6)
    assert own <= proved(perturbed, per_layer=True) * (1.0 + 2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_counterexample_to_coupled_neurons(name: str) -> None:
    d = Drawing(1)
    hidden = d.relu(d.matrix([[1.0], [1.0]], bias=[0.0, -2.0]))
    form = fold(d.graph(d.matrix([[1.0, -1.0]], hidden)))
    assert 1.0 <= bound(form, name).value <= math.sqrt(2.0) * (1.0 + 1e-6)
    assert 1.0 <= bound(form).value <= 1.0 + 1e-6


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_one_neuron_has_its_steepest_slope(name: str) -> None:
    """``3 φ(2x)``: every activation with its own interval."""
    d = Drawing(1)
    form = fold(d.graph(d.matrix([[3.0]], d.add(ACTIVATIONS[name](), d.matrix([[2.0]])))))
    steepest = 6.0 * ACTIVATIONS[name]().slopes.lipschitz
    assert steepest * (1.0 - 1e-15) <= proved(form) <= steepest * (1.0 + 2e-5)


@pytest.mark.parametrize("slopes", [(0.3, -0.5), (2.0, 0.0), (1.0, 1.0), (-2.0, 0.7)])
def test_two_neurons_of_unlike_slopes_against_all_patterns(slopes: tuple[float, float]) -> None:
    """``C D W`` over the corners of the slopes: a lower bound of any bound from slopes."""
    rng = np.random.default_rng(5)
    first, last = rng.standard_normal((2, 3)), rng.standard_normal((2, 2))
    d = Drawing(3)
    bent = d.add(PRelu(torch.tensor(slopes, dtype=torch.float64)), d.matrix(first))
    form = fold(d.graph(d.matrix(last, bent)))
    ends = itertools.product(*((slope, 1.0) for slope in slopes))
    truth = max(float(np.linalg.norm(last @ np.diag(end) @ first, 2)) for end in ends)
    found = proved(form)
    assert truth * (1.0 - 1e-14) <= found <= truth * 1.05


@pytest.mark.parametrize("seed", range(8))
def test_small_nets_against_all_patterns(seed: int) -> None:
    """Two hidden layers: no pattern of slopes is steeper than the bound."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(shape) for shape in ((4, 3), (4, 4), (2, 4))]
    low = float(rng.choice([0.0, 0.1, -0.5, 2.0]))
    d = Drawing(3)
    value = d.matrix(weights[0])
    for weight in weights[1:]:
        value = d.matrix(weight, d.add(ACTIVATIONS["LeakyRelu"](alpha=low), value))
    form = fold(d.graph(value))
    corners = np.array(list(itertools.product((low, 1.0), repeat=4)))
    jacobians = np.einsum(
        "oi,pi,ij,qj,jk->pqok", weights[2], corners, weights[1], corners, weights[0]
    )
    truth = float(np.linalg.norm(jacobians, 2, axis=(-2, -1)).max())
    assert truth * (1.0 - 1e-13) <= bound(form).value <= proved(form)
    rows = jacobians[..., 0, :] - jacobians[..., 1, :]
    steepest = float(np.linalg.norm(rows, axis=-1).max())
    assert steepest * (1.0 - 1e-13) <= bound(form).pairwise()[0, 1]


def test_overlapping_windows_and_a_shared_signal() -> None:
    """Maxima of all neighbours read one element twice: never below √2 where it can win twice."""
    d = Drawing(4)
    form = fold(d.graph(max_pool(d, "x", 2)))
    assert math.sqrt(2.0) <= proved(form) <= math.sqrt(2.0) * (1.0 + 1e-6)
    d = Drawing(3)
    hidden = d.relu("x")
    assert 2.0 <= proved(fold(d.graph(d.total(hidden, hidden)))) <= 2.0 * (1.0 + 1e-6)
    d = Drawing(3)
    form = fold(d.graph(d.total(d.relu("x"), "x")))
    assert 2.0 <= proved(form) <= 2.0 * (1.0 + 1e-6)
    d = Drawing(3)
    form = fold(d.graph(d.total(d.relu("x"), d.scaled(-1.0, "x"))))
    assert 1.0 <= proved(form) <= 1.0 + 1e-6


def test_softmax_on_the_way() -> None:
    d = Drawing(2)
    form = fold(d.graph(d.matrix(np.eye(2), d.add(Softmax((0,)), d.matrix(4.0 * np.eye(2))))))
    assert 2.0 <= proved(form) <= 2.0 * (1.0 + 1e-6)


# --- what is left to others --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_models_without_stages_or_without_a_constant(name: str) -> None:
    d = Drawing(3)
    linear = bound(fold(d.graph(d.matrix(2.0 * np.eye(3)))), name)
    assert linear.value == pytest.approx(2.0) and linear.details == ""
    d = Drawing(3)
    nothing = bound(fold(d.graph(d.matrix(np.zeros((2, 3)), d.relu("x")))), name)
    assert nothing.value == 0.0
    d = Drawing(3)
    product = d.add(Product("Mul", ""), "x", d.relu("x"))
    assert bound(fold(d.graph(product)), name).value == math.inf


@pytest.mark.parametrize("name", NAMES)
def test_a_dead_stage_without_a_constant_is_no_obstacle(name: str) -> None:
    d = Drawing(3)
    hidden = d.relu("x")
    d.add(Product("Mul", ""), "x", hidden)
    last = d.matrix([[1.0, 1.0, 0.0], [0.0, 2.0, 0.0]], hidden)
    truth = float(np.linalg.norm([[1.0, 1.0], [0.0, 2.0]], 2))
    found = bound(fold(d.graph(last)), name)
    assert truth * (1.0 - 1e-13) <= found.value <= truth * (1.0 + 1e-6)
    d = Drawing(2)
    zeroed = d.matrix(np.zeros((2, 2)), d.add(Product("Mul", ""), "x", "x"))
    assert bound(fold(d.graph(d.total(d.relu("x"), zeroed))), name).value >= 1.0


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_other_norms_are_refused(norm: str) -> None:
    d = Drawing(2)
    form = fold(d.graph(d.relu("x")))
    for name in NAMES:
        with pytest.raises(InputError, match="l2 norm only"):
            METHODS[name](form, BoundContext(norm))


def test_sizes_of_one_and_outputs_of_many() -> None:
    d = Drawing(1)
    form = fold(d.graph(d.relu(d.matrix([[2.0]]))))
    assert 2.0 <= proved(form) <= 2.0 * (1.0 + 1e-6)
    d = Drawing(1)
    many = np.random.default_rng(0).standard_normal((70, 1))
    form = fold(d.graph(d.matrix(many, group_sort(d, "x", 1))))
    found = bound(form)
    assert float(np.linalg.norm(many)) <= found.value * (1.0 + 1e-14)
    table = found.pairwise()
    assert table.shape == (70, 70) and (np.abs(many - many.T) <= table).all()
    d = Drawing(2, 3)
    flat = d.matrix(np.ones((1, 6)), reshaped(d, d.add(ACTIVATIONS["Abs"](), "x"), 6))
    assert math.sqrt(6.0) <= proved(fold(d.graph(flat))) <= math.sqrt(6.0) * (1.0 + 1e-6)


# --- solvers, time, interruption ---------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["hkm", "scs", "clarabel"])
def test_every_solver_ends_in_a_proof(solver: str) -> None:
    form = fold(chain(4, 8, 6, 3))
    best = bound(form)
    found = bound(form, solver=solver)
    assert best.value * (1.0 - 1e-6) <= found.value <= best.value * (1.0 + 1e-2)
    assert f"; {solver}, " in found.details
    table, wanted = found.pairwise(), best.pairwise()
    assert (table >= wanted * (1.0 - 1e-3)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_time_limit_in_the_past_still_gives_a_bound(name: str) -> None:
    graph = chain(5, 20, 20, 20, 4)
    form = fold(graph)
    settings = NormSettings(deadline=time.monotonic() - 1.0)
    found = METHODS[name](form, BoundContext("l2", settings))
    lower = lower_bound(graph, seconds=0.1)
    assert lower <= found.value < math.inf
    assert "0 iterations, stopped early" in found.details
    table = found.pairwise()
    assert np.isfinite(table).all() and (table[~np.eye(4, dtype=bool)] > 0.0).all()
    assert found.value <= METHODS["autolip"](form, BoundContext("l2", settings)).value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", [1, 4, 8])
def test_an_interruption_answers_with_the_best_so_far(name: str, after: int) -> None:
    graph = chain(5, 20, 20, 20, 4)
    form = fold(graph)
    iterations = 0

    def progress(what: str, fraction: float) -> None:
        nonlocal iterations
        if what.startswith("iteration"):
            iterations += 1
            if iterations == after:
                raise KeyboardInterrupt

    context = BoundContext(progress=progress)
    found = METHODS[name](form, context)
    assert context.interrupted and context.expired
    assert "interrupted" in found.details and f"{after} iterations" in found.details
    full = bound(form, name).value
    assert full * (1.0 - 1e-6) <= found.value <= bound(form, "autolip").value
    assert lower_bound(graph, seconds=0.1) <= found.value
    assert np.isfinite(found.pairwise()).all()


def test_progress_tells_a_bound_that_falls() -> None:
    told: list[tuple[str, float]] = []
    context = BoundContext(progress=lambda what, fraction: told.append((what, fraction)))
    found = METHODS["lipsdp"](fold(chain(5, 10, 10, 3)), context)
    bounds = [float(what.split()[3].rstrip(",")) for what, _ in told if "iteration" in what]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(found.value, rel=1e-5)
    assert all(0.0 <= fraction <= 1.0 for _, fraction in told)


def test_details_tell_how_it_came_about() -> None:
    found = bound(fold(chain(5, 10, 10, 3)))
    assert found.details.startswith("20 neurons in one block; hkm, ")
    assert "of the optimum" in found.details and "mixed in" not in found.details
    assert not found.exact


def test_the_answer_is_the_same_again() -> None:
    form = fold(random_dag(11))
    first, second = bound(form), bound(form)
    assert first.value == second.value
    np.testing.assert_array_equal(first.pairwise(), second.pairwise())


def test_scaling_any_layer_scales_the_bound() -> None:
    graph = chain(4, 8, 6, 3, seed=3)
    plain = bound(fold(graph)).value
    matrices = [place for place, node in enumerate(graph.nodes) if hasattr(node.operation, "bias")]
    for place, power in itertools.product(matrices, (-30, 30)):
        node = graph.nodes[place]
        operator = node.operation.operator
        scaled = replace(node.operation, operator=type(operator)(operator.weight * 2.0**power))
        nodes = list(graph.nodes)
        nodes[place] = replace(node, operation=scaled)
        found = bound(fold(replace(graph, nodes=tuple(nodes)))).value
        assert found == pytest.approx(plain * 2.0**power, rel=2e-6)
