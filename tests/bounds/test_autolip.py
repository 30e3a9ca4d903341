"""AutoLip by hand: products along chains, joint operators where signals meet, pairwise rows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.exact import dominates_dual
from generators.methods import applied, excess

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds.autolip import pairwise_constants
from lipcert.bounds.combine import combine
from lipcert.bounds.result import Constants
from lipcert.bounds.rows import Rows
from lipcert.graph import Graph
from lipcert.nonlinear import ACTIVATIONS, Product
from lipcert.operators import Composed, Dense, Indexing, identity
from lipcert.signals import fold
from lipcert.spectral import NORMS, NormSettings

ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}
RNG = np.random.default_rng(1)


def autolip(graph: Graph, norm: str) -> Constants:
    return METHODS["autolip"](fold(graph), BoundContext(norm))


def dense(weight: object) -> Dense:
    return Dense(torch.as_tensor(np.asarray(weight), dtype=torch.float64))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"Abs"}))
def test_chain_is_the_product_of_norms_and_slopes(name: str, norm: str) -> None:
    a, b = RNG.standard_normal((5, 4)), RNG.standard_normal((3, 5))
    d = Drawing(4)
    y = d.matrix(b, d.add(ACTIVATIONS[name](), d.matrix(a)))
    slope = ACTIVATIONS[name]().slopes.lipschitz
    truth = slope * np.linalg.norm(a, ORDERS[norm]) * np.linalg.norm(b, ORDERS[norm])
    found = autolip(d.graph(y), norm)
    assert truth * (1 - 1e-13) <= found.value <= truth * (1 + 1e-9)
    assert found.signals[1] >= slope * np.linalg.norm(a, ORDERS[norm]) * (1 - 1e-13)


def test_dyadic_chain_is_exact_to_a_few_neighbours() -> None:
    """l1 and linf of integers: 7 · 1 · 9."""
    d = Drawing(2)
    y = d.matrix([[4.0, 5.0]], d.relu(d.matrix([[3.0, -4.0], [1.0, 2.0]])))
    assert 63.0 <= autolip(d.graph(y), "linf").value <= 63.0 * (1 + 1e-13)


def test_two_signals_meet_in_a_joint_operator() -> None:
    """``relu(x) + W abs(x)``: at most ``‖[I W]‖ √2``, and never above ``1 + ‖W‖``."""
    w = np.array([[0.0, 1.0], [-1.0, 0.0]])
    d = Drawing(2)
    y = d.total(d.relu("x"), d.matrix(w, d.add(ACTIVATIONS["Abs"](), "x")))
    found = autolip(d.graph(y), "l2").value
    assert found <= 2.0 * (1 + 1e-9)
    diagonal = Drawing(2)
    first = diagonal.matrix([[1.0, 0.0], [0.0, 0.0]], diagonal.relu("x"))
    second = diagonal.matrix([[0.0, 0.0], [0.0, 1.0]], diagonal.add(ACTIVATIONS["Abs"](), "x"))
    apart = autolip(diagonal.graph(diagonal.total(first, second)), "l2").value
    assert 1.0 <= apart <= math.sqrt(2.0) * (1 + 1e-9)


# --- combine -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("norm", NORMS)
def test_combine_covers_the_worst_signals(seed: int, norm: str) -> None:
    """Against the worst z_j: ``Σ A_j z_j`` with ``z_j = ℓ_j u_j x`` for chosen isometries."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((3, 3)) for _ in range(3)]
    constants = dict(enumerate(np.abs(rng.standard_normal(3)) + 0.1))
    found = combine({j: dense(w) for j, w in enumerate(weights)}, constants, BoundContext(norm))
    total = sum(
        c * np.linalg.norm(w, ORDERS[norm])
        for w, c in zip(weights, constants.values(), strict=True)
    )
    assert found <= total * (1 + 1e-9)
    worst = 0.0
    for _ in range(60):
        signs = [np.diag(rng.choice([-1.0, 1.0], 3))[rng.permutation(3)] for _ in range(3)]
        whole = sum(c * w @ s for w, s, c in zip(weights, signs, constants.values(), strict=True))
        worst = max(worst, float(np.linalg.norm(whole, ORDERS[norm])))
    if norm == "l2":  # for l2 every isometry is allowed: align the top singular vectors
        u = [np.linalg.svd(w) for w in weights]
        whole = sum(
            c * w @ (v[2].T @ np.linalg.svd(weights[0])[2])
            for w, v, c in zip(weights, u, constants.values(), strict=True)
        )
        worst = max(worst, float(np.linalg.norm(whole, 2)))
    assert found >= worst * (1 - 1e-13)


def test_combine_sees_operators_that_write_apart() -> None:
    top = Indexing(torch.tensor([0, 1, -1, -1]), (2,))
    bottom = Indexing(torch.tensor([-1, -1, 0, 1]), (2,))
    constants = {0: 3.0, 1: 4.0}
    terms = {0: top, 1: Composed((bottom, dense(np.eye(2))))}
    assert 5.0 <= combine(terms, constants, BoundContext("l2")) <= 5.0 * (1 + 1e-9)
    assert 4.0 <= combine(terms, constants, BoundContext("linf")) <= 4.0 * (1 + 1e-9)
    assert 7.0 <= combine(terms, constants, BoundContext("l1")) <= 7.0 * (1 + 1e-9)
    overlapping = {0: top, 1: Indexing(torch.tensor([-1, 0, 1, -1]), (2,))}
    assert combine(overlapping, constants, BoundContext("linf")) >= 7.0


def test_combine_keeps_infinity_and_lets_zero_annihilate_it() -> None:
    constants = {0: 1.0, 1: math.inf}
    terms = {0: identity((2,)), 1: dense(np.eye(2) * 1e-300)}
    for norm in NORMS:
        assert combine(terms, constants, BoundContext(norm)) == math.inf
        nothing = {0: identity((2,)), 1: Indexing(torch.tensor([-1, -1]), (2,))}
        assert combine(nothing, constants, BoundContext(norm)) == 1.0


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e-90, 1e90, 1e150])
def test_combine_of_small_and_large_operators(scale: float) -> None:
    """Two halves of an identity times a number: the truth is between ‖·‖ and the sum."""
    half = dense(np.full((2, 2), scale))
    for spectral in ("svd", "gram"):
        context = BoundContext("l2", NormSettings(spectral=spectral))
        found = combine({0: half, 1: half}, {0: 1.0, 1: 1.0}, context)
        assert 4.0 * scale <= found <= 4.0 * scale * (1 + 1e-9)


# --- pairwise ------------------------------------------------------------------------------------


def test_pairwise_constants_of_a_linear_map_are_row_differences() -> None:
    """Rows (1,0), (0,1), (−1,0): √2, 2 and √2; in linf their l1 norms, in l1 their largest entry."""
    d = Drawing(2)
    graph = d.graph(d.matrix([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    wanted = {
        "l2": [[0, math.sqrt(2), 2], [math.sqrt(2), 0, math.sqrt(2)], [2, math.sqrt(2), 0]],
        "linf": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
        "l1": [[0, 1, 2], [1, 0, 1], [2, 1, 0]],
    }
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    for norm, table in wanted.items():
        for method, constants in applied(fold(graph), BoundContext(norm)).items():
            found = constants.pairwise()
            np.testing.assert_allclose(found, table, rtol=1e-4 * excess(method))
            for i in range(3):
                for j in range(3):
                    assert dominates_dual(float(found[i, j]), rows[i] - rows[j], norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-170, 1e-160, 1.0, 1e150, 1e200])
def test_pairwise_constants_of_small_and_large_rows(scale: float, norm: str) -> None:
    rows = RNG.integers(-5, 6, (3, 4)) * scale
    rows[2] = 1e-3 * rows[2]
    d = Drawing(4)
    for constants in applied(fold(d.graph(d.matrix(rows))), BoundContext(norm)).values():
        found = constants.pairwise()
        for i in range(3):
            for j in range(i):
                difference = [
                    Fraction(float(a)) - Fraction(float(b))
                    for a, b in zip(rows[i], rows[j], strict=True)
                ]
                value = float(found[i, j])
                if value == math.inf:
                    continue
                exact = Fraction(value)
                if norm == "l2":
                    assert exact**2 >= sum(x * x for x in difference)
                else:
                    sizes = [abs(x) for x in difference]
                    assert exact >= (sum(sizes) if norm == "linf" else max(sizes))


def test_small_differences_beside_large_rows_are_not_lost() -> None:
    """Two rows of 1e-170 beside one of 1: their difference is below what a square can hold."""
    matrix = torch.tensor([[1.0, 1.0], [1e-170, 0.0], [0.0, 1e-170]], dtype=torch.float64)
    for norm in NORMS:
        found = pairwise_constants({0: Rows(matrix, 0.0)}, {0: 1.0}, norm)
        assert found[1, 2] >= 1e-170


def test_pairwise_constants_that_vanish_stay_above_the_truth() -> None:
    """1e-170 · 1e-170 is no float: the constant must not become 0, nor the radius infinite."""
    matrix = torch.tensor([[1e-170], [0.0]], dtype=torch.float64)
    for norm in NORMS:
        assert pairwise_constants({0: Rows(matrix, 0.0)}, {0: 1e-170}, norm)[0, 1] > 0.0


@pytest.mark.parametrize("seed", range(6))
def test_pairwise_is_not_above_root_two_of_the_bound_on_chains(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = Drawing(4)
    y = d.matrix(rng.standard_normal((5, 6)), d.relu(d.matrix(rng.standard_normal((6, 4)))))
    form = fold(d.graph(y))
    for norm, factor in (("l2", math.sqrt(2.0)), ("linf", 2.0), ("l1", 1.0)):
        for method, found in applied(form, BoundContext(norm)).items():
            assert found.pairwise().max() <= factor * found.value * (1 + excess(method))


# --- no finite constant --------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_product_of_signals_is_infinite_everywhere(norm: str) -> None:
    d = Drawing(3)
    gated = d.add(Product("Mul", ""), "x", d.matrix(np.eye(3)))
    form = fold(d.graph(d.matrix(np.ones((2, 3)), gated)))
    for found in applied(form, BoundContext(norm)).values():
        assert found.value == math.inf
        assert np.isinf(found.pairwise()[0, 1])
    unread = fold(d.graph(d.matrix(np.ones((2, 3)), "x")))
    for found in applied(unread, BoundContext(norm)).values():
        assert math.isfinite(found.value)


@pytest.mark.parametrize("norm", NORMS)
def test_overflow_is_infinite_and_not_a_number_never_finite(norm: str) -> None:
    for weight in (1e200, math.inf, math.nan):
        d = Drawing(2)
        square = np.array([[weight, 0.0], [1.0, 1.0]])
        y = d.matrix(square, d.relu(d.matrix(square)))
        for found in applied(fold(d.graph(y)), BoundContext(norm)).values():
            assert found.value == math.inf
            assert not np.isnan(found.pairwise()).any()


def test_norms_are_found_once() -> None:
    context = BoundContext("l2")
    operator = dense(np.eye(3))
    assert context.norm_of(operator) is context.norm_of(operator)
    for norm in NORMS:
        assert BoundContext(norm).gain_of(operator) >= 1.0
