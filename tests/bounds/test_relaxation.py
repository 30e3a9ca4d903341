"""The matrix inequality of a model, against sampled differences of all its signals."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from generators.dags import random_dag
from generators.drawing import Drawing
from generators.forms import differences_of, signals_of
from torch import Tensor

from lipcert.bounds import METHODS, BoundContext, relaxation
from lipcert.bounds.coordinates import Expression, pre_activation, stage_rows, unit
from lipcert.bounds.parts import cuts, part_of, without_dead_stages
from lipcert.bounds.relaxation import Part, relax
from lipcert.conic.feasibility import is_feasible, proven_multipliers
from lipcert.conic.hkm import solve
from lipcert.conic.problem import Block, Problem
from lipcert.errors import SolverError
from lipcert.graph import Affine
from lipcert.nonlinear import ACTIVATIONS
from lipcert.rounding import mul_up, sqrt_up
from lipcert.signals import SignalForm, fold

CPU = torch.device("cpu")
F64 = torch.float64
SEEDS = range(50)


def proved(problem: Problem, tolerance: float = 1e-6) -> float:
    """The constant that the matrix inequality itself proves."""
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled, tolerance=tolerance)
    y, _ = proven_multipliers(scaled, outcome.y, outcome.halfway.y)
    return sqrt_up(mul_up(float(y[0]), float(scaled.unit[0])))


def live_form(seed: int) -> SignalForm:
    return without_dead_stages(fold(random_dag(seed)))


def is_trivial(form: SignalForm) -> bool:
    return not form.stages or not 1e-12 < METHODS["autolip"](form, BoundContext()).value < math.inf


def own_coordinates(form: SignalForm, moved: list[Tensor]) -> list[Tensor]:
    """Differences of the coordinates that each stage of a part adds."""
    signals: list[Expression] = [{0: unit(math.prod(form.input_shape), CPU)}]
    found = []
    for number, stage in enumerate(form.stages, start=1):
        rows = stage_rows(number, stage, pre_activation(stage.terms, signals, CPU), CPU)
        signals.append(rows.signal)
        found.append(moved[number] @ rows.signal[number].matrix)
    return found


def entering(block: Block, form: SignalForm, moved: Tensor) -> Tensor:
    """Coordinates of the input, reduced where the block's are."""
    if block.inputs == moved.shape[1]:
        return moved
    signals: list[Expression] = [{0: unit(moved.shape[1], CPU)}]
    reading = []
    for number, stage in enumerate(form.stages, start=1):
        rows = stage_rows(number, stage, pre_activation(stage.terms, signals, CPU), CPU)
        signals.append(rows.signal)
        reading.append(rows.rows)
    reading.append(pre_activation(form.output_terms, signals, CPU))
    A = torch.cat([expression[0].matrix for expression in reading if 0 in expression])
    M = torch.cat(
        [piece.matrix for piece in block.rows.pieces if piece.column == 0]
        + ([block.output[:, : block.inputs]] if 0 in reading[-1] and len(block.output) else [])
    )
    assert M.shape == (len(A), len(A)) == (block.inputs, block.inputs)
    return torch.linalg.solve(M, A @ moved.T).T


def cut_up(form: SignalForm, rng: np.random.Generator) -> list[SignalForm]:
    chosen = [k for k in cuts(form) if rng.random() < 0.7]
    edges = [1, *chosen, len(form.stages) + 1]
    return [part_of(form, a, b) for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_sampled_differences_obey_it(seed: int, per_layer: bool, split: bool) -> None:
    """``Σ_b d_bᵀ (P_b(y) + CᵀC) d_b ≤ y_0 |dx|²`` for any y ≥ 0, and ``C d = dy``."""
    form = live_form(seed)
    if is_trivial(form):
        return
    rng = np.random.default_rng(seed)
    forms = cut_up(form, rng) if split else [form]
    problem = relax([Part(part) for part in forms], BoundContext(), per_layer=per_layer)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, math.prod(form.input_shape), dtype=F64, generator=generator)
    other = x + torch.randn(x.shape, dtype=F64, generator=generator) * (0.05 + rng.random())
    size = max(float(v.abs().max()) for v in (*signals_of(form, x)[0], *signals_of(form, other)[0]))
    moved_in = other - x
    coordinates, values = [], (x, other)
    for part, block in zip(forms, problem.blocks, strict=True):
        (first, a), (second, b) = (signals_of(part, value) for value in values)
        moved = [w - v for v, w in zip(first, second, strict=True)]
        own = own_coordinates(part, moved)
        coordinates.append(torch.cat((entering(block, part, moved[0]), *own), 1))
        values, risen = (a, b), b - a
    slack = 1e-9 * (1.0 + size)
    last = problem.blocks[-1]
    torch.testing.assert_close(coordinates[-1] @ last.output.T, risen, rtol=0.0, atol=slack)
    first_inputs = coordinates[0][:, : problem.blocks[0].inputs]
    ratio = first_inputs.norm(dim=1) / moved_in.norm(dim=1)
    assert bool((ratio <= 1.0 + 1e-9).all())
    for trial in range(4):
        y = torch.rand(problem.start.numel(), dtype=F64, generator=generator) ** (1 + 3 * trial)
        y /= 1.0 + float(y.max())
        total = -y[0] * first_inputs.square().sum(1)
        terms = torch.zeros_like(total)
        for block, d in zip(problem.blocks, coordinates, strict=True):
            total += ((d @ block.linear_part(y)) * d).sum(1)
            terms += block.side * (d.square() * block.largest_terms(y)).sum(1)
        assert bool((total <= 1e-10 * terms + slack**2).all())


@pytest.mark.parametrize("seed", SEEDS)
def test_no_quotient_exceeds_what_it_proves(seed: int) -> None:
    """One block, several, and one multiplier for each stage."""
    form = live_form(seed)
    if is_trivial(form):
        return
    moved, risen = differences_of(form, seed, 300)
    size = max(float(signal.abs().max()) for signal in moved)
    quotients = (risen.norm(dim=1) - 1e-12 * (1.0 + size)) / moved[0].norm(dim=1)
    steepest = float(quotients.max()) * (1.0 - 1e-12)
    context = BoundContext()
    together = proved(relax([Part(form)], context))
    layers = proved(relax([Part(form)], context, per_layer=True))
    split = proved(relax([Part(p) for p in cut_up(form, np.random.default_rng(seed))], context))
    assert steepest <= together
    assert together <= layers * (1.0 + 2e-6) and together <= split * (1.0 + 2e-6)


def test_number_of_multipliers() -> None:
    d = Drawing(6)
    hidden = d.relu(d.matrix(np.ones((5, 6)) + np.eye(5, 6)))
    last = d.relu(d.matrix(np.ones((4, 5)), hidden))
    form = fold(d.graph(d.matrix(np.ones((3, 4)), last)))
    assert relax([Part(form)], BoundContext()).start.numel() == 1 + 5 + 4
    assert relax([Part(form)], BoundContext(), per_layer=True).start.numel() == 1 + 1 + 1
    parts = [Part(part_of(form, 1, 2)), Part(part_of(form, 2, 3))]
    assert relax(parts, BoundContext()).start.numel() == 1 + 5 + 4 + 4
    boxed = [parts[0], Part(parts[1].form, constant=7.0)]
    assert relax(boxed, BoundContext()).start.numel() == 1 + 5 + 1
    boxed = [Part(parts[0].form, constant=7.0), parts[1]]
    assert relax(boxed, BoundContext()).start.numel() == 1 + 4 + 1


def test_fewer_inputs_where_fewer_rows_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constant of the reduced problem is that of the whole one."""
    rng = np.random.default_rng(0)
    d = Drawing(40)
    hidden = d.relu(d.matrix(rng.standard_normal((6, 40))))
    skip = d.matrix(rng.standard_normal((3, 40)))
    form = fold(d.graph(d.total(d.matrix(rng.standard_normal((3, 6)), hidden), skip)))
    reduced = relax([Part(form)], BoundContext())
    assert reduced.blocks[0].inputs == 6 + 3
    monkeypatch.setattr(relaxation, "dominating_factor", lambda parts: None)
    whole = relax([Part(form)], BoundContext())
    assert whole.blocks[0].inputs == 40
    assert proved(reduced) == pytest.approx(proved(whole), rel=2e-6)


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_nonnegative_chains_have_the_norm_of_their_product(layers: int) -> None:
    rng = np.random.default_rng(layers)
    weights = [np.abs(rng.standard_normal((4, 4))) for _ in range(layers)]
    d = Drawing(4)
    value, product = d.matrix(weights[0]), weights[0]
    for weight in weights[1:]:
        value, product = d.matrix(weight, d.relu(value)), weight @ product
    truth = float(np.linalg.norm(product, 2))
    found = proved(relax([Part(fold(d.graph(value)))], BoundContext()))
    assert truth * (1.0 - 1e-13) <= found <= truth * (1.0 + 1e-6)


def test_the_counterexample_to_coupled_neurons() -> None:
    """``relu(x) − relu(x − 2)`` has constant 1; LipSDP-Network would answer about 5e-6."""
    d = Drawing(1)
    hidden = d.relu(d.matrix([[1.0], [1.0]], bias=[0.0, -2.0]))
    found = proved(relax([Part(fold(d.graph(d.matrix([[1.0, -1.0]], hidden))))], BoundContext()))
    assert 1.0 <= found <= 1.0 + 1e-6


@pytest.mark.parametrize("constants", [(2.0, None, 5.0), (None, 3.0, None), (0.5, None, None)])
def test_boxes_multiply(constants: tuple[float | None, ...]) -> None:
    """Positive weights, so that each open part has the norm of its product."""
    rng = np.random.default_rng(1)
    weights = [np.abs(rng.standard_normal((3, 3))) for _ in range(4)]
    d = Drawing(3)
    value = d.matrix(weights[0])
    for weight in weights[1:]:
        value = d.matrix(weight, d.relu(value))
    form = fold(d.graph(value))
    parts = [
        Part(part_of(form, k, k + 1), constant)
        for k, constant in zip(range(1, 4), constants, strict=True)
    ]
    found = proved(relax(parts, BoundContext()))
    lengths = [
        constant or proved(relax([Part(part.form)], BoundContext()))
        for part, constant in zip(parts, constants, strict=True)
    ]
    assert found <= math.prod(lengths) * (1.0 + 3e-6)
    boxed = [constant for constant in constants if constant is not None]
    assert found >= math.prod(boxed) * 0.1
    if constants == (2.0, None, 5.0):
        assert found == pytest.approx(math.prod(lengths), rel=3e-6)


@pytest.mark.parametrize("scales", [(1e150, 1e150), (1e-300, 1e300), (1e100, 1e-100, 1e160)])
def test_weights_beyond_all_orders_are_refused(scales: tuple[float, ...]) -> None:
    d = Drawing(2)
    value = d.matrix(scales[0] * np.eye(2))
    for scale in scales[1:]:
        value = d.matrix(scale * np.eye(2), d.relu(value))
    with pytest.raises(SolverError, match="span too many orders"):
        relax([Part(fold(d.graph(value)))], BoundContext())


@pytest.mark.parametrize("slope", [1.0, -1.0, 0.5, 2.0])
def test_slopes_equal_at_both_ends_are_nearly_linear(slope: float) -> None:
    rng = np.random.default_rng(2)
    first, last = rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    d = Drawing(4)
    bent = d.add(ACTIVATIONS["LeakyRelu"](alpha=1.0), d.matrix(slope * first))
    form = fold(d.graph(d.matrix(last, bent)))
    truth = abs(slope) * float(np.linalg.norm(last @ first, 2))
    found = proved(relax([Part(form)], BoundContext()))
    assert truth * (1.0 - 1e-13) <= found <= truth * (1.0 + 1e-3)


def test_the_start_is_feasible_on_random_graphs() -> None:
    for seed in SEEDS:
        form = live_form(seed)
        if not is_trivial(form):
            problem = relax([Part(form)], BoundContext())
            assert is_feasible(problem, problem.start), seed


def test_signals_are_those_of_the_graph() -> None:
    """The evaluation that these tests rest on, against graphs without biases."""
    for seed in range(20):
        graph = random_dag(seed)
        nodes = [
            replace(node, operation=replace(node.operation, bias=None))
            if isinstance(node.operation, Affine)
            else node
            for node in graph.nodes
        ]
        plain = replace(graph, nodes=tuple(nodes))
        x = torch.randn(5, *graph.sample_shape, dtype=F64)
        _, y = signals_of(fold(plain), x)
        torch.testing.assert_close(y, plain.evaluate(x), rtol=1e-12, atol=1e-12)
