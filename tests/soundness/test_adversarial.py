"""Models made to be certified wrongly: ties, numbers of every size, float32 against the reals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from attacking import radii_of, sessions
from making import f32, model, network, node

from lipcert.checker.certificates import judged
from lipcert.checker.exact import CheckError
from lipcert.checker.float32 import CURVE
from lipcert.checker.positive import Refuted
from lipcert.checker.proof import Checker
from lipcert.checker.samples import forward, rows_of
from lipcert.proof.proving import network_claims


def checked(content: bytes, *, proved: bool = True) -> Checker:
    """A checker that knows what the prover could prove."""
    made = network(content)
    claims = network_claims(made, made.logits, pairs=True, time_limit=5.0).claims if proved else ()
    checker = Checker(network(content))
    checker.run(list(claims))
    return checker


def layers(*weights: np.ndarray, biases: tuple[np.ndarray, ...] = (), kind: str = "Relu") -> bytes:
    nodes, held, at = [], {}, "x"
    for k, weight in enumerate(weights):
        last = k == len(weights) - 1
        held[f"w{k}"] = f32(weight)
        inputs = [at, f"w{k}"]
        if biases:
            held[f"b{k}"] = f32(biases[k])
            inputs.append(f"b{k}")
        nodes.append(node("Gemm", inputs, ["y" if last else f"v{k}"]))
        if not last:
            nodes.append(node(kind, [f"v{k}"], [f"h{k}"]))
            at = f"h{k}"
    return model(nodes, held, ["n", len(weights[0])])


def steepest_exact(weights: tuple[np.ndarray, ...], x: np.ndarray) -> list[list[Fraction]]:
    """The Jacobian of layers with rectifiers, in rationals, at a point that is one."""
    matrices = [[[Fraction(float(v)) for v in row] for row in f32(w)] for w in weights]
    at = [Fraction(float(v)) for v in x]
    jacobian = [[Fraction(int(i == j)) for j in range(len(at))] for i in range(len(at))]
    for k, matrix in enumerate(matrices):
        columns = range(len(matrix[0]))
        at = [sum(at[i] * matrix[i][j] for i in range(len(matrix))) for j in columns]
        jacobian = [
            [sum(row[i] * matrix[i][j] for i in range(len(matrix))) for j in columns]
            for row in jacobian
        ]
        if k < len(matrices) - 1:
            on = [v > 0 for v in at]
            at = [v if keep else Fraction(0) for v, keep in zip(at, on, strict=True)]
            jacobian = [
                [v if keep else Fraction(0) for v, keep in zip(row, on, strict=True)]
                for row in jacobian
            ]
    return jacobian


def is_below(jacobian: list[list[Fraction]], constant: Fraction) -> bool:
    """No slope along a row, a column or the leading direction is above the constant, exactly."""
    directions = [
        [Fraction(int(i == j)) for j in range(len(jacobian))] for i in range(len(jacobian))
    ]
    scale = max((abs(v) for row in jacobian for v in row), default=Fraction(0))
    if scale:
        near = np.array([[float(v / scale) for v in row] for row in jacobian])
        directions.append([Fraction(float(v)) for v in np.linalg.svd(near)[0][:, 0]])
    for u in directions:
        along = [sum(u[i] * jacobian[i][j] for i in range(len(u))) for j in range(len(jacobian[0]))]
        if sum(v * v for v in along) > constant**2 * sum(v * v for v in u):
            return False
    return True


SIZES = [1.0, 1e-5, 1e-30, 1e30, 1e-38, 1e-42, 3e37]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_weights_of_every_size_are_bounded_from_above(size, seed):
    """The bound is above the exact Jacobian; denormal weights are numbers like others."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(4, 5)) * size, rng.normal(size=(5, 3))
    for weights in ((first, second), (first, second / size)):
        with np.errstate(over="ignore"):
            if not np.isfinite(f32(weights[1])).all():
                continue
        content = layers(*weights)
        try:
            checker = checked(content)
        except (CheckError, Refuted):
            checker = checked(content, proved=False)
        constant = checker.proved("y")
        assert constant > 0
        for _ in range(4):
            assert is_below(steepest_exact(weights, rng.normal(size=4)), constant)


@pytest.mark.parametrize("scale", [2.0**40, 2.0**-20, 1e20])
def test_scaled_pairs_of_layers_keep_their_bound(scale):
    rng = np.random.default_rng(7)
    first, second = f32(rng.normal(size=(4, 6))), f32(rng.normal(size=(6, 3)))
    plain = checked(layers(first, second)).proved("y")
    pair = f32(first * np.float32(scale)), f32(second / np.float32(scale))
    scaled = checked(layers(*pair)).proved("y")
    assert float(scaled / plain) == pytest.approx(1.0, rel=1e-5)
    for _ in range(4):
        assert is_below(steepest_exact(pair, rng.normal(size=4)), scaled)


def test_ties_have_no_radius():
    """Equal logits, by equal columns, by symmetry, and by a dead layer."""
    column = np.array([[1.0], [2.0]])
    cases = [
        (layers(np.hstack([column, column])), [1.0, 1.0]),
        (layers(np.eye(2)), [3.0, 3.0]),
        (layers(-np.ones((2, 3)), np.ones((3, 3))), [1.0, 1.0]),
        (layers(column), [0.0, 0.0]),
    ]
    for content, x in cases:
        radii = radii_of(checked(content, proved=False), f32([x]))
        assert radii.real[0] == 0.0
        assert radii.float32[0] == 0.0


def test_nearly_ties_have_a_radius_below_the_distance():
    content = layers(np.eye(2))
    for step in (2.0**-23, 2.0**-10):
        x = f32([[1.0 + step, 1.0]])
        radii = radii_of(checked(content), x)
        assert 0.0 < radii.real[0] < step / np.sqrt(2.0)


@pytest.mark.parametrize("size", [1e30, 1e36])
def test_what_overflows_in_float32_has_no_radius_there(size):
    """1e30 times 1e30 is a number among the reals."""
    content = layers(np.eye(2) * size, np.eye(2) * size)
    radii = radii_of(checked(content, proved=False), f32([[3.0, 1.0]]))
    assert radii.real[0] > 0.5
    assert radii.float32[0] == 0.0
    with np.errstate(all="ignore"):
        outputs = sessions(content)[0].run(None, {"x": f32([[3.0, 1.0]])})[0]
    assert not np.isfinite(outputs).all()


def test_what_underflows_in_float32_has_no_radius_there():
    content = layers(np.eye(2) * 1e-30, np.eye(2) * 1e-30)
    radii = radii_of(checked(content, proved=False), f32([[3.0, 1.0]]))
    assert radii.real[0] > 0.5
    assert radii.float32[0] == 0.0
    assert (sessions(content)[0].run(None, {"x": f32([[3.0, 1.0]])})[0] == 0.0).all()


def swallowing(bias: float, kind: str) -> bytes:
    """``x + bias − bias``, which float32 does not give back where the bias is huge."""
    first, back = np.full(2, bias), np.array([-bias, -bias])
    eye = np.eye(2)
    return layers(eye, eye, biases=(first, back), kind=kind)


@pytest.mark.parametrize("kind", ["Relu", "LeakyRelu", "Abs"])
@pytest.mark.parametrize("bias", [2.0**26, 2.0**40, 1e30])
def test_biases_that_swallow_bits_are_certified_among_the_reals_alone(bias, kind):
    """A counterexample: real arithmetic certifies, and every float32 runtime says the other class."""
    content = swallowing(bias, kind)
    x = f32([[0.25, 1.0]])
    radii = radii_of(checked(content, proved=False), x)
    if bias < 1e30:  # beyond, the checker's own 56 bits end
        assert radii.classes[0] == 1
        assert radii.real[0] > 0.5
    assert radii.float32[0] == 0.0
    for session in sessions(content):
        assert session.run(None, {"x": x})[0].argmax() == 0


@pytest.mark.parametrize("count", [64, 1000])
def test_sums_in_the_worst_order_stay_within_what_is_left(count):
    """A large summand first, then small ones one by one: each is lost, whatever the class."""
    weights = np.zeros((count + 1, 2))
    weights[0] = 2.0**24, 2.0**24
    weights[1:, 1] = 1.0
    content = layers(weights)
    x = np.ones((1, count + 1), dtype=np.float32)
    checker = checked(content)
    radii = radii_of(checker, x)
    assert radii.classes[0] == 1
    assert radii.real[0] > 0.5
    total = np.float32(0.0)
    for product in (x[0] * f32(weights)[:, 1]).tolist():
        total = np.float32(total + np.float32(product))
    assert total == np.float32(2.0**24)  # the other class's logit: a tie
    assert radii.float32[0] == 0.0
    _, left, _ = judged(checker, x, "float32", radii.real)
    assert left.min() == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_differences_of_large_numbers_are_not_certified_in_float32(seed):
    """Random cancellations: wherever float32 is certified, ONNX Runtime agrees."""
    rng = np.random.default_rng(seed)
    held = checkeds = 0
    for power in range(8, 26, 2):
        big = rng.normal(size=(3, 4)) * 2.0**power
        weights = np.vstack([big, -big + rng.normal(size=(3, 4))])
        content = layers(weights)
        half = rng.normal(size=(30, 3))
        x = f32(np.hstack([half, half]))
        radii = radii_of(checked(content), x)
        classes = sessions(content)[0].run(None, {"x": x})[0].argmax(1)
        sure = radii.float32 > 0.0
        assert (classes[sure] == radii.classes[sure]).all()
        held += int(sure.sum())
        checkeds += int((radii.real > 0.0).sum())
    assert 0 < held < checkeds


def normalised(gamma: float, variance: float, alpha: float = 1.0) -> bytes:
    weights = {
        "g": f32([gamma, gamma]),
        "b": f32([0.0, 0.0]),
        "m": f32([0.0, 0.0]),
        "v": f32([variance, variance]),
        "w": f32(np.eye(2)),
    }
    nodes = [
        node("BatchNormalization", ["x", "g", "b", "m", "v"], ["h"], epsilon=0.0),
        node("Gemm", ["h", "w"], ["y"], alpha=alpha),
    ]
    return model(nodes, weights, ["n", 2])


@pytest.mark.parametrize(
    ("gamma", "variance", "alpha"), [(1e30, 1e38, 1.0), (1e-30, 1e-38, 1.0), (1.0, 1.0, 1e30)]
)
def test_what_a_runtime_may_lose_on_the_way_is_not_certified_in_float32(gamma, variance, alpha):
    """Factors whose order a runtime chooses, and what underflows between them."""
    content = normalised(gamma, variance, alpha)
    x = f32([[2.0, 1.0]])
    checker = checked(content, proved=False)
    _, behind, slope = judged(checker, x, "real", np.zeros(1))
    assert (behind > 0.0).any() and (slope > 0.0).all()
    with pytest.raises(CheckError):
        judged(checker, x, "float32", np.zeros(1))
    plain = checked(normalised(1.5, 2.0), proved=False)
    assert judged(plain, x, "float32", np.zeros(1))[1].min() > 0.0


def test_what_overflows_inside_a_normalisation_is_not_certified_in_float32():
    """``(x · 2^39) · 2^-39`` is infinite in float32 for x = 2^100."""
    content = normalised(2.0**-39, 2.0**-78)
    x = f32([[0.0, 2.0**100]])
    with np.errstate(over="ignore"):
        assert np.isinf(x[0, 1] * np.float32(2.0**39))
    radii = radii_of(checked(content, proved=False), x)
    assert radii.real[0] > 0.0
    assert radii.float32[0] == 0.0
    small = radii_of(checked(content, proved=False), x * np.float32(2.0**-100))
    assert small.float32[0] > 0.0


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh"])
def test_curves_of_a_runtime_are_as_near_as_they_are_taken_to_be(kind):
    content = model([node(kind, ["x"], ["y"])], {}, ["n", 1])
    x = np.concatenate([np.linspace(-20.0, 20.0, 400_001), np.geomspace(1e-30, 1e30, 10_001)])
    x = np.concatenate([x, -x]).astype(np.float32)[:, None]
    wide = x.astype(np.float64)
    with np.errstate(over="ignore"):
        true = np.tanh(wide) if kind == "Tanh" else 1.0 / (1.0 + np.exp(-wide))
    for session in sessions(content):
        assert np.abs(session.run(None, {"x": x})[0] - true).max() < 0.5 * CURVE
    after = [node(kind, ["x"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    made = network(model(after, {"w": f32([[1.0]])}, ["n", 1]))
    for at in x[::4001]:
        rows = forward(made, rows_of(at[None]))["h"]
        where = np.flatnonzero(x[:, 0] == at[0])[0]
        off = abs(np.ldexp(float(rows.mantissa[0, 0]), rows.exponent) - true[where, 0])
        assert off <= rows.radius[0] < 1e-12


def test_what_underflows_inside_a_normalisation_is_not_certified_in_float32():
    """``(x · 2^-39) · 2^39`` is zero in float32 for x = 2^-112."""
    content = normalised(2.0**39, 2.0**78)
    x = f32([[0.0, 2.0**-112]])
    assert np.float32(x[0, 1] * np.float32(2.0**-39)) * np.float32(2.0**39) == 0.0
    radii = radii_of(checked(content, proved=False), x)
    assert radii.real[0] > 0.0
    assert radii.float32[0] == 0.0


@pytest.mark.parametrize("alpha", [-3.0, 0.0, 1.0, 7.0])
def test_slopes_of_leaky_rectifiers_outside_of_one(alpha):
    eye = np.eye(2)
    nodes = [
        node("LeakyRelu", ["x"], ["h"], alpha=alpha),
        node("MatMul", ["h", "w"], ["y"]),
    ]
    content = model(nodes, {"w": f32(eye)}, ["n", 2])
    constant = checked(content).proved("y")
    assert constant >= Fraction(max(1.0, abs(alpha)))
    assert float(constant) <= max(1.0, abs(alpha)) * (1.0 + 1e-6)


def test_runtimes_agree_that_the_counterexample_is_one():
    """What the deployed model says at a sample that real arithmetic certifies."""
    content = swallowing(2.0**26, "Relu")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"x": f32([[0.25, 1.0]])})[0]
    assert outputs[0, 0] == outputs[0, 1]
