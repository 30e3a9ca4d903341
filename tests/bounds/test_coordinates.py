"""Signals over coordinates: errors against rationals, constraints against sampled differences."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.dags import group_sort, max_min, max_pool, random_dag
from generators.drawing import Drawing
from generators.exact import is_semidefinite
from generators.forms import differences_of
from torch import Tensor

from lipcert.bounds.coordinates import (
    Coefficients,
    Expression,
    StageRows,
    _deviations,
    pre_activation,
    stage_rows,
    unit,
)
from lipcert.graph import Graph, Node
from lipcert.nonlinear import ACTIVATIONS, Activation, GroupSort, Nonlinearity, PRelu
from lipcert.operators import Dense, Norms, identity
from lipcert.signals import SignalForm, Stage, fold

CPU = torch.device("cpu")
F64 = torch.float64
SEEDS = range(60)


def laid_out(form: SignalForm) -> tuple[list[StageRows], Expression]:
    """What every stage adds, and the output over the coordinates."""
    signals: list[Expression] = [{0: unit(math.prod(form.input_shape), CPU)}]
    stages = []
    for number, stage in enumerate(form.stages, start=1):
        rows = stage_rows(number, stage, pre_activation(stage.terms, signals, CPU), CPU)
        stages.append(rows)
        signals.append(rows.signal)
    return stages, pre_activation(form.output_terms, signals, CPU)


def coordinates_of(stages: list[StageRows], moved: list[Tensor]) -> list[Tensor]:
    """Differences of coordinates: a stage's own have orthonormal columns in its signal."""
    found = [moved[0]]
    for number, rows in enumerate(stages, start=1):
        found.append(moved[number] @ rows.signal[number].matrix)
    return found


def valued(expression: Expression, coordinates: list[Tensor]) -> Tensor:
    return torch.stack([coordinates[b] @ part.matrix.T for b, part in expression.items()]).sum(0)


def rounding_of(form: SignalForm, moved: list[Tensor]) -> float:
    """More than the rounding of evaluated differences, whose inputs are of size 10."""
    return 1e-11 * max(1.0, *(float(signal.abs().max()) for signal in moved))


# --- against sampled differences -------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_signals_of_random_graphs_are_sums_over_their_coordinates(seed: int) -> None:
    form = fold(random_dag(seed))
    stages, output = laid_out(form)
    moved, risen = differences_of(form, seed)
    coordinates = coordinates_of(stages, moved)
    slack = 1e3 * rounding_of(form, moved)
    for number, rows in enumerate(stages, start=1):
        signal = valued(rows.signal, coordinates)
        torch.testing.assert_close(signal, moved[number], rtol=0.0, atol=slack)
    torch.testing.assert_close(valued(output, coordinates), risen, rtol=0.0, atol=slack)


@pytest.mark.parametrize("seed", SEEDS)
def test_constraints_hold_on_random_graphs(seed: int) -> None:
    """``Σ (z − c v)² ≤ Σ ω v²`` on every group of every stage."""
    form = fold(random_dag(seed))
    stages, _ = laid_out(form)
    moved, _ = differences_of(form, seed)
    coordinates = coordinates_of(stages, moved)
    slack = rounding_of(form, moved)
    for number, rows in enumerate(stages, start=1):
        own = coordinates[number]
        assert own.shape[1] == rows.size == len(rows.centre) == len(rows.activation_group)
        v = valued(rows.rows, coordinates)
        assert v.shape[1] == len(rows.row_weight) == len(rows.row_group)
        assert bool((rows.row_weight >= 0.0).all())
        remainder = own
        if bool(rows.centre.any()):
            remainder = own - rows.centre * v[:, : rows.size]
        zeros = own.new_zeros(len(own), rows.groups)
        left = zeros.index_add(1, rows.activation_group, remainder.square())
        right = zeros.index_add(1, rows.row_group, rows.row_weight * v.square())
        assert bool((left.sqrt() <= right.sqrt() * (1.0 + 1e-12) + slack).all())


# --- slopes ----------------------------------------------------------------------------------------


def elementwise(nonlinearity: Nonlinearity, size: int = 1) -> StageRows:
    node = Node("n", "N", nonlinearity, ("x",), "y", (size,))
    stage = Stage(node, nonlinearity, ((size,),), {0: identity((size,))}, (size,))
    return stage_rows(1, stage, {0: unit(size, CPU)}, CPU)


SLOPES = [
    (0.0, 1.0),
    (0.1, 1.0),
    (1.0 / 3.0, 2.0 / 3.0),
    (-0.1290, 1.1290),
    (1.0, 1.0),
    (0.1, 0.1),
    (-1.0, -1.0),
    (0.0, 0.0),
    (-2.7, -0.3),
    (1e-200, 1.0),
    (0.0, 1e-200),
    (-1e-170, 1e-180),
    (-1e140, 1e139),
    (1.0, math.nextafter(1.0, 2.0)),
    (0.1, 1e6 + 0.1),
]


@pytest.mark.parametrize(("alpha", "beta"), SLOPES)
def test_every_slope_is_inside_the_interval_of_centre_and_width(alpha: float, beta: float) -> None:
    """``(s − c)² ≤ r²`` for both ends, hence for all between, in rationals."""
    for ends in (
        (alpha, beta),
        (torch.tensor([alpha], dtype=F64), torch.tensor([beta], dtype=F64)),
    ):
        rows = elementwise(Activation("bent", torch.relu, *ends))
        c, square = Fraction(float(rows.centre[0])), Fraction(float(rows.row_weight[0]))
        for end in ends:
            assert (Fraction(float(end)) - c) ** 2 <= square
        wide = max((beta - alpha) / 2.0, 1.1e-5 * abs(float(c))) + 1e-160
        assert float(square) <= wide**2 * (1.0 + 1e-9) + 1e-300
        assert rows.signed == (alpha * beta > 0.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_registry(name: str) -> None:
    activation = ACTIVATIONS[name]()
    rows = elementwise(activation)
    c, square = Fraction(float(rows.centre[0])), Fraction(float(rows.row_weight[0]))
    for end in (activation.slopes.alpha, activation.slopes.beta):
        assert (Fraction(float(end)) - c) ** 2 <= square


def test_slopes_of_elements_and_channels() -> None:
    """A slope for each element, and one broadcast along the rows of a matrix."""
    rows = elementwise(PRelu(torch.tensor([0.5, -1.0, 1.0], dtype=F64)), 3)
    assert rows.centre.tolist() == [0.75, 0.0, 1.0] and rows.signed
    np.testing.assert_allclose(rows.row_weight.sqrt(), [0.25, 1.0, 1e-5])
    d = Drawing(2, 3)
    graph = d.graph(d.add(PRelu(torch.tensor([[0.5], [-1.0]], dtype=F64)), "x"))
    (rows,), _ = laid_out(fold(graph))
    assert rows.centre.tolist() == [0.75] * 3 + [0.0] * 3


def test_neurons_that_read_nothing_add_no_coordinate() -> None:
    d = Drawing(3)
    hidden = d.relu(d.matrix([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "x"))
    (rows,), output = laid_out(fold(d.graph(d.matrix([[1.0, 5.0, 2.0]], hidden))))
    assert rows.size == rows.groups == 2
    np.testing.assert_allclose(output[1].matrix, [[1.0, 2.0]], rtol=1e-15)
    # unless they might, for all that is known
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=F64)
    v = {0: Coefficients(weight, 1e-300)}
    node = Node("n", "Relu", ACTIVATIONS["Relu"](), ("x",), "y", (2,))
    stage = Stage(node, node.operation, ((2,),), {0: Dense(weight)}, (2,))
    assert stage_rows(1, stage, v, CPU).size == 2


# --- groups ----------------------------------------------------------------------------------------


def test_a_pair_is_the_absolute_value_of_its_difference() -> None:
    d = Drawing(2)
    (rows,), _ = laid_out(fold(d.graph(max_min(d, "x"))))
    assert rows.size == rows.groups == 1
    np.testing.assert_allclose(rows.rows[0].matrix.abs(), [[math.sqrt(0.5)] * 2])
    np.testing.assert_allclose(rows.signal[0].matrix, np.full((2, 2), 0.5))
    np.testing.assert_allclose(rows.signal[1].matrix.abs(), [[math.sqrt(0.5)]] * 2)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_sort_adds_one_coordinate_less_than_elements(size: int, axis: int) -> None:
    d = Drawing(2 * size)
    stages, _ = laid_out(fold(d.graph(group_sort(d, "x", size, axis=axis))))
    (rows,) = stages
    assert rows.size == 2 * (size - 1) and rows.groups == 2
    mean = rows.signal[0].matrix
    np.testing.assert_allclose(mean @ mean, mean, atol=1e-15)  # a projection
    assert torch.linalg.matrix_rank(mean) == 2


def test_windows_share_rows() -> None:
    d = Drawing(4)
    (rows,), _ = laid_out(fold(d.graph(max_pool(d, "x", 3, begin=1, end=1))))
    assert rows.size == rows.groups == 4 and len(rows.row_group) == 2 + 3 + 3 + 2
    assert rows.row_group.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert rows.rows[0].matrix.argmax(1).tolist() == [0, 1, 0, 1, 2, 1, 2, 3, 2, 3]
    assert bool((rows.row_weight == 1.0).all())


def test_a_window_in_the_padding_has_a_multiplier_too() -> None:
    d = Drawing(3)
    (rows,), _ = laid_out(fold(d.graph(max_pool(d, "x", 2, stride=2, begin=1, end=2))))
    assert rows.groups == 3 and set(rows.row_group.tolist()) == {0, 1}


# --- errors ----------------------------------------------------------------------------------------


def exact_product(a: Tensor, b: Tensor) -> list[list[Fraction]]:
    rows = [[Fraction(v) for v in row] for row in a.tolist()]
    columns = [[Fraction(v) for v in column] for column in b.T.tolist()]
    return [[sum(x * y for x, y in zip(r, c, strict=True)) for c in columns] for r in rows]


def is_within(found: Tensor, true: list[list[Fraction]], error: float) -> bool:
    """``error² I − E Eᵀ ≽ 0`` in rationals."""
    E = [
        [Fraction(v) - t for v, t in zip(row, exact, strict=True)]
        for row, exact in zip(found.tolist(), true, strict=True)
    ]
    gap = [[-sum(x * y for x, y in zip(r, s, strict=True)) for s in E] for r in E]
    for place, row in enumerate(gap):
        row[place] += Fraction(error) ** 2
    return is_semidefinite(gap)


def perturbed(rng: np.random.Generator, part: Coefficients) -> Tensor:
    """A matrix at the distance that is admitted, in a direction that matters."""
    u, v = rng.standard_normal(part.matrix.shape[0]), rng.standard_normal(part.matrix.shape[1])
    off = np.outer(u, v) / (np.linalg.norm(u) * np.linalg.norm(v))
    return part.matrix + 0.999 * part.error * torch.from_numpy(off)


@pytest.mark.parametrize("error", [0.0, 1e-9, 1e-2])
@pytest.mark.parametrize("scale", [1.0, 1e-140, 1e140])
def test_errors_of_products_and_sums(error: float, scale: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        a, b, c = (
            Coefficients(torch.from_numpy(s * rng.standard_normal(shape)), s * error)
            for shape, s in (((4, 6), scale), ((6, 3), 1.0), ((4, 3), scale))
        )
        product, total = a.times(b), a.times(b).plus(c)
        true_a, true_b, true_c = (perturbed(rng, part) for part in (a, b, c))
        exact = exact_product(true_a, true_b)
        assert is_within(product.matrix, exact, product.error)
        summed = [
            [x + Fraction(y) for x, y in zip(row, other, strict=True)]
            for row, other in zip(exact, true_c.tolist(), strict=True)
        ]
        assert is_within(total.matrix, summed, total.error)
        assert total.error <= scale * (50.0 * error + 1e-13)


def test_stored_errors_reach_the_rows() -> None:
    weight = torch.randn(3, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    error = Norms(1e-3, 1e-4, 1e-3)
    v = pre_activation({0: Dense(weight, (), error)}, [{0: unit(3, CPU)}], CPU)
    assert v[0].error >= 1e-4
    twice = pre_activation({1: Dense(weight, (), error)}, [{}, {0: v[0]}], CPU)
    assert twice[0].error >= 2e-4 * float(torch.linalg.matrix_norm(weight, 2)) * 0.99


@pytest.mark.parametrize("size", [2, 3, 4, 7, 12, 40])
def test_the_basis_of_deviations_is_orthonormal_up_to_its_error(size: int) -> None:
    basis, error = _deviations(size, CPU)
    off = Decimal(0)
    with localcontext() as context:
        context.prec = 60
        for k in range(1, size):
            root = 1 / Decimal(k * (k + 1)).sqrt()
            true = [root] * k + [-k * root] + [Decimal(0)] * (size - k - 1)
            for found, entry in zip(basis[:, k - 1].tolist(), true, strict=True):
                off += (Decimal(found) - entry) ** 2
        assert off.sqrt() <= Decimal(error)
    assert error <= 1e-14 * size
    np.testing.assert_allclose(basis.T @ basis, np.eye(size - 1), atol=1e-14)
    np.testing.assert_allclose(basis.sum(0), 0.0, atol=1e-14)
    assert float(torch.linalg.matrix_norm(basis.abs(), 2)) < 3.0  # what its rounding rests on


@pytest.mark.parametrize("size", [2, 3, 9, 16])
@pytest.mark.parametrize("error", [0.0, 1e-6])
def test_errors_of_sorted_rows(size: int, error: float) -> None:
    """Rows and means against high precision, from weights at their admitted distance."""
    rng = np.random.default_rng(size)
    part = Coefficients(torch.from_numpy(rng.standard_normal((2 * size, 5))), error)
    operation = GroupSort(1, size, descending=True)
    shape = (2, size)
    stage = Stage(Node("n", "S", operation, ("x",), "y", shape), operation, (shape,), {}, shape)
    rows = stage_rows(1, stage, {0: part}, CPU)
    true = perturbed(rng, part).tolist()
    deviations, means = [], []
    with localcontext() as context:
        context.prec = 60
        for group in range(2):
            members = [[Decimal(v) for v in row] for row in true[group * size : (group + 1) * size]]
            sums = [sum(column) for column in zip(*members, strict=True)]
            means += [[Fraction(s / size) for s in sums]] * size
            for k in range(1, size):
                root = 1 / Decimal(k * (k + 1)).sqrt()
                above = [sum(column) for column in zip(*members[:k], strict=True)]
                deviation = [root * (a - k * b) for a, b in zip(above, members[k], strict=True)]
                deviations.append([Fraction(v) for v in deviation])
    assert is_within(rows.rows[0].matrix, deviations, rows.rows[0].error)
    assert is_within(rows.signal[0].matrix, means, rows.signal[0].error)
    assert rows.rows[0].error <= error * 1.001 + 1e-12


def test_rows_taken_several_times_multiply_their_error() -> None:
    d = Drawing(4)
    graph: Graph = d.graph(max_pool(d, "x", 3, begin=1, end=1))
    (stage,) = fold(graph).stages
    rows = stage_rows(1, stage, {0: Coefficients(torch.eye(4, dtype=F64), 1e-3)}, CPU)
    assert rows.rows[0].error >= math.sqrt(3.0) * 1e-3
