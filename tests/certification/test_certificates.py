"""Radii by hand, what must have radius 0, and attacks that must not succeed inside a radius."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert.certification.certificates import count_certified, parse_eps
from lipcert.errors import InputError, LipcertError, UnboundedError
from lipcert.spectral import NORMS

FANS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=np.float32)
"""Three classes whose rows differ by √2 and 2."""


def saved(
    path: Path,
    weights: list[np.ndarray],
    *,
    biases: list[np.ndarray] | None = None,
    activation: str = "Relu",
    final: str = "",
    batch: int | str = "N",
) -> str:
    """A chain of Gemm and activation as a file; returns its path."""
    nodes, tensors, value = [], [], "x"
    for place, weight in enumerate(weights):
        if place:
            nodes.append(helper.make_node(activation, [value], [f"a{place}"]))
            value = f"a{place}"
        names = [value, f"w{place}"]
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{place}"))
        if biases is not None:
            tensors.append(numpy_helper.from_array(biases[place].astype(np.float32), f"b{place}"))
            names.append(f"b{place}")
        nodes.append(helper.make_node("Gemm", names, [f"y{place}"], transB=1))
        value = f"y{place}"
    if final:
        nodes.append(helper.make_node(final, [value], ["out"]))
        value = "out"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, weights[0].shape[1]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [batch, weights[-1].shape[0]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def radii(path: str, x: object, y: object, norm: str = "l2", **options: object) -> np.ndarray:
    data = (np.asarray(x, dtype=np.float32), np.asarray(y))
    return lipcert.certify(path, data, norm=norm, **options).radii


# --- by hand -------------------------------------------------------------------------------------


def test_radius_of_a_linear_model(tmp_path: Path) -> None:
    """Logits (2, 1, −2): margins 1 and 4, constants √2 and 2, so the radius is 1/√2, from below."""
    path = saved(tmp_path / "m.onnx", [FANS])
    (radius,) = radii(path, [[2.0, 1.0]], [0])
    assert 2 * Fraction(float(radius)) ** 2 <= 1
    assert math.isclose(radius, 1.0 / math.sqrt(2.0), rel_tol=1e-12)
    assert math.isclose(radii(path, [[2.0, 1.0]], [0], "linf")[0], 0.5, rel_tol=1e-12)
    assert math.isclose(radii(path, [[2.0, 1.0]], [0], "l1")[0], 1.0, rel_tol=1e-12)
    assert radii(path, [[2.0, 1.0]], [0], "linf")[0] <= 0.5
    assert radii(path, [[2.0, 1.0]], [0], "l1")[0] <= 1.0


def test_the_nearest_class_decides_and_not_the_second_best(tmp_path: Path) -> None:
    """Runner-up at margin 1 with constant 10; third at margin 1.5 with constant 100."""
    rows = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 100.0]], dtype=np.float32)
    shift = [np.array([0.0, -1.0, -1.5], dtype=np.float32)]
    path = saved(tmp_path / "m.onnx", [rows], biases=shift)
    (radius,) = radii(path, [[0.0, 0.0]], [0])
    assert math.isclose(radius, 1.5 / 100.0, rel_tol=1e-12) and radius <= 0.015


def test_ties_and_wrong_predictions_have_radius_zero(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [FANS])
    found = lipcert.certify(
        path,
        (
            np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 0.0], [-1.0, 0.0]], np.float32),
            np.array([0, 1, 0, 2]),
        ),
        eps=[0.0],
    )
    assert found.radii[:3].tolist() == [0.0, 0.0, 0.0]
    assert found.radii[3] > 0.0
    assert found.clean_correct == 3  # the ties are predicted as their first class
    assert found.certified[0].count == 1
    assert found.clean_correct >= found.certified[0].count


def test_certified_means_strictly_above(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [FANS])
    data = (np.array([[2.0, 1.0]], np.float32), np.array([0]))
    radius = float(lipcert.certify(path, data).radii[0])
    below = math.nextafter(radius, 0.0)
    counts = lipcert.certify(path, data, eps=[below, radius, math.nextafter(radius, 1.0)]).certified
    assert [entry.count for entry in counts] == [1, 0, 0]


def test_count_certified_is_exact() -> None:
    found = count_certified(np.array([0.0, 0.1, 0.1, math.inf]), [(0.0, "0"), (0.1, "0.1")])
    assert [(entry.count, entry.eps_text) for entry in found] == [(3, "0"), (1, "0.1")]


def test_constant_differences_cannot_be_changed(tmp_path: Path) -> None:
    """Logits (x, x + 1): the second always wins, by any perturbation."""
    rows = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    path = saved(tmp_path / "m.onnx", [rows], biases=[np.array([0.0, 1.0], np.float32)])
    found = radii(path, [[5.0, 3.0]], [1])
    assert found[0] > 1e12  # the margin over what rounding may hide


# --- one logit, and heads ----------------------------------------------------------------------------


@pytest.mark.parametrize("final", ["", "Sigmoid"])
def test_binary_logit(tmp_path: Path, final: str) -> None:
    """Row (3, 4): radius |y|/5; a sigmoid behind it changes nothing."""
    path = saved(tmp_path / "m.onnx", [np.array([[3.0, 4.0]], np.float32)], final=final)
    found = radii(path, [[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]], [1, 0, 0, 1])
    np.testing.assert_allclose(found[:2], [1.4, 1.4], rtol=1e-12)
    assert (found[:2] <= 1.4).all()
    assert found[2:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("final", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_final_monotone_map_is_stripped(tmp_path: Path, final: str) -> None:
    plain = saved(tmp_path / "plain.onnx", [FANS])
    topped = saved(tmp_path / "topped.onnx", [FANS], final=final)
    x, y = [[2.0, 1.0], [-0.3, 0.1], [0.2, 0.9]], [0, 2, 1]
    for norm in NORMS:
        np.testing.assert_array_equal(radii(plain, x, y, norm), radii(topped, x, y, norm))


# --- normalisation -----------------------------------------------------------------------------------


def test_normalisation_is_folded_so_radii_are_in_data_units(tmp_path: Path) -> None:
    """``z = (x − mean)/std`` per channel: the rows are divided by std."""
    path = saved(tmp_path / "m.onnx", [FANS])
    mean, std = np.array([0.5, 0.25]), np.array([0.5, 0.125])
    x = np.array([[0.75, 0.3125]], np.float32)  # z = (0.5, 0.5) … a tie of classes 0 and 1
    tie = radii(path, x, [0], normalize="mean=0.5,0.25,std=0.5,0.125")
    assert tie.tolist() == [0.0]
    z = np.array([[2.0, 1.0]])
    x = (z * std + mean).astype(np.float32)
    (found,) = radii(path, x, [0], normalize="mean=0.5,0.25,std=0.5,0.125")
    rows = FANS / std
    wanted = min(1.0 / np.linalg.norm(rows[0] - rows[1]), 4.0 / np.linalg.norm(rows[0] - rows[2]))
    assert math.isclose(found, wanted, rel_tol=1e-12) and found <= wanted
    options = lipcert.Normalization((0.5, 0.25), (0.5, 0.125))
    assert radii(path, x, [0], normalize=options)[0] == found


def test_one_standard_deviation_scales_all_radii(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [FANS])
    x = np.array([[2.0, 1.0], [-1.0, 0.25]], np.float32)
    plain = radii(path, x, [0, 2])
    scaled = radii(path, 0.25 * x + 0.5, [0, 2], normalize="mean=0.5,std=0.25")
    np.testing.assert_allclose(scaled, 0.25 * plain, rtol=1e-12)


# --- batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["N", 1, 10])
@pytest.mark.parametrize("samples", [1, 9, 10, 23])
def test_any_batch_dimension_gives_the_same_radii(
    tmp_path: Path, batch: int | str, samples: int
) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((6, 4)), rng.standard_normal((3, 6))]
    x = rng.standard_normal((samples, 4)).astype(np.float32)
    free = saved(tmp_path / "free.onnx", weights)
    fixed = saved(tmp_path / "fixed.onnx", weights, batch=batch)
    y = np.arange(samples) % 3
    wanted = lipcert.certify(free, (x, y))
    found = lipcert.certify(fixed, (x, y))
    np.testing.assert_array_equal(found.predictions, wanted.predictions)
    np.testing.assert_allclose(found.radii, wanted.radii, rtol=1e-12)
    assert found.samples == samples


def test_more_samples_than_one_pass(tmp_path: Path) -> None:
    """Sample 300 is judged like sample 0."""
    path = saved(tmp_path / "m.onnx", [FANS])
    x = np.tile(np.array([[2.0, 1.0]], np.float32), (600, 1))
    found = radii(path, x, np.zeros(600, dtype=np.int64))
    assert len(set(found.tolist())) == 1 and len(found) == 600


# --- attacks -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray, np.ndarray]:
    """A net of two hidden layers trained for a moment on three overlapping rings."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    angle = rng.uniform(0, 2 * np.pi, 300)
    size = 0.7 + 0.8 * y + 0.25 * rng.standard_normal(300)
    x = np.stack((size * np.cos(angle), size * np.sin(angle)), 1).astype(np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(2, 16),
            torch.nn.ReLU(),
            torch.nn.Linear(16, 16),
            torch.nn.ReLU(),
            torch.nn.Linear(16, 3),
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
            loss.backward()
            optimizer.step()
    layers = [net[0], net[2], net[4]]
    path = saved(
        tmp_path_factory.mktemp("trained") / "rings.onnx",
        [layer.weight.detach().numpy() for layer in layers],
        biases=[layer.bias.detach().numpy() for layer in layers],
    )
    return path, x, y


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["autolip", "averaged", "auto"])
def test_no_attack_succeeds_inside_a_radius(
    trained: tuple[str, np.ndarray, np.ndarray], norm: str, method: str
) -> None:
    """Gradient ascent on the nearest margins from random starts, projected into the ball."""
    path, x, y = trained
    found = lipcert.certify(path, (x, y), norm=norm, method=method)
    assert found.clean_correct > 240 and np.count_nonzero(found.radii) == found.clean_correct
    graph = lipcert.load(path)
    kept = found.radii > 0.0
    centre, labels = torch.from_numpy(x[kept]).double(), torch.from_numpy(y[kept])
    radius = torch.from_numpy(found.radii[kept])[:, None]
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        step = torch.randn(centre.shape, dtype=torch.float64, generator=generator)
        for _ in range(12):
            step = _onto_sphere(step, radius, norm)
            moved = (centre + step).requires_grad_()
            margins = _margins(graph.evaluate(moved), labels)
            assert bool((margins > 0.0).all())
            (gradient,) = torch.autograd.grad(margins.sum(), moved)
            step = step - radius * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-30)


def _onto_sphere(step: torch.Tensor, radius: torch.Tensor, norm: str) -> torch.Tensor:
    order = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[norm]
    size = torch.linalg.vector_norm(step, order, dim=1, keepdim=True).clamp(min=1e-30)
    return step / size * radius * (1.0 - 1e-12)


def _margins(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    right = logits.gather(1, labels[:, None])
    others = logits.masked_fill(torch.nn.functional.one_hot(labels, 3).bool(), -math.inf)
    return right[:, 0] - others.amax(1)


def test_radii_are_not_vacuous(trained: tuple[str, np.ndarray, np.ndarray]) -> None:
    """Some of the samples can be moved to another class by a few times their radius."""
    path, x, y = trained
    found = lipcert.certify(path, (x, y))
    graph = lipcert.load(path)
    generator = torch.Generator().manual_seed(1)
    kept = found.radii > 0.0
    radius = torch.from_numpy(found.radii[kept])[:, None]
    flipped = torch.zeros(int(kept.sum()), dtype=torch.bool)
    for _ in range(50):
        step = torch.randn(len(flipped), 2, dtype=torch.float64, generator=generator)
        moved = torch.from_numpy(x[kept]).double() + _onto_sphere(step, 30.0 * radius, "l2")
        flipped |= graph.evaluate(moved).argmax(1) != torch.from_numpy(y[kept])
    assert int(flipped.sum()) > 30


def test_pairwise_radii_are_never_below_those_of_the_bound(
    trained: tuple[str, np.ndarray, np.ndarray],
) -> None:
    path, x, y = trained
    found = lipcert.certify(path, (x, y))
    plain = found.margins / (math.sqrt(2.0) * found.bound.value)
    correct = found.predictions == y
    assert (found.radii[correct] >= plain[correct] * (1.0 - 1e-9)).all()


# --- ε -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("36/255", Fraction(36, 255)),
        ("0.1", Fraction(1, 10)),
        ("0", Fraction(0)),
        ("1e-2", Fraction(1, 100)),
        (" 8 / 255 ", Fraction(8, 255)),
        ("3", Fraction(3)),
        ("1e-400", Fraction(1, 10**400)),
        ("-0", Fraction(0)),
    ],
)
def test_eps_is_rounded_upward(text: str, exact: Fraction) -> None:
    found = parse_eps(text)
    assert Fraction(found) >= exact
    assert found == 0.0 or Fraction(math.nextafter(found, 0.0)) < exact


@pytest.mark.parametrize(
    "text",
    ["", "x", "1/0", "nan", "inf", "-1", "-1/255", "1/2/3", "1e999", "--5", "0x10", "1/nan", "½"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_eps(text)


# --- refusals ----------------------------------------------------------------------------------------


def test_model_without_a_finite_bound_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["s"]), helper.make_node("Add", ["s", "x"], ["y"])],
        "square",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    path = tmp_path / "square.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    with pytest.raises(UnboundedError, match="Mul"):
        lipcert.certify(str(path), (np.ones((2, 3), np.float32), np.zeros(2, np.int64)))


def test_samples_that_depend_on_each_other_are_noticed(tmp_path: Path) -> None:
    """A mean over the batch: ONNX Runtime's batch outputs are not those of single samples."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    path = tmp_path / "mixed.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    with pytest.raises(LipcertError):
        lipcert.certify(str(path), (x, np.zeros(5, np.int64)))


# --- scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("final", ["", "Sigmoid"])
def test_scores_of_one_output(tmp_path: Path, final: str) -> None:
    """f(x) = 3x − 1 on four samples: radii |f|/3, MCR and AUROC by hand, whatever the sigmoid."""
    path = saved(
        tmp_path / "m.onnx",
        [np.array([[3.0]])],
        biases=[np.array([-1.0])],
        final=final,
    )
    x = np.array([[1.0], [0.5], [0.0], [2.0]], dtype=np.float32)
    found = lipcert.certify(path, (x, np.array([1, -1, -1, 1])), eps=["0", "0.2", "0.3"])
    assert found.scores is not None
    np.testing.assert_allclose(found.scores.values, [2.0, 0.5, -1.0, 5.0], rtol=1e-12)
    np.testing.assert_allclose(found.scores.signed_radii, [2 / 3, -1 / 6, 1 / 3, 5 / 3], rtol=1e-12)
    np.testing.assert_allclose(found.radii, [2 / 3, 0.0, 1 / 3, 5 / 3], rtol=1e-12)
    assert (found.radii <= [2 / 3, 0.0, 1 / 3, 5 / 3]).all()
    assert math.isclose(found.scores.mcr, (2 - 0.5 + 1 + 5) / 12, rel_tol=1e-12)
    assert found.scores.mcr <= (2 - 0.5 + 1 + 5) / 12
    # pairs differ by 1.5, 3, 4.5 and 6; an attack of ε moves them by 6ε
    assert [entry.value for entry in found.scores.auroc] == [1.0, 1.0, 0.75]


def test_several_outputs_have_no_scores(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [FANS])
    assert lipcert.certify(path, (np.ones((1, 2), np.float32), np.array([0]))).scores is None
