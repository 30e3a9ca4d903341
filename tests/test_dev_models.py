"""Real models: the development models beside the checkout, skipped visibly when they are not there.

LIPCERT_DEV_MODELS names their folder when it is elsewhere.
"""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import lipcert
from lipcert.bounds import BoundContext
from lipcert.bounds.relaxation import Part, relax
from lipcert.conic.feasibility import is_feasible, proven_multipliers
from lipcert.conic.hkm import solve
from lipcert.conic.reference import reference_solution
from lipcert.signals import fold

FOLDER = Path(
    os.environ.get("LIPCERT_DEV_MODELS", Path(__file__).resolve().parent.parent.parent / "shared")
)
HERE = (FOLDER / "MANIFEST.csv").exists()
pytestmark = pytest.mark.skipif(not HERE, reason="the development models are not here")

QUICK = (
    "mnist-net_256x2",
    "ffnnSIGMOID__Point_6x200",
    "mnist5x20_leaky_relu",
    "yizhak_net",
    "tanh_test",
    "mnist-8",
    "Convnet_avgpool",
    "lenet_regulized",
    "mlp_L5_W64",
    "cifar_base_kw",
    "marabou_cifar10_small_tf",
)
SHARE = 100
"""Samples on which slow models are compared with ONNX Runtime."""


def rows(file: str) -> list[dict[str, str]]:
    if not HERE:
        return []
    with (FOLDER / file).open() as table:
        return list(csv.DictReader(table))


def model(name: str) -> Path:
    return FOLDER / "models" / f"{name}.onnx"


def inference(path: Path, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    size = entry.shape[0] if isinstance(entry.shape[0], int) else len(x)
    batches = [x[start : start + size] for start in range(0, len(x), size)]
    return np.concatenate([session.run(None, {entry.name: batch})[0] for batch in batches])


@pytest.mark.parametrize("row", rows("MANIFEST.csv"), ids=lambda row: row["file"])
def test_outputs_and_accuracy(row: dict[str, str]) -> None:
    graph = lipcert.load(FOLDER / "models" / row["file"])
    if row["data_file"]:
        data = np.load(FOLDER / "data" / row["data_file"])
        x, labels = data["x"], data["y"]
        assert len(x) == int(row["n_samples"])
    else:
        x = np.random.default_rng(0).normal(size=(SHARE, *graph.sample_shape)).astype(np.float32)
        labels = None
    deployed = inference(FOLDER / "models" / row["file"], x)
    if labels is not None:
        accuracy = float(np.mean(deployed.argmax(1) == labels))
        assert accuracy == pytest.approx(float(row["clean_accuracy"]), abs=1e-12)
    share = x[:SHARE].reshape(-1, *graph.sample_shape)
    ours = graph.evaluate(torch.from_numpy(share.astype(np.float64))).numpy()
    scale = np.abs(deployed).max()
    assert np.abs(ours - deployed[:SHARE]).max() <= 1e-5 * scale
    decided = ours.argmax(1) == deployed[:SHARE].argmax(1)
    assert decided.all()


@pytest.mark.parametrize("name", QUICK)
def test_bound_is_not_below_the_steepest_slope(name: str) -> None:
    found = lipcert.bound(model(name), lower_seconds=0.5)
    assert found.is_finite
    assert found.value >= found.lower > 0.0
    if not found.exact:
        assert found.methods["averaged"] <= found.methods["autolip"]
        assert found.value == min(found.methods.values())


@pytest.mark.parametrize(
    ("name", "autolip"), [("mnist-net_256x2", 839.2579), ("mnist5x20_leaky_relu", 3.77848e6)]
)
def test_known_products(name: str, autolip: float) -> None:
    found = lipcert.bound(model(name), method="autolip", lower_seconds=0.0)
    assert found.value == pytest.approx(autolip, rel=1e-6)


def test_linear_model_is_exact() -> None:
    found = lipcert.bound(model("yizhak_net"))
    assert 1.0 <= found.ratio <= 1.0 + 1e-8


def test_attention_has_no_finite_bound() -> None:
    found = lipcert.bound(model("vit_pgd_2_3_16"), lower_seconds=0.0)
    assert math.isinf(found.value)
    assert found.obstacle is not None
    assert found.obstacle.onnx_type == "MatMul"
    with pytest.raises(lipcert.UnboundedError, match="MatMul"):
        lipcert.certify(model("vit_pgd_2_3_16"), FOLDER / "data" / "cifar10_nchw_s2023.npz")


@pytest.mark.parametrize("row", rows("bounds/BOUNDS.csv"), ids=lambda row: row["file"])
def test_nets_of_known_constants(row: dict[str, str]) -> None:
    path = FOLDER / "bounds" / row["file"]
    plain = lipcert.bound(path, method="autolip", lower_seconds=0.0)
    assert plain.value == pytest.approx(float(row["autolip"]), rel=1e-6)
    found = lipcert.bound(path, method="lipsdp", lower_seconds=0.2)
    assert found.value <= float(row["lipsdp_neuron"]) * (1 + 1e-5)
    assert found.value >= float(row["exact_or_lower"] or 0.0)
    assert plain.value >= found.value >= found.lower
    if row["note"].startswith("exact"):  # its constant to seven digits, by enumeration
        exact = lipcert.bound(path, method="exact", lower_seconds=0.0)
        assert exact.exact
        assert exact.value == pytest.approx(float(row["exact_or_lower"]), rel=2e-7)
        assert exact.value <= found.value


@pytest.mark.parametrize(
    "row",
    [row for row in rows("bounds/BOUNDS.csv") if "eclipse" not in row["file"]],
    ids=lambda row: row["file"],
)
def test_a_generic_solver_agrees_or_is_infeasible(row: dict[str, str]) -> None:
    """SCS to 1e-4; an answer of it below the proven optimum fails the proof."""
    form = fold(lipcert.load(FOLDER / "bounds" / row["file"]))
    problem = relax([Part(form)], BoundContext("l2"))
    scaled = problem.scaled(problem.start)
    own = solve(scaled, tolerance=1e-8)
    unit = float(scaled.unit[0])
    y, _ = proven_multipliers(scaled, own.y, own.halfway.y)
    assert is_feasible(scaled.problem, y)
    optimum = math.sqrt(float(y[0]) * unit)
    for eps in (1e-5, 1e-6):
        other = reference_solution(problem, solver="scs", eps=eps)
        assert other.status == "optimal"
        value = math.sqrt(float(other.y[0]))
        if eps == 1e-6:
            assert value == pytest.approx(optimum, rel=1e-4)
        if value < math.sqrt(own.lower * unit):
            assert not is_feasible(problem, other.y)


@pytest.mark.parametrize(
    ("name", "optimum"),
    [
        ("mnist-net_256x2", 312.4161),
        ("mnist5x20_leaky_relu", 277744.28),
        ("mlp_L5_W64", 18.522948),
        ("tanh_test", 28.39247),
    ],
)
def test_lipsdp_optima(name: str, optimum: float) -> None:
    """Optima that solvers agree on.

    The second is that of the slopes that the file has, [0.1, 1]; with [0.01, 1] it is 320760.1.
    """
    found = lipcert.bound(model(name), method="lipsdp", lower_seconds=0.2, time_limit=600.0)
    assert found.value == pytest.approx(optimum, rel=1e-5)
    assert found.value >= found.lower > 0.0


def test_pairs_of_outputs_are_below_the_root_of_two() -> None:
    found = lipcert.bound(model("mlp_L5_W64"), method="lipsdp", pairwise=True, time_limit=600.0)
    assert found.pairwise is not None
    table = np.asarray(found.pairwise)
    assert 0.5 * found.value < table[~np.eye(len(table), dtype=bool)].min()
    assert table.max() < 1.25 * found.value


def test_a_large_model_is_not_above_the_averaged_bound() -> None:
    found = lipcert.bound(model("cifar_base_kw"), method="lipsdp", time_limit=20.0)
    averaged = lipcert.bound(model("cifar_base_kw"), method="averaged", lower_seconds=0.0)
    assert found.lower <= found.value <= averaged.value * (1 + 1e-9)
    assert found.details["lipsdp"]
