"""Constants of differences of two outputs, against models that have that difference alone."""

from __future__ import annotations

import itertools
import math
import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.dags import random_dag
from generators.drawing import Drawing
from generators.exact import is_semidefinite
from generators.forms import differences_of

from lipcert.bounds import METHODS, BoundContext, pairs
from lipcert.bounds.pairs import _from_one_solution, pairwise_table
from lipcert.bounds.parts import cuts, part_of, without_dead_stages
from lipcert.bounds.relaxation import Part, relax
from lipcert.conic.feasibility import proven_multipliers
from lipcert.conic.hkm import solve
from lipcert.conic.iterates import Iterate
from lipcert.conic.problem import ScaledProblem
from lipcert.graph import Graph
from lipcert.rounding import mul_up, sqrt_up
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NormSettings

CONTEXT = BoundContext()


def chain(*sizes: int, seed: int = 0, gain: float = 1.5) -> Graph:
    rng = np.random.default_rng(seed)
    d = Drawing(sizes[0])
    value = "x"
    for place, (n, m) in enumerate(itertools.pairwise(sizes)):
        read = d.relu(value) if place else value
        value = d.matrix(gain * rng.standard_normal((m, n)) / math.sqrt(n), read)
    return d.graph(value)


def solved(
    form: SignalForm, *, split: bool = False
) -> tuple[ScaledProblem, Iterate, torch.Tensor, float]:
    """The scaled problem, an iterate halfway, proven multipliers, and their constant."""
    edges = [1, *(cuts(form) if split else []), len(form.stages) + 1]
    parts = [Part(part_of(form, a, b)) for a, b in itertools.pairwise(edges)]
    problem = relax(parts, CONTEXT)
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled)
    y, _ = proven_multipliers(scaled, outcome.y, outcome.halfway.y)
    value = sqrt_up(mul_up(float(y[0]), float(scaled.unit[0])))
    return scaled, outcome.halfway, y, value


def continued(graph: Graph) -> Drawing:
    """A drawing that goes on from a graph."""
    d = Drawing(*graph.input_shape)
    d.nodes = list(graph.nodes)
    d.shapes |= {node.output: node.shape for node in graph.nodes}
    return d


def with_difference(graph: Graph, i: int, j: int) -> SignalForm:
    """The same model with ``y_i − y_j`` as its only output."""
    d = continued(graph)
    row = np.zeros((1, graph.outputs))
    row[0, i], row[0, j] = 1.0, -1.0
    return fold(d.graph(d.matrix(row, graph.output)))


def sampled(form: SignalForm, seed: int) -> np.ndarray:
    """The steepest quotient of each pair, less what rounding may have added."""
    moved, risen = differences_of(form, seed, 200)
    rises = (risen[:, :, None] - risen[:, None, :]).abs()
    quotients = (rises / moved[0].norm(dim=1)[:, None, None]).amax(0).numpy()
    size = max(float(signal.abs().max()) for signal in moved)
    return quotients * (1.0 - 1e-9) - 1e-10 * (1.0 + size)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("sizes", [(4, 10, 3), (5, 12, 9, 4), (6, 8, 8, 8, 3)], ids=str)
def test_each_pair_is_the_constant_of_the_model_with_that_difference(
    sizes: tuple[int, ...], split: bool
) -> None:
    graph = chain(*sizes, seed=sum(sizes))
    form = fold(graph)
    scaled, halfway, y, value = solved(form, split=split)
    table = pairwise_table(scaled, halfway, y, CONTEXT)
    assert (table == table.T).all() and not table.diagonal().any()
    assert (table >= sampled(form, 0)).all()
    for i, j in itertools.combinations(range(graph.outputs), 2):
        *_, alone = solved(with_difference(graph, i, j), split=split)
        assert alone * (1.0 - 1e-6) <= table[i, j] <= alone * (1.0 + 1e-3)
        assert table[i, j] <= math.sqrt(2.0) * value * (1.0 + 1e-3)


@pytest.mark.parametrize("seed", range(40))
def test_pairs_of_random_graphs_are_above_sampled_slopes(seed: int) -> None:
    form = without_dead_stages(fold(random_dag(seed)))
    plain = METHODS["autolip"](form, CONTEXT)
    if not form.stages or plain.value < 1e-9 or math.prod(form.output_shape) < 2:
        return
    lower = sampled(form, seed)
    scaled, halfway, y, value = solved(form)
    first = _from_one_solution(scaled, y)
    table = pairwise_table(scaled, halfway, y, CONTEXT)
    assert (lower <= table).all() and (table <= first).all()
    assert (first <= math.sqrt(2.0) * value * 1.01).all()  # one solution already says that


def test_one_solution_in_rationals() -> None:
    """``(L²/ρ) P_0 − (Cᵀu)(Cᵀu)ᵀ ≽ 0`` for every pair, at the very numbers returned."""
    form = fold(chain(2, 3, 3, seed=4))
    scaled, _, y, _ = solved(form)
    table = _from_one_solution(scaled, y)
    (block,) = scaled.problem.blocks
    A = [[Fraction(v) for v in row] for row in block.rows.dense().tolist()]
    n, D = block.inputs, block.side
    values = [Fraction(v) for v in y.tolist()]
    P = [[Fraction(0)] * D for _ in range(D)]

    def add(row: list[Fraction], weight: Fraction) -> None:
        for a, b in itertools.product(range(D), repeat=2):
            P[a][b] += weight * row[a] * row[b]

    for i in range(n):
        P[i][i] += Fraction(float(block.head_weight[i])) * values[0]
    for k in range(block.activations):
        w = [-Fraction(float(block.centre[k])) * a for a in A[k]]
        w[n + k] += 1
        add(w, Fraction(float(block.activation_weight[k])) * values[block.activation_index[k]])
        add(A[k], -Fraction(float(block.row_weight[k])) * values[block.row_index[k]])
    rho = values[0] * Fraction(float(scaled.unit[0]))
    output = [[Fraction(v) for v in row] for row in block.output.tolist()]
    for i, j in itertools.combinations(range(3), 2):
        u = [a - b for a, b in zip(output[i], output[j], strict=True)]
        ratio = Fraction(float(table[i, j])) ** 2 / rho
        gap = [[ratio * P[a][b] - u[a] * u[b] for b in range(D)] for a in range(D)]
        assert is_semidefinite(gap)


def test_a_pair_with_nonnegative_weights_is_exact() -> None:
    """All neurons can be on: the row of the product."""
    rng = np.random.default_rng(0)
    first, last = np.abs(rng.standard_normal((6, 4))), rng.standard_normal((3, 6))
    last[1] = np.abs(last[1]) + last[0]  # y_1 − y_0 has no negative weight
    d = Drawing(4)
    form = fold(d.graph(d.matrix(last, d.relu(d.matrix(first)))))
    table = METHODS["lipsdp"](form, CONTEXT).pairwise()
    truth = float(np.linalg.norm((last[1] - last[0]) @ first))
    assert truth * (1.0 - 1e-13) <= table[0, 1] <= truth * (1.0 + 1e-3)


def test_equal_outputs_have_a_constant_near_zero() -> None:
    weight = np.random.default_rng(1).standard_normal((1, 6))
    d = Drawing(4)
    hidden = d.relu(d.matrix(np.random.default_rng(2).standard_normal((6, 4))))
    form = fold(d.graph(d.matrix(np.concatenate((weight, weight, -weight)), hidden)))
    scaled, halfway, y, value = solved(form)
    table = pairwise_table(scaled, halfway, y, CONTEXT)
    assert 0.0 <= table[0, 1] <= 1e-4 * value
    assert table[0, 2] == pytest.approx(2.0 * value / math.sqrt(3.0), rel=2e-3)


def test_one_output_has_no_pairs() -> None:
    form = fold(chain(4, 6, 1))
    scaled, halfway, y, _ = solved(form)
    assert pairwise_table(scaled, halfway, y, CONTEXT).tolist() == [[0.0]]


@pytest.mark.parametrize("layers", [16, 40])
def test_deep_models_whose_scales_have_moved_far(layers: int) -> None:
    form = fold(chain(4, *[8] * layers, 3, seed=1))
    scaled, halfway, y, value = solved(form)
    first = _from_one_solution(scaled, y)
    off = ~np.eye(3, dtype=bool)
    assert bool((first[off] <= 1.5 * value).all())
    table = pairwise_table(scaled, halfway, y, CONTEXT)
    assert (sampled(form, 0) <= table).all() and (table <= first).all()
    assert bool((table[off] < first[off]).all())


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_scales_of_the_output_are_those_of_the_pairs(scale: float) -> None:
    graph = chain(4, 8, 3, seed=2)
    plain = METHODS["lipsdp"](fold(graph), CONTEXT).pairwise()
    d = continued(graph)
    form = fold(d.graph(d.scaled(scale, graph.output)))
    np.testing.assert_allclose(
        METHODS["lipsdp"](form, CONTEXT).pairwise(), scale * plain, rtol=1e-3
    )


def test_weights_without_an_answer_keep_autolips_pairs() -> None:
    """Multipliers underflow: the table is that of the products, not an error."""
    d = Drawing(3)
    weight = 1e-150 * np.arange(1.0, 10.0).reshape(3, 3)
    form = fold(d.graph(d.matrix(weight, d.relu(d.matrix(weight)))))
    found, plain = (METHODS[name](form, CONTEXT) for name in ("lipsdp", "autolip"))
    assert (found.pairwise() <= plain.pairwise()).all()
    truth = np.abs(np.diff((weight * 1e150) @ (weight * 1e150), axis=0))
    assert found.pairwise()[0, 1] / 1e-300 >= 0.99 * float(np.linalg.norm(truth[0]))


# --- limits ----------------------------------------------------------------------------------------


def test_many_outputs_are_read_off_one_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    form = fold(chain(4, 10, 6))
    scaled, halfway, y, _ = solved(form)
    monkeypatch.setattr(pairs, "MOST_REFINED", 5)
    found = pairwise_table(scaled, halfway, y, CONTEXT)
    np.testing.assert_array_equal(found, _from_one_solution(scaled, y))
    assert (sampled(form, 0) <= found).all() and np.isfinite(found).all()
    np.testing.assert_array_equal(pairwise_table(scaled, None, y, CONTEXT), found)


def test_a_deadline_keeps_what_one_solution_says() -> None:
    form = fold(chain(4, 10, 6))
    scaled, halfway, y, _ = solved(form)
    late = BoundContext("l2", NormSettings(deadline=time.monotonic() - 1.0))
    found = pairwise_table(scaled, halfway, y, late)
    np.testing.assert_array_equal(found, _from_one_solution(scaled, y))


def test_progress_counts_the_pairs() -> None:
    form = fold(chain(4, 10, 3))
    scaled, halfway, y, _ = solved(form)
    told: list[str] = []
    context = BoundContext(progress=lambda what, fraction: told.append(what))
    pairwise_table(scaled, halfway, y, context)
    assert [what.split(", ")[-1] for what in told] == ["1 of 3", "2 of 3", "3 of 3"]


def test_an_interruption_keeps_the_pairs_so_far() -> None:
    form = fold(chain(4, 10, 4))
    scaled, halfway, y, _ = solved(form)
    full = pairwise_table(scaled, halfway, y, CONTEXT)

    def progress(what: str, fraction: float) -> None:
        if "3 of 6" in what:
            raise KeyboardInterrupt

    context = BoundContext(progress=progress)
    found = pairwise_table(scaled, halfway, y, context)
    assert context.interrupted
    np.testing.assert_array_equal(found[:2, :2], full[:2, :2])
    assert (sampled(form, 0) <= found).all() and (full <= found).all()
    assert (found <= _from_one_solution(scaled, y)).all()
