"""Loop transformation: known values, exact cases, and what under- and overflow must not do."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.methods import applied, excess

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds.averaged import through_rows
from lipcert.bounds.rows import Rows, pull_back
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS, MaxMin, PRelu
from lipcert.operators import Indexing
from lipcert.signals import fold
from lipcert.spectral import NORMS, NormSettings

ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}


def averaged(graph: Graph, norm: str = "l2", **settings: object) -> float:
    return METHODS["averaged"](fold(graph), BoundContext(norm, NormSettings(**settings))).value


def orthogonal(n: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layers", [2, 3, 4])
def test_relu_chain_is_not_above_the_classical_formula(layers: int, norm: str) -> None:
    """``2^{−(m−1)} Σ ‖products over runs‖`` (Combettes & Pesquet 2020) for m layers."""
    rng = np.random.default_rng(layers)
    weights = [rng.standard_normal((4, 4)) for _ in range(layers)]
    d = Drawing(4)
    value = "x"
    for place, weight in enumerate(weights):
        value = d.matrix(weight, value if place == 0 else d.relu(value))
    order, total = ORDERS[norm], 0.0
    for cuts in itertools.product((False, True), repeat=layers - 1):
        product, run = 1.0, weights[0]
        for cut, weight in zip(cuts, weights[1:], strict=True):
            if cut:
                product, run = product * np.linalg.norm(run, order), weight
            else:
                run = weight @ run
        total += product * np.linalg.norm(run, order)
    formula = total / 2.0 ** (layers - 1)
    found = averaged(d.graph(value), norm)
    assert found <= formula * (1 + 1e-9)
    assert found >= _steepest_pattern(weights, order) * (1 - 1e-13)


def _steepest_pattern(weights: list[np.ndarray], order: float) -> float:
    """The truth is at most this over all patterns, and no bound from slopes alone is below it."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(300):
        product = weights[0]
        for weight in weights[1:]:
            product = weight @ np.diag(rng.integers(0, 2, len(product)).astype(float)) @ product
        worst = max(worst, float(np.linalg.norm(product, order)))
    return worst


@pytest.mark.parametrize("norm", NORMS)
def test_slopes_equal_at_both_ends_are_linear(norm: str) -> None:
    """A LeakyRelu of slope 1, a PRelu of slopes 1: the exact norm of the product."""
    a, b = (np.random.default_rng(s).standard_normal((3, 3)) for s in (1, 2))
    truth = float(np.linalg.norm(b @ a, ORDERS[norm]))
    for activation in (
        ACTIVATIONS["LeakyRelu"](alpha=1.0),
        PRelu(torch.ones(3, dtype=torch.float64)),
    ):
        d = Drawing(3)
        graph = d.graph(d.matrix(b, d.add(activation, d.matrix(a))))
        assert truth * (1 - 1e-13) <= averaged(graph, norm) <= truth * (1 + 1e-9)


def test_slopes_per_element_are_used_per_element() -> None:
    """PRelu of slope −1 on one neuron, 1 on the other: the truth is 1, the sum of both 1."""
    slope = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    d = Drawing(2)
    graph = d.graph(d.add(PRelu(slope), "x"))
    for norm in NORMS:
        assert 1.0 <= averaged(graph, norm) <= 1.0 + 1e-9
    steep = torch.tensor([3.0, 0.0], dtype=torch.float64)
    d = Drawing(2)
    graph = d.graph(d.matrix([[1.0, 0.0]], d.add(PRelu(steep), "x")))
    assert averaged(graph) >= 3.0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_keeps_its_own_interval(name: str) -> None:
    """``s·x − φ(x)``: at least the distance of s to the interval's far end, for many s."""
    slopes = ACTIVATIONS[name]().slopes
    low, high = float(slopes.alpha), float(slopes.beta)
    for s in (-1.0, 0.0, 0.5, 2.0):
        d = Drawing(2)
        y = d.total(d.scaled(s, "x"), d.scaled(-1.0, d.add(ACTIVATIONS[name](), "x")))
        far = max(abs(s - low), abs(s - high))
        for norm in NORMS:
            found = averaged(d.graph(y), norm)
            assert far * (1 - 1e-15) <= found <= far * (1 + 1e-9) + 1e-7


@pytest.mark.parametrize("layers", [1, 5, 20])
def test_max_min_net_of_orthogonal_layers_has_constant_one(layers: int) -> None:
    """Jointly bounded, the constant does not grow with the depth."""
    n = 6
    d = Drawing(n)
    value = "x"
    for layer in range(layers):
        value = d.matrix(orthogonal(n, layer), value)
        halves = [
            d.add(Affine(Indexing(torch.arange(start, start + n // 2), (n,))), value)
            for start in (0, n // 2)
        ]
        joint = d.add(MaxMin(), *halves, shape=(2, n // 2))
        value = d.add(Affine(Indexing(torch.arange(n), (2, n // 2))), joint)
    graph = d.graph(d.matrix(orthogonal(n, 99), value))
    for method, found in applied(fold(graph), BoundContext("l2")).items():
        assert 1.0 - 1e-12 <= found.value <= 1.0 + excess(method)


# --- small and large -------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-160, 1e-150, 1e-90, 1e-40, 1e-30, 1.0, 1e30, 1e75])
def test_chain_of_small_or_large_weights(scale: float, norm: str) -> None:
    """``y = s1 relu(s1 x)``: the truth is ‖1‖² s², in rationals, however small."""
    rng = np.random.default_rng(0)
    pattern = rng.integers(1, 4, (3, 3)).astype(float)
    d = Drawing(3)
    y = d.matrix(scale * pattern, d.relu(d.matrix(scale * pattern)))
    answers = applied(fold(d.graph(y)), BoundContext(norm)).items()
    # all weights are positive, so all neurons can be on: the product is the truth
    weight = [[Fraction(float(v)) for v in row] for row in scale * pattern]
    product = [
        [sum(a * b for a, b in zip(r, c, strict=True)) for c in zip(*weight, strict=True)]
        for r in weight
    ]
    if norm == "l2":
        vector = [Fraction(int(v)) for v in np.rint(1000 * np.linalg.svd(pattern @ pattern)[2][0])]
        image = [sum(a * b for a, b in zip(row, vector, strict=True)) for row in product]
        squares = sum(v * v for v in image) / sum(v * v for v in vector)
        truth = (scale * float(np.linalg.norm(pattern, 2))) ** 2
        for method, found in answers:
            assert Fraction(found.value) ** 2 >= squares
            if scale > 1e-75:
                assert found.value <= truth * (1 + excess(method))
    else:
        lines = product if norm == "linf" else list(zip(*product, strict=True))
        for _, found in answers:
            assert Fraction(found.value) >= max(sum(line) for line in lines)


@pytest.mark.parametrize("norm", NORMS)
def test_rows_that_cancel_to_zero_keep_their_error(norm: str) -> None:
    """``0.1 r + 0.2 r − 0.30000000000000004 r``: computed as zero, truly 2.8e-17."""
    d = Drawing(2)
    r = d.relu("x")
    y = d.total(d.scaled(0.1, r), d.scaled(0.2, r), d.scaled(-(0.1 + 0.2), r))
    truth = abs(Fraction(0.1) + Fraction(0.2) - Fraction(0.1 + 0.2))
    assert truth > 0
    for found in applied(fold(d.graph(y)), BoundContext(norm)).values():
        assert Fraction(found.value) >= truth
    two = Drawing(2)
    r = two.relu("x")
    gone = two.total(two.scaled(0.1, r), two.scaled(0.2, r), two.scaled(-(0.1 + 0.2), r))
    both = two.total(two.placed(gone, 0, 4), two.placed(two.scaled(2.0, gone), 2, 4))
    for found in applied(fold(two.graph(both)), BoundContext(norm)).values():
        assert Fraction(float(found.pairwise()[0, 2])) >= truth


# --- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_those_of_the_linear_maps(seed: int) -> None:
    """Pulled back through two stages with slopes kept; exact in rationals within their error."""
    rng = np.random.default_rng(seed)
    a, b, c = (rng.standard_normal((3, 3)) for _ in range(3))
    d = Drawing(3)
    y = d.matrix(c, d.relu(d.matrix(b, d.relu(d.matrix(a)))))
    form = fold(d.graph(y))
    context = BoundContext("l2")
    rows = pull_back(form, form.output_terms, 3, (3,), lambda signal: 0.5, context)
    exact = {
        2: _exact(c),
        1: _times(_exact(c), _exact(b), Fraction(1, 2)),
        0: _times(_times(_exact(c), _exact(b), Fraction(1, 2)), _exact(a), Fraction(1, 2)),
    }
    assert set(rows) == {0, 1, 2}
    for signal, part in rows.items():
        off = sum(
            (Fraction(float(part.matrix[i, j])) - exact[signal][i][j]) ** 2
            for i in range(3)
            for j in range(3)
        )
        assert off <= Fraction(part.error) ** 2
        assert part.error < 1e-12
    stopped = pull_back(form, form.output_terms, 3, (3,), lambda signal: None, context)
    assert set(stopped) == {2}


def _exact(matrix: np.ndarray) -> list[list[Fraction]]:
    return [[Fraction(float(v)) for v in row] for row in matrix]


def _times(
    a: list[list[Fraction]], b: list[list[Fraction]], factor: Fraction
) -> list[list[Fraction]]:
    columns = list(zip(*b, strict=True))
    return [
        [factor * sum(x * y for x, y in zip(row, col, strict=True)) for col in columns] for row in a
    ]


def test_error_of_rows_covers_every_norm() -> None:
    """Frobenius 1 spread over a row, a column or a corner."""
    rows = Rows(torch.zeros(2, 9, dtype=torch.float64), 1.0)
    assert rows.error_in("l2") == 1.0
    assert rows.error_in("linf") >= 3.0 and rows.error_in("l1") >= math.sqrt(2.0)
    assert rows.row_error_in("linf") >= 3.0 and rows.row_error_in("l1") >= 1.0
    for norm in NORMS:
        assert through_rows({0: rows}, {0: 2.0}, BoundContext(norm)) >= 2.0


@pytest.mark.parametrize("spectral", ["svd", "gram"])
def test_joint_norm_of_several_signals(spectral: str) -> None:
    """Rows I and I on signals of constants 3 and 4: 7; rows apart: from 5 to 7."""
    context = BoundContext("l2", NormSettings(spectral=spectral))
    eye = torch.eye(2, dtype=torch.float64)
    same = through_rows({0: Rows(eye, 0.0), 1: Rows(eye, 0.0)}, {0: 3.0, 1: 4.0}, context)
    assert 7.0 <= same <= 7.0 * (1 + 1e-6)
    first, second = (
        torch.diag(torch.tensor([1.0, 0.0])).double(),
        torch.diag(torch.tensor([0.0, 1.0])).double(),
    )
    apart = through_rows({0: Rows(first, 0.0), 1: Rows(second, 0.0)}, {0: 3.0, 1: 4.0}, context)
    assert 5.0 <= apart <= 7.0 * (1 + 1e-6)
    assert through_rows({0: Rows(eye, 0.0)}, {0: math.inf}, context) == math.inf
    assert through_rows({0: Rows(eye, 0.0)}, {0: 0.0}, context) < 1e-100


# --- limits ------------------------------------------------------------------------------------


def test_no_time_and_no_work_still_give_bounds() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    d = Drawing(4)
    graph = d.graph(d.matrix(b, d.relu(d.matrix(a))))
    truth = _steepest_pattern([a, b], 2)
    for settings in ({"max_work": 0.0}, {"deadline": -math.inf}, {"max_side": 1}, {}):
        found = METHODS["averaged"](fold(graph), BoundContext("l2", NormSettings(**settings)))
        assert found.value >= truth
        assert (found.pairwise() >= 0).all()
