"""The constant itself: by hand, against all patterns, and where it must not be called exact."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.exact import dominates, dominates_dual
from generators.soundness import jacobian

from lipcert.api import load
from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds.exact.halves import Quadratic, largest_corner
from lipcert.bounds.exact.signed import consistent_signs, trimmed
from lipcert.bounds.result import Constants
from lipcert.errors import UnsupportedError
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS, Activation, MaxMin, PRelu
from lipcert.operators import Convolution, Dense, Norms
from lipcert.signals import fold
from lipcert.spectral import NormSettings

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "bounds"


def exact(graph: Graph, **settings: object) -> Constants:
    return METHODS["exact"](fold(graph), BoundContext("l2", NormSettings(**settings)))


def chain(weights: Sequence[object], activation: Callable[[], Activation]) -> Graph:
    """Matrices with activations between them and biases that must not matter."""
    rng = np.random.default_rng(0)
    d = Drawing(np.shape(weights[0])[1])
    value = "x"
    for place, weight in enumerate(weights):
        value = d.add(activation(), value) if place else value
        value = d.matrix(weight, value, rng.standard_normal(len(np.asarray(weight))))
    return d.graph(value)


def relu() -> Activation:
    return ACTIVATIONS["Relu"]()


def dyadic(rng: np.random.Generator, *shape: int, low: int = -7) -> np.ndarray:
    """Quarters: their products and sums are floats."""
    return rng.integers(low, 8, shape) / 4.0


def norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))


def product_of(weights: Sequence[object]) -> np.ndarray:
    """The first matrix acts first."""
    return functools.reduce(lambda before, w: np.asarray(w) @ before, weights, np.eye(np.shape(weights[0])[1]))  # fmt: skip


def patterns(ends: Sequence[tuple[float, float]]) -> Iterator[np.ndarray]:
    return (np.asarray(slopes) for slopes in itertools.product(*ends))


def near(found: float, truth: float) -> bool:
    return truth * (1 - 1e-13) <= found <= truth * (1 + 1e-9)


# --- linear --------------------------------------------------------------------------------------


def test_linear_model_is_its_norm() -> None:
    """diag(3, 4) and a row under it."""
    d = Drawing(2)
    found = exact(d.graph(d.matrix([[3.0, 0.0], [0.0, 4.0], [0.0, 3.0]])))
    assert 5.0 <= found.value <= 5.0 * (1 + 1e-9)
    assert found.exact and found.details == "a linear model"
    assert near(found.pairwise()[0, 1], 5.0)
    assert exact(Drawing(3).graph("x")).exact


def test_sum_of_linear_branches_is_exact_and_what_cancels_is_not() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    d = Drawing(3)
    found = exact(d.graph(d.total(d.matrix(a), d.matrix(b), "x")))
    assert near(found.value, norm(a + b + np.eye(3))) and found.exact
    d = Drawing(3)
    shared = d.matrix(a)
    gone = exact(d.graph(d.total(shared, d.scaled(1e-9, "x"), d.scaled(-1.0, shared))))
    assert gone.value >= 1e-9 and not gone.exact


def test_norm_on_a_torus_is_not_called_exact() -> None:
    kernel = torch.ones(1, 1, 3, dtype=torch.float64)
    operator = Convolution(kernel, (5,), stride=(1,), dilation=(1,), pads_begin=(1,), pads_end=(1,))
    d = Drawing(1, 1, 5)
    graph = d.graph(d.add(Affine(operator), "x"))
    path = np.eye(5) + np.eye(5, k=1) + np.eye(5, k=-1)
    assert near(exact(graph).value, norm(path)) and exact(graph).exact
    coarse = exact(graph, max_side=1)
    assert coarse.value > norm(path) * (1 + 1e-6) and not coarse.exact
    assert "bounded from its parts" in coarse.details


# --- chains of nonnegative weights -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(3, 4, 2), (5, 4, 3, 2), (2, 6, 6, 6, 6, 1), (1, 3, 3, 1)])
def test_nonnegative_relu_chain_is_the_product(sizes: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = [dyadic(rng, m, n, low=0) for n, m in itertools.pairwise(sizes)]
    found = exact(chain(weights, relu))
    product = product_of(weights)
    assert dominates(found.value, product, "l2")
    assert near(found.value, norm(product)) and found.exact
    table = found.pairwise()
    for i, j in itertools.combinations(range(sizes[-1]), 2):
        assert dominates_dual(table[i, j], product[i] - product[j], "l2")


def test_by_hand() -> None:
    """[1 1]·[[3 0], [0 4]] = [3 4]; with sigmoids a quarter of it, which no one point has."""
    weights = [[[3.0, 0.0], [0.0, 4.0]], [[1.0, 1.0]]]
    found = exact(chain(weights, relu))
    assert 5.0 <= found.value <= 5.0 * (1 + 1e-9)
    assert found.exact and found.details == "nonnegative weights"
    deep = [[[3.0], [0.5]], [[1.0, 2.0], [1.0, 0.0]], [[1.0, 1.0]]]
    gentle = exact(chain(deep, ACTIVATIONS["Sigmoid"]))
    assert near(gentle.value, 7.0 / 16.0)
    assert not gentle.exact and gentle.details.endswith("no input known to be that steep")


ATTAINED = {
    "Relu": 1.0, "LeakyRelu": 1.0, "Softplus": 1.0, "Elu": 1.0, "Celu": 1.0, "Abs": 1.0,
    "Shrink": 1.0, "LogSigmoid": 1.0,
}  # fmt: skip
"""Activations that are nowhere steeper than far to one side, and that slope."""


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_steepest_slope_has_to_be_taken_by_all_neurons_at_once(name: str) -> None:
    weights = [[[1.0, 2.0], [0.5, 0.25]], [[1.0, 0.0], [2.0, 1.0]], [[0.5, 3.0]]]
    found = exact(chain(weights, ACTIVATIONS[name]))
    slope = ACTIVATIONS[name]().slopes.lipschitz
    truth = slope**2 * norm(product_of(weights))
    assert near(found.value, truth)
    assert found.exact == (name in ATTAINED or name == "Clip")


@pytest.mark.parametrize(
    ("activation", "is_exact"),
    [
        (ACTIVATIONS["Clip"](0.0, math.inf), True),
        (ACTIVATIONS["Clip"](-math.inf, 3.0), True),
        (ACTIVATIONS["Clip"](0.0, 1e30), False),
        (ACTIVATIONS["LeakyRelu"](alpha=3.0), True),
        (ACTIVATIONS["LeakyRelu"](alpha=-0.5), True),
        (ACTIVATIONS["LeakyRelu"](alpha=-2.0), False),
        (ACTIVATIONS["Selu"](alpha=1.0, gamma=2.0), True),
        (PRelu(torch.tensor([0.5, -0.5], dtype=torch.float64)), True),
        (PRelu(torch.tensor([2.0, 0.5], dtype=torch.float64)), True),
        (PRelu(torch.tensor([-2.0, 0.5], dtype=torch.float64)), False),
    ],
)
def test_where_the_steepest_slope_lies(activation: Activation, is_exact: bool) -> None:
    """Two layers deep, so that the patterns of one layer have no say."""
    weights = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0]]]
    found = exact(chain(weights, lambda: activation))
    steepest = np.broadcast_to(activation.slopes.lipschitz, 2)
    if isinstance(activation, PRelu):
        steepest = np.maximum(np.abs(activation.slope.numpy()), 1.0)
    assert near(found.value, norm(np.array([[1.0, 2.0]]) * steepest**2))
    assert found.exact == is_exact


@pytest.mark.parametrize("seed", range(8))
def test_turned_neurons(seed: int) -> None:
    """Signs of inputs, neurons and outputs turned: the same value; exact as W_1 has full rank."""
    rng = np.random.default_rng(seed)
    sizes = (6, 4, 2)
    weights = [dyadic(rng, m, n, low=1) for n, m in itertools.pairwise(sizes)]
    signs = [rng.choice([-1.0, 1.0], size) for size in sizes]
    signs[1][:2] = 1.0, -1.0
    turned = [s[:, None] * w * r for w, r, s in zip(weights, signs, signs[1:], strict=False)]
    found = exact(chain(turned, relu))
    product = weights[1] @ weights[0]
    assert dominates(found.value, product, "l2") and near(found.value, norm(product))
    assert found.exact and found.details == "nonnegative weights after turning neurons"


def test_a_pattern_that_no_input_has_is_not_exact() -> None:
    """``relu(x) − relu(−x)`` is x: all on would be 2, which is a bound but not the constant."""
    found = exact(chain([[[1.0], [-1.0]], [[1.0, -1.0]]], relu))
    assert near(found.value, 2.0) and not found.exact
    deep = exact(chain([[[1.0], [-1.0]], [[1.0, -1.0]], [[2.0]]], relu))
    assert near(deep.value, 4.0) and not deep.exact


def test_neurons_without_a_path_have_no_say() -> None:
    """One that reads nothing and one that nothing reads, both of the wrong sign."""
    first = [[1.0, 2.0], [0.0, 0.0], [-1.0, 1.0]]
    second = [[1.0, -5.0, 0.0], [2.0, 1.0, 0.0]]
    found = exact(chain([first, second, [[1.0, 1.0]]], relu))
    assert near(found.value, 3.0 * math.sqrt(5.0)) and found.exact
    kept = trimmed([torch.tensor(w, dtype=torch.float64) for w in (first, second)])
    assert not kept[0][1:].any() and not kept[1][:, 1:].any()


def test_deep_narrow_chain_of_small_and_large_layers() -> None:
    """64 layers whose scales cancel: 2^200, 2^−200, and so on."""
    rng = np.random.default_rng(0)
    weights = [dyadic(rng, 4, 4, low=1) for _ in range(64)]
    scaled = [w * 2.0 ** (200 * (-1) ** k) for k, w in enumerate(weights)]
    found = exact(chain(scaled, relu))
    product = product_of(weights)
    assert near(found.value, norm(product)) and found.exact


@pytest.mark.parametrize("seed", range(40))
def test_signs_are_found_where_there_are_any(seed: int) -> None:
    """Against all signs of a tiny sparse chain."""
    rng = np.random.default_rng(seed)
    sizes = (2, 3, 2)
    weights = [rng.integers(-1, 2, (m, n)) * 1.0 for n, m in itertools.pairwise(sizes)]
    found = consistent_signs([torch.from_numpy(w) for w in weights])
    possible = any(
        all(
            (np.asarray(s)[:, None] * w * np.asarray(r) >= 0).all()
            for w, r, s in zip(weights, signs, signs[1:], strict=False)
        )
        for signs in itertools.product(
            *(list(itertools.product((-1.0, 1.0), repeat=n)) for n in sizes)
        )
    )
    assert (found is not None) == possible
    if found is not None:
        for w, r, s in zip(weights, found, found[1:], strict=False):
            assert (s.numpy()[:, None] * w * r.numpy() == np.abs(w)).all()


# --- one hidden layer ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("inputs", "neurons", "outputs", "skip"),
    [(4, 3, 1, False), (6, 6, 3, False), (3, 6, 4, True), (2, 5, 4, False), (1, 4, 3, True),
     (5, 7, 1, True), (9, 8, 2, False)],
)  # fmt: skip
def test_all_patterns(inputs: int, neurons: int, outputs: int, skip: bool, seed: int) -> None:
    """Rational comparison with each of them, and with each difference of two outputs."""
    rng = np.random.default_rng(seed)
    w, c, s = (dyadic(rng, *shape) for shape in ((neurons, inputs), (outputs, neurons), (outputs, inputs)))  # fmt: skip
    d = Drawing(inputs)
    y = d.matrix(c, d.relu(d.matrix(w, "x", rng.standard_normal(neurons))))
    graph = d.graph(d.total(y, d.matrix(s)) if skip else y)
    found = exact(graph)
    jacobians = [(c * slopes) @ w + skip * s for slopes in patterns([(0.0, 1.0)] * neurons)]
    assert all(dominates(found.value, m, "l2") for m in jacobians)
    worst = max(map(norm, jacobians))
    assert near(found.value, worst)
    if inputs >= neurons and np.linalg.matrix_rank(w) == neurons:
        assert found.exact
    table = found.pairwise()
    for i, j in itertools.combinations(range(outputs), 2):
        differences = [m[i] - m[j] for m in jacobians]
        assert all(dominates_dual(table[i, j], row, "l2") for row in differences)
        assert near(table[i, j], max(map(np.linalg.norm, differences))) or table[i, j] < 1e-6
        assert table[i, j] == table[j, i]


def test_one_output_against_a_million_patterns() -> None:
    """Twenty neurons, a skip, and slopes of either sign."""
    rng = np.random.default_rng(5)
    w, c, s = rng.standard_normal((20, 24)), rng.standard_normal((1, 20)), rng.standard_normal(24)
    slope = torch.from_numpy(rng.uniform(-1.5, 2.0, 20))
    d = Drawing(24)
    y = d.total(d.matrix(c, d.add(PRelu(slope), d.matrix(w))), d.matrix(s[None]))
    found = exact(d.graph(y))
    low, high = np.minimum(slope.numpy(), 1.0), np.maximum(slope.numpy(), 1.0)
    bits = (np.arange(1 << 20)[:, None] >> np.arange(20)) & 1
    slopes = np.where(bits == 1, high, low)
    worst = float(np.linalg.norm((slopes * c) @ w + s, axis=1).max())
    assert near(found.value, worst)
    assert found.exact and found.details == "all patterns of 20 neurons"


@pytest.mark.parametrize("spectral", ["svd", "gram"])
def test_several_outputs_in_batches(spectral: str) -> None:
    """Fifteen leaky neurons, eight outputs: more patterns than a batch holds."""
    rng = np.random.default_rng(3)
    w, c = rng.standard_normal((15, 20)), rng.standard_normal((8, 15))
    found = exact(chain([w, c], lambda: ACTIVATIONS["LeakyRelu"](alpha=-0.25)), spectral=spectral)
    bits = (np.arange(1 << 15)[:, None] >> np.arange(15)) & 1
    weighted = c * np.where(bits == 1, 1.0, -0.25)[:, None, :]
    worst = np.linalg.eigvalsh(weighted @ (w @ w.T) @ weighted.transpose(0, 2, 1))[:, -1].max()
    assert near(found.value, math.sqrt(worst)) and found.exact


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_interval(name: str) -> None:
    """``(s·x − φ(x), φ(x))`` of two inputs: the larger end of the interval, for several s."""
    slopes = ACTIVATIONS[name]().slopes
    for s in (-1.0, 0.5, 2.0):
        d = Drawing(2)
        bent = d.add(ACTIVATIONS[name](), "x")
        y = d.total(d.placed(d.scaled(s, "x"), 0, 4), d.placed(d.scaled(-1.0, bent), 0, 4))
        graph = d.graph(d.total(y, d.placed(bent, 2, 4)))
        found = exact(graph)
        worst = max(math.hypot(s - slope, slope) for slope in (slopes.alpha, slopes.beta))
        assert near(found.value, worst)
        rng = np.random.default_rng(0)
        for x in rng.standard_normal((20, 1, 2)) * 3.0:
            assert found.value >= norm(jacobian(graph, torch.from_numpy(x)).matrix) * (1 - 1e-13)


def test_two_activations_of_the_input_are_one_layer() -> None:
    """``relu(Ax) + |Bx|``: five neurons; ``[relu(x); relu(−x)]``: never both on."""
    rng = np.random.default_rng(1)
    a, b, c, e = (dyadic(rng, *shape) for shape in ((3, 6), (2, 6), (2, 3), (2, 2)))
    d = Drawing(6)
    left = d.matrix(c, d.relu(d.matrix(a)))
    right = d.matrix(e, d.add(ACTIVATIONS["Abs"](), d.matrix(b)))
    found = exact(d.graph(d.total(left, right)))
    ends = [(0.0, 1.0)] * 3 + [(-1.0, 1.0)] * 2
    jacobians = [(c * s[:3]) @ a + (e * s[3:]) @ b for s in patterns(ends)]
    assert all(dominates(found.value, m, "l2") for m in jacobians)
    assert near(found.value, max(map(norm, jacobians))) and found.exact
    d = Drawing(2)
    y = d.total(d.placed(d.relu("x"), 0, 4), d.placed(d.relu(d.scaled(-1.0, "x")), 2, 4))
    both = exact(d.graph(y))
    assert near(both.value, math.sqrt(2.0)) and not both.exact
    assert both.details == "all patterns of 4 neurons, no input known to be that steep"


def test_x_minus_relu_has_constant_one() -> None:
    d = Drawing(3)
    found = exact(d.graph(d.total("x", d.scaled(-1.0, d.relu("x")))))
    assert 1.0 <= found.value <= 1.0 + 1e-9 and found.exact
    np.testing.assert_allclose(found.pairwise(), math.sqrt(2.0) * (1 - np.eye(3)), rtol=1e-9)


def test_idle_neurons_cost_nothing() -> None:
    """A thousand neurons, four of which are read."""
    rng = np.random.default_rng(0)
    w, c = rng.standard_normal((1000, 5)), np.zeros((2, 1000))
    c[:, :4] = rng.standard_normal((2, 4))
    d = Drawing(5)
    found = exact(d.graph(d.matrix(c, d.relu(d.matrix(w)))))
    worst = max(norm((c[:, :4] * s) @ w[:4]) for s in patterns([(0.0, 1.0)] * 4))
    assert near(found.value, worst) and found.details == "all patterns of 4 neurons"


@pytest.mark.parametrize("power", [-900, -300, 0, 300, 900])
@pytest.mark.parametrize("scale", [2.0**-400, 1.0, 2.0**400])
def test_weights_of_different_sizes(power: int, scale: float) -> None:
    """C and W scaled against each other, and a skip that dwarfs them or is dwarfed."""
    rng = np.random.default_rng(2)
    w, c, s = dyadic(rng, 4, 4), dyadic(rng, 2, 4), dyadic(rng, 2, 4)
    d = Drawing(4)
    y = d.matrix(c * 2.0**power, d.relu(d.matrix(w * 2.0**-power)))
    found = exact(d.graph(d.total(y, d.matrix(s * scale))))
    jacobians = [(c * p) @ w + s * scale for p in patterns([(0.0, 1.0)] * 4)]
    worst = max(map(norm, jacobians))
    assert worst * (1 - 1e-13) <= found.value <= worst * (1 + 1e-9)


@pytest.mark.parametrize("place", ["inner", "outer", "skip"])
def test_errors_of_stored_weights_are_added(place: str) -> None:
    """``relu(x) − 2 relu(x)``-like matrices whose true entries may be 0.1 off."""
    off = {name: Norms(0.1, 0.1, 0.1) if name == place else Norms(0, 0, 0) for name in ("inner", "outer", "skip")}  # fmt: skip
    eye = torch.eye(2, dtype=torch.float64)
    bent = torch.tensor([[1.0, 0.0], [1.0, -1.0]], dtype=torch.float64)
    d = Drawing(2)
    inner = d.relu(d.add(Affine(Dense(eye, error=off["inner"])), "x"))
    outer = d.add(Affine(Dense(bent, error=off["outer"])), inner)
    y = d.total(outer, d.add(Affine(Dense(bent, error=off["skip"])), "x"))
    true = {"inner": eye.numpy(), "outer": bent.numpy(), "skip": bent.numpy()}
    true[place] = true[place] * (1.0 + 0.1 / norm(true[place]))
    found = exact(d.graph(y))
    jacobians = [(true["outer"] * p) @ true["inner"] + true["skip"] for p in patterns([(0, 1)] * 2)]
    assert found.value >= max(map(norm, jacobians))
    assert not found.exact
    straight = Drawing(2)
    inside = straight.relu(straight.add(Affine(Dense(eye, error=off["inner"])), "x"))
    plain = exact(straight.graph(straight.matrix(np.ones((1, 2)), inside)))
    assert plain.value >= math.sqrt(2.0) * (1.1 if place == "inner" else 1.0)


# --- the largest corner --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 7, 17])
def test_largest_corner_against_all(n: int) -> None:
    rng = np.random.default_rng(n)
    rows, q = rng.standard_normal((n, n + 1)), 3.0 * rng.standard_normal(n)
    low = rng.uniform(-2.0, 0.5, n)
    high = low + rng.uniform(0.0, 2.0, n)
    form = Quadratic(*(torch.from_numpy(a) for a in (rows @ rows.T, q, low, high)))
    found = largest_corner(form, NormSettings())
    assert found is not None
    bits = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    corners = np.where(bits == 1, high, low)
    values = ((corners @ rows) ** 2).sum(1) + 2.0 * corners @ q
    assert found[0] == pytest.approx(values.max(), rel=1e-12)
    corner = found[1].numpy()
    own = ((corner @ rows) ** 2).sum() + 2.0 * corner @ q
    assert own == pytest.approx(found[0], rel=1e-12)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bounds are not here")
@pytest.mark.parametrize(
    ("seed", "truth"), list(enumerate([5.080242, 5.226307, 5.003317, 5.562465, 5.177309]))
)
def test_recorded_nets_of_32_neurons(seed: int, truth: float) -> None:
    """All 2³² patterns were listed for these."""
    found = exact(load(RECORDED / f"glipsdp_fnn2_seed{seed}.onnx"))
    assert found.exact and found.value == pytest.approx(truth, abs=6e-7)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bounds are not here")
def test_recorded_net_of_nonnegative_weights() -> None:
    found = exact(load(RECORDED / "lipsdp_random_weights.onnx"))
    assert found.exact and found.value == pytest.approx(36.48223, abs=1e-5)


# --- where there is none -------------------------------------------------------------------------


def refused(graph: Graph, **settings: object) -> None:
    with pytest.raises(UnsupportedError, match="method 'exact': has no free answer here.*auto"):
        exact(graph, **settings)


def test_other_models_are_refused() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((3, 3)) for _ in range(3))
    refused(chain([a, b, c], relu))
    d = Drawing(3)
    halves = d.add(MaxMin(), d.matrix(a), d.matrix(b), shape=(2, 3))
    refused(d.graph(halves))
    d = Drawing(50)
    wide = d.relu(d.matrix(rng.standard_normal((50, 50))))
    refused(d.graph(d.matrix(rng.standard_normal((1, 50)), wide)))
    refused(d.graph(d.matrix(rng.standard_normal((3, 50)), wide)))
    d = Drawing(3)
    first = d.relu(d.matrix(np.abs(a)))
    refused(d.graph(d.total(d.matrix(np.abs(b), d.relu(d.matrix(np.abs(c), first))), "x")))


def test_no_time_leaves_nothing_but_the_linear_model() -> None:
    weights = [[[1.0, -1.0], [1.0, 2.0]], [[1.0, 1.0]]]
    refused(chain(weights, relu), deadline=-math.inf)
    refused(chain([np.abs(w) for w in weights], relu), deadline=-math.inf)
    linear = exact(chain(weights[:1], relu), deadline=-math.inf)
    assert near(linear.value, norm(np.array(weights[0])))


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_l2_only(norm: str) -> None:
    assert "exact" not in METHODS.for_norm(norm) and "exact" in METHODS.for_norm("l2")
