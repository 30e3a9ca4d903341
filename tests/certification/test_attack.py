"""Attacks: exact on linear models, never inside a radius, as strong as foolbox, the same twice."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert.api import bound
from lipcert.certification.attack import Attacked, Attacker, AttackSettings
from lipcert.certification.balls import BALLS
from lipcert.certification.book import float32_range, wrong
from lipcert.certification.certificates import Judge
from lipcert.certification.evaluation import RoundedEvaluator
from lipcert.certification.margins import Samples
from lipcert.certification.normalization import Normalization
from lipcert.certification.runtime import Runtime
from lipcert.errors import InputError
from lipcert.head import logits_of

SAMPLE_MODELS = Path(__file__).resolve().parents[2] / "sample_models"
DUAL = {"l2": 2.0, "linf": 1.0}
NORMS = tuple(DUAL)


def saved(
    path: Path, weights: list[np.ndarray], biases: list[np.ndarray] | None = None, final: str = ""
) -> Path:
    """A chain of Gemm and Relu as a file."""
    nodes, tensors, value = [], [], "x"
    for place, weight in enumerate(weights):
        if place:
            nodes.append(helper.make_node("Relu", [value], [f"a{place}"]))
            value = f"a{place}"
        bias = np.zeros(len(weight)) if biases is None else biases[place]
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{place}"))
        tensors.append(numpy_helper.from_array(bias.astype(np.float32), f"b{place}"))
        nodes.append(
            helper.make_node("Gemm", [value, f"w{place}", f"b{place}"], [f"y{place}"], transB=1)
        )
        value = f"y{place}"
    if final:
        nodes.append(helper.make_node(final, [value], ["out"]))
        value = "out"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", weights[0].shape[1]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", weights[-1].shape[0]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def judge_of(path: Path, norm: str, normalization: Normalization | None = None) -> Judge:
    graph = lipcert.load(path)
    certified = graph if normalization is None else normalization.before(graph)
    several = graph.outputs > 1
    found = bound(
        certified, norm=norm, method="averaged", pairwise=several, logits=True, lower_seconds=0.0
    )
    return Judge(
        RoundedEvaluator(certified),
        logits_of(certified),
        np.asarray(found.pairwise if several else [[found.value]]),
        Runtime(graph, str(path), output=graph.file_output, threads=1),
        (lambda raw: raw)
        if normalization is None
        else (lambda raw: normalization.apply(raw, graph.sample_shape)),
    )


def attacked(
    judge: Judge,
    norm: str,
    eps: list[float],
    x: np.ndarray,
    y: np.ndarray,
    input_range: tuple[float, float] | None = None,
    settings: AttackSettings | None = None,
    first: int = 0,
) -> tuple[Attacked, np.ndarray]:
    """What the attack finds, and the certified radii."""
    judged = judge.judge(x, y)
    attacker = Attacker(judge, norm, eps, settings or AttackSettings(), input_range)
    found = attacker.attack(x, y, judged.predictions == y, judged.radii, first=first)
    assert found.points.dtype == np.float32 and found.points.shape == x.shape
    return found, judged.radii


def exact_square(point: np.ndarray, sample: np.ndarray) -> Fraction:
    """The squared l2 distance, in rationals."""
    pairs = zip(point.ravel().tolist(), sample.ravel().tolist(), strict=True)
    return sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs), Fraction(0))


def exact_largest(point: np.ndarray, sample: np.ndarray) -> Fraction:
    """The l-infinity distance, in rationals."""
    pairs = zip(point.ravel().tolist(), sample.ravel().tolist(), strict=True)
    return max(abs(Fraction(a) - Fraction(b)) for a, b in pairs)


def assert_sizes_are_above_the_truth(found: Attacked, x: np.ndarray, norm: str) -> None:
    for size, point, sample in zip(found.sizes, found.points, x, strict=True):
        if size == 0.0 or math.isinf(size):
            np.testing.assert_array_equal(point, sample.astype(np.float32))
        elif norm == "l2":
            square = exact_square(point, sample)
            assert square <= Fraction(float(size)) ** 2 <= square * (1 + Fraction(1, 10**9))
        else:
            largest = exact_largest(point, sample)
            assert largest <= Fraction(float(size)) <= largest * (1 + Fraction(1, 10**9))


# --- linear models: the smallest perturbation is margin over dual norm -------------------------------


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((5, 12)).astype(np.float32)
    bias = rng.standard_normal(5).astype(np.float32)
    path = saved(tmp_path_factory.mktemp("linear") / "m.onnx", [weight], [bias])
    return path, weight.astype(np.float64), bias.astype(np.float64)


def smallest_linear(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, norm: str) -> np.ndarray:
    """``min_j margin_j / ‖w_y − w_j‖_*`` of the predicted classes."""
    logits = x.astype(np.float64) @ weight.T + bias
    y = logits.argmax(1)
    gaps = logits[np.arange(len(x)), y][:, None] - logits
    rises = np.linalg.norm(weight[y][:, None] - weight[None], DUAL[norm], axis=2)
    with np.errstate(invalid="ignore"):
        ratios = gaps / rises
    ratios[np.arange(len(x)), y] = np.inf
    return ratios.min(1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_the_smallest_perturbation_of_a_linear_model(
    linear: tuple[Path, np.ndarray, np.ndarray], norm: str, kind: str
) -> None:
    path, weight, bias = linear
    x = np.random.default_rng(0).uniform(0.0, 9.0, (40, 12)).astype(kind)
    y = (x.astype(np.float64) @ weight.T + bias).argmax(1)
    found, radii = attacked(judge_of(path, norm), norm, [0.1, 1.0], x, y)
    wanted = smallest_linear(weight, bias, x, norm)
    assert (found.sizes >= wanted * (1.0 - 1e-12)).all()
    assert (found.sizes <= wanted * 1.01).all()
    assert (found.sizes >= radii).all()
    assert_sizes_are_above_the_truth(found, x, norm)
    for size, point, label in zip(found.sizes, found.points, y, strict=True):
        values = [
            sum((Fraction(a) * Fraction(float(b)) for a, b in zip(row, point, strict=True)))
            + Fraction(shift)
            for row, shift in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
        assert math.isfinite(size) and max(values) > values[label]


@pytest.mark.parametrize("norm", NORMS)
def test_perturbed_samples_stay_in_the_range(
    linear: tuple[Path, np.ndarray, np.ndarray], norm: str
) -> None:
    """For two classes the smallest perturbation inside a box is a clipped multiple of the rows'
    difference: its size follows from bisection."""
    path, weight, bias = linear
    x = np.random.default_rng(1).uniform(0.0, 1.0, (60, 12))
    x[:, :4] = x[:, :4].round()
    x = x.astype(np.float32)
    y = (x.astype(np.float64) @ weight.T + bias).argmax(1)
    found, _ = attacked(judge_of(path, norm), norm, [0.05, 0.3, 1.0, 3.0], x, y, (0.0, 1.0))
    assert found.points.min() >= 0.0 and found.points.max() <= 1.0
    wanted = np.array(
        [
            min(
                smallest_in_box(weight[j] - weight[label], weight, bias, sample, label, j, norm)
                for j in range(5)
                if j != label
            )
            for sample, label in zip(x.astype(np.float64), y, strict=True)
        ]
    )
    possible = np.isfinite(wanted)
    assert possible.sum() > 20
    assert np.isinf(found.sizes[~possible]).all()
    assert (found.sizes[possible] >= wanted[possible] * (1.0 - 1e-9)).all()
    close = found.sizes[possible] <= wanted[possible] * 1.01
    assert close.mean() > 0.95  # the nearest class may hide behind a corner


def smallest_in_box(
    row: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    sample: np.ndarray,
    label: int,
    rival: int,
    norm: str,
) -> float:
    gap = float((weight[label] - weight[rival]) @ sample + bias[label] - bias[rival])

    def moved(reach: float) -> np.ndarray:
        step = reach * (row if norm == "l2" else np.sign(row))
        return np.clip(sample + step, 0.0, 1.0) - sample

    low, high = 0.0, 1e6
    if row @ moved(high) < gap:
        return math.inf
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if row @ moved(middle) < gap else (low, middle)
    return float(np.linalg.norm(moved(high), 2 if norm == "l2" else np.inf))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("final", ["", "Sigmoid"])
def test_one_output(tmp_path: Path, norm: str, final: str) -> None:
    """Row (3, 4): distance ``|y|/5``, or ``|y|/7``; a sigmoid behind it changes nothing."""
    path = saved(tmp_path / "m.onnx", [np.array([[3.0, 4.0]])], final=final)
    x = np.array([[1.0, 1.0], [-1.0, -1.0], [0.25, 0.5], [1.0, 1.0]], np.float32)
    y = np.array([1, 0, 1, 0])
    found, _ = attacked(judge_of(path, norm), norm, [0.5, 2.0], x, y)
    wanted = np.abs(x[:3] @ [3.0, 4.0]) / {"l2": 5.0, "linf": 7.0}[norm]
    assert (found.sizes[:3] >= wanted).all() and (found.sizes[:3] <= 1.01 * wanted).all()
    assert found.sizes[3] == 0.0


@pytest.mark.parametrize("final", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_a_final_monotone_map_hides_no_gradient(tmp_path: Path, final: str) -> None:
    """Far from the boundary a softmax is flat in float32; the attack climbs the logits."""
    weight = 200.0 * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    path = saved(tmp_path / "m.onnx", [weight], final=final)
    x, y = np.array([[2.0, 1.0], [-0.3, 0.1]], np.float32), np.array([0, 2])
    plain = saved(tmp_path / "plain.onnx", [weight])
    if final == "Sigmoid":
        x *= 0.02  # so that float32 tells the two highest apart
    found, _ = attacked(judge_of(path, "l2"), "l2", [0.5, 1.0], x, y)
    bare, _ = attacked(judge_of(plain, "l2"), "l2", [0.5, 1.0], x, y)
    np.testing.assert_allclose(found.sizes, bare.sizes, rtol=2e-2)
    wanted = smallest_linear(weight, np.zeros(3), x, "l2")
    assert (found.sizes >= wanted * (1.0 - 1e-12)).all()
    assert (found.sizes <= wanted * 1.01).all()


@pytest.mark.parametrize("norm", NORMS)
def test_sizes_are_in_the_units_of_the_data(
    linear: tuple[Path, np.ndarray, np.ndarray], norm: str
) -> None:
    """``z = (x − 4)/8`` before the model: rows are divided by 8."""
    path, weight, bias = linear
    x = np.random.default_rng(2).uniform(-9.0, 9.0, (20, 12)).astype(np.float32)
    rows, shift = weight / 8.0, bias - weight.sum(1) * 0.5
    y = (x.astype(np.float64) @ rows.T + shift).argmax(1)
    judge = judge_of(path, norm, Normalization((4.0,), (8.0,)))
    found, _ = attacked(judge, norm, [1.0], x, y)
    wanted = smallest_linear(rows, shift, x, norm)
    assert (found.sizes >= wanted * (1.0 - 1e-9)).all()
    assert (found.sizes <= wanted * 1.01).all()
    assert_sizes_are_above_the_truth(found, x, norm)


def test_wrong_predictions_have_size_zero(linear: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, weight, bias = linear
    x = np.random.default_rng(4).uniform(0.0, 1.0, (10, 12)).astype(np.float32)
    y = (x @ weight.T + bias).argmax(1)
    y[::2] = (y[::2] + 1) % 5
    found, _ = attacked(judge_of(path, "l2"), "l2", [0.5], x, y)
    assert (found.sizes[::2] == 0.0).all() and (found.sizes[1::2] > 0.0).all()
    np.testing.assert_array_equal(found.points[::2], x[::2])
    everything_wrong, _ = attacked(judge_of(path, "l2"), "l2", [0.5], x[::2], y[::2])
    assert (everything_wrong.sizes == 0.0).all()


# --- where gradients or float32 mislead ---------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_dead_units_get_a_random_direction(tmp_path: Path, norm: str) -> None:
    """Logits (1/2, relu(x₀ − 1) + relu(−x₀ − 1)): no gradient at 0, another class from 1.5 on."""
    first = np.array([[1.0, 0.0], [-1.0, 0.0]])
    last = np.array([[0.0, 0.0], [1.0, 1.0]])
    biases = [np.array([-1.0, -1.0]), np.array([0.5, 0.0])]
    path = saved(tmp_path / "m.onnx", [first, last], biases)
    x, y = np.zeros((6, 2), np.float32), np.zeros(6, np.int64)
    found, _ = attacked(judge_of(path, norm), norm, [2.0], x, y)
    assert (found.sizes >= 1.5).all() and (found.sizes <= 1.515).all()


def test_a_class_that_cannot_be_changed(tmp_path: Path) -> None:
    rows = np.array([[1.0, 0.0], [1.0, 0.0]])
    path = saved(tmp_path / "m.onnx", [rows], [np.array([0.0, 1.0])])
    x, y = np.array([[5.0, 3.0]], np.float32), np.array([1])
    found, _ = attacked(judge_of(path, "linf"), "linf", [0.1, 10.0], x, y)
    assert np.isinf(found.sizes).all() and not found.rounded.any()
    np.testing.assert_array_equal(found.points, x)


def test_float32_rounding_is_told_and_not_taken_for_success(tmp_path: Path) -> None:
    """Logits ((x + 10⁸) − 10⁸, 1): float32 sees x in steps of 8, real arithmetic does not."""
    path = saved(
        tmp_path / "m.onnx",
        [np.array([[1.0]]), np.array([[1.0], [0.0]])],
        [np.array([1e8]), np.array([-1e8, 1.0])],
    )
    judge = judge_of(path, "l2")
    x, y = np.array([[9.0], [9.0]], np.float32), np.array([0, 0])
    attacker = Attacker(judge, "l2", [6.5], AttackSettings())
    found = attacker.attack(x, y, np.array([True, True]), np.array([7.9, 1.0]), first=0)
    assert found.rounded.tolist() == [True, False]
    assert (found.sizes >= 8.0).all()


def test_what_is_provably_wrong(linear: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, weight, bias = linear
    judge = judge_of(path, "l2")
    x = np.random.default_rng(5).uniform(-1.0, 1.0, (30, 12)).astype(np.float32)
    y = (x.astype(np.float64) @ weight.T + bias).argmax(1)
    assert not wrong(judge, x, y).any()
    assert wrong(judge, x, (y + 1) % 5).all()
    tie = np.zeros((1, 12), np.float32)
    level = saved(path.parent / "level.onnx", [weight], [np.zeros(5)])
    assert not any(wrong(judge_of(level, "l2"), tie, np.array([k])).any() for k in range(5))


# --- options -------------------------------------------------------------------------------------------


def test_refusals(linear: tuple[Path, np.ndarray, np.ndarray]) -> None:
    judge = judge_of(linear[0], "l2")
    for norm, eps, settings in [
        ("l1", [0.1], AttackSettings()),
        ("l2", [], AttackSettings()),
        ("l2", [0.1], AttackSettings(steps=0)),
        ("l2", [0.1], AttackSettings(restarts=-1)),
    ]:
        with pytest.raises(InputError, match="--attack"):
            Attacker(judge, norm, eps, settings)


def test_size_zero_alone_attacks_nothing(linear: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, weight, bias = linear
    x = np.random.default_rng(6).uniform(0.0, 1.0, (4, 12)).astype(np.float32)
    y = (x @ weight.T + bias).argmax(1)
    found, _ = attacked(judge_of(path, "l2"), "l2", [0.0], x, y)
    assert np.isinf(found.sizes).all()


def test_ranges_are_narrowed_to_float32() -> None:
    low, high = float32_range((0.1, 0.7))
    assert Fraction(low) >= Fraction(0.1) and Fraction(high) <= Fraction(0.7)
    assert low == float(np.float32(low)) and high == float(np.float32(high))
    assert float32_range((0.0, 1.0)) == (0.0, 1.0)
    assert float32_range(None) == (-math.inf, math.inf)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_measured_sizes_are_never_below_the_exact_ones(norm: str, scale: float) -> None:
    delta = scale * np.random.default_rng(7).standard_normal((20, 33))
    for size, row in zip(BALLS[norm].size_up(delta, 2.0**-53), delta, strict=True):
        if norm == "l2":
            assert Fraction(float(size)) ** 2 >= exact_square(row, np.zeros(33))
        else:
            assert Fraction(float(size)) >= exact_largest(row, np.zeros(33))
    assert BALLS[norm].size_up(np.zeros((2, 3)), 0.0).tolist() == [0.0, 0.0]


# --- determinism ---------------------------------------------------------------------------------------


def test_random_numbers_belong_to_a_sample_wherever_it_is() -> None:
    def noise(first: int, stop: int, seed: int = 0, key: tuple[int, ...] = (1, 2)) -> np.ndarray:
        samples = Samples(
            torch.zeros(stop - first, 5, dtype=torch.float64),
            torch.zeros(stop - first, dtype=torch.int64),
            np.arange(first, stop),
            seed,
        )
        return samples.noise(*key).numpy()

    np.testing.assert_array_equal(noise(0, 9)[4:7], noise(4, 7))
    assert not np.array_equal(noise(0, 9), noise(0, 9, seed=1))
    assert not np.array_equal(noise(0, 9), noise(0, 9, key=(1, 3)))
    assert len(np.unique(noise(0, 9))) == 45


def test_the_same_result_twice_and_on_shards() -> None:
    judge, x, y = sample_model("digits_relu_mlp", "l2", 48)
    settings = AttackSettings(steps=30, restarts=2)
    whole, _ = attacked(judge, "l2", [0.2, 0.5], x, y, settings=settings)
    again, _ = attacked(judge, "l2", [0.2, 0.5], x, y, settings=settings)
    np.testing.assert_array_equal(whole.sizes, again.sizes)
    np.testing.assert_array_equal(whole.points, again.points)
    parts = [
        attacked(judge, "l2", [0.2, 0.5], x[a : a + 16], y[a : a + 16], settings=settings, first=a)[
            0
        ]
        for a in (32, 0, 16)
    ]
    sharded = np.concatenate([parts[1].sizes, parts[2].sizes, parts[0].sizes])
    np.testing.assert_allclose(sharded, whole.sizes, rtol=1e-2)


def test_no_global_state_is_touched() -> None:
    judge, x, y = sample_model("digits_relu_mlp", "linf", 8)
    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    attacked(judge, "linf", [0.05], x, y, settings=AttackSettings(steps=5))
    assert torch.equal(torch_before, torch.random.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])


# --- the sample models ---------------------------------------------------------------------------------

CASES = {
    "digits_relu_mlp": ("digits_test.npz", 200),
    "digits_lip_mlp": ("digits_test.npz", 60),
    "digits_lip_conv": ("digits_test_images.npz", 20),
}
SIZES = {"l2": [0.1, 0.25, 0.5, 1.0], "linf": [0.01, 0.03, 0.06, 0.1]}


@cache
def sample_model(name: str, norm: str, count: int) -> tuple[Judge, np.ndarray, np.ndarray]:
    with np.load(SAMPLE_MODELS / CASES[name][0]) as file:
        x, y = file["x"][:count], file["y"][:count]
    return judge_of(SAMPLE_MODELS / f"{name}.onnx", norm), x, y


@cache
def sample_attack(name: str, norm: str) -> tuple[Attacked, np.ndarray]:
    judge, x, y = sample_model(name, norm, CASES[name][1])
    return attacked(judge, norm, SIZES[norm], x, y, (0.0, 1.0))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", CASES)
def test_no_attack_succeeds_inside_a_radius(name: str, norm: str) -> None:
    found, radii = sample_attack(name, norm)
    judge, x, y = sample_model(name, norm, CASES[name][1])
    assert (found.sizes >= radii).all()
    assert_sizes_are_above_the_truth(found, x, norm)
    changed = (found.sizes > 0.0) & np.isfinite(found.sizes)
    assert changed.sum() > 0.8 * len(x)
    assert found.points.min() >= 0.0 and found.points.max() <= 1.0
    session = onnxruntime.InferenceSession(
        str(SAMPLE_MODELS / f"{name}.onnx"), providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(None, {session.get_inputs()[0].name: found.points[changed]})
    assert (logits.argmax(1) != y[changed]).all()
    values = judge.graph.evaluate(torch.from_numpy(found.points[changed].astype(np.float64)))
    assert (values.argmax(1).numpy() != y[changed]).all()


@pytest.mark.parametrize(
    ("name", "norm", "factor"),
    [
        ("digits_relu_mlp", "l2", 10.0),
        ("digits_relu_mlp", "linf", 100.0),
        ("digits_lip_mlp", "l2", 10.0),
        ("digits_lip_conv", "l2", 10.0),
    ],
)
def test_unsound_constants_are_caught(name: str, norm: str, factor: float) -> None:
    judge, x, y = sample_model(name, norm, CASES[name][1])
    unsound = replace(judge, pairwise=judge.pairwise / factor)
    settings = AttackSettings(steps=20, restarts=1)
    found, radii = attacked(unsound, norm, SIZES[norm][:2], x[:20], y[:20], settings=settings)
    assert (found.sizes < radii).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", CASES)
def test_as_strong_as_foolbox(name: str, norm: str) -> None:
    """Left by the attack at each ε: not 1% of the samples more than by the best of foolbox's."""
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    judge, x, y = sample_model(name, norm, CASES[name][1])
    found, _ = sample_attack(name, norm)

    class Module(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return judge.graph.evaluate(batch)

    model = foolbox.PyTorchModel(Module().eval(), bounds=(0, 1), device="cpu")
    correct = found.sizes > 0.0
    batch = torch.from_numpy(x[correct].astype(np.float64))
    labels = torch.from_numpy(y[correct])
    rivals = {
        "l2": [
            foolbox.attacks.L2PGD(steps=50),
            foolbox.attacks.L2DeepFoolAttack(steps=50),
            foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=3, steps=60, stepsize=0.02),
        ],
        "linf": [foolbox.attacks.LinfPGD(steps=40), foolbox.attacks.LinfDeepFoolAttack(steps=50)],
    }[norm]
    broken = np.zeros((len(SIZES[norm]), len(labels)), dtype=bool)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for rival in rivals:
            _, _, success = rival(model, batch, labels, epsilons=SIZES[norm])
            broken |= success.numpy()
    for size, theirs in zip(SIZES[norm], broken, strict=True):
        left = int(np.count_nonzero(found.sizes > size))
        assert left <= int(np.count_nonzero(~theirs)) + 0.01 * len(x), size
