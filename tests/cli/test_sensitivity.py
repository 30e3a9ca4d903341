"""``lipcert sensitivity``: bounds, the check against true gradients, noise, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from lipcert.sensitivities import analysis

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_models"
MODEL, DATA = SAMPLES / "digits_relu_mlp.onnx", SAMPLES / "digits_test.npz"
CE = ("--loss", "cross-entropy")
PRIVACY = ("--batch-size", "64", "--dataset-size", "1347", "--delta", "1e-5", "--epochs", "2")


def found(run: Run, *words: object) -> dict[str, Any]:
    result = run("sensitivity", MODEL, *words, "--format", "json")
    assert result.exit_code == 0, result.stderr
    record: dict[str, Any] = json.loads(result.stdout)
    path = ROOT / "docs" / "schemas" / "sensitivity.schema.json"
    Draft202012Validator(json.loads(path.read_text())).validate(record)
    return record


def test_bounds_of_every_parameter(run: Run) -> None:
    record = found(run, *CE, "--input-bound", "pixels")
    assert record["input_bound"] == pytest.approx(8.0) and record["is_private"]
    names = {one["name"] for layer in record["layers"] for one in layer["parameters"]}
    assert names == {one["name"] for one in record["parameters"]} and len(names) >= 4
    assert 0 < record["global"] <= record["plain"]
    for layer in record["layers"]:
        assert layer["X"] > 0 and layer["G"] > 0
        assert all(one["delta"] <= record["global"] for one in layer["parameters"])
    assert record["truth"] is None and "epsilon" not in record


def test_a_search_within_the_norms_of_the_data(run: Run) -> None:
    words = (*CE, "--input-bound", "data", "--data", DATA, "--first", "10", "--search", "3")
    truth = found(run, *words)["truth"]
    assert 0 < truth["searched"]["ratio"] <= 1


@pytest.mark.parametrize("bound", ["pixels", "clip:2", "data", "8"])
def test_no_true_gradient_is_above_its_bound(run: Run, bound: str) -> None:
    record = found(run, *CE, "--input-bound", bound, "--data", DATA, "--first", "60")
    truth = record["truth"]
    assert truth["samples"] == 60 and record["is_private"] == (bound != "data")
    for one in (truth["total"], *truth["layers"], *truth["parameters"]):
        assert 0 <= one["norm"] <= one["bound"]
    assert truth["total"]["ratio"] > 1e-4


def test_a_search_comes_nearer(run: Run) -> None:
    words = (*CE, "--input-bound", "pixels", "--data", DATA, "--first", "20", "--search", "15")
    truth = found(run, *words)["truth"]
    assert truth["total"]["norm"] < truth["searched"]["norm"] <= truth["searched"]["bound"]


def test_noise_and_epsilon(run: Run) -> None:
    pytest.importorskip("dp_accounting")
    words = (*CE, "--input-bound", "pixels", *PRIVACY)
    known = found(run, *words, "--noise-multiplier", "1.5", "--accountant", "rdp")
    assert known["noise_multiplier"] == 1.5 and 0 < known["epsilon"] < 50
    for layer in known["accounting"]["layers"]:
        assert layer["standard_deviation"] == pytest.approx(1.5 * known["global"], rel=1e-9)
    sought = found(run, *words, "--target-epsilon", str(known["epsilon"]), "--accountant", "rdp")
    assert sought["noise_multiplier"] == pytest.approx(1.5, rel=1e-3)
    assert sought["epsilon"] <= known["epsilon"]


def test_every_format(run: Run) -> None:
    words = ("sensitivity", MODEL, *CE, "--input-bound", "data", "--data", DATA, "--first", "5")
    for name in ("text", "markdown"):
        result = run(*words, "--format", name)
        assert result.exit_code == 0, result.stderr
        told = " ".join(result.stdout.split())
        assert "no privacy guarantee" in told and "truth / Δ" in told
        assert "Gemm" in told and "proved in real arithmetic" in told


REFUTED = ("sensitivity", MODEL, *CE, "--input-bound", "pixels", "--data", DATA, "--first", "9")


@pytest.fixture
def too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds a thousandth of what they should be: the gradients of the data contradict them."""
    honest = analysis.sensitivities

    def wrong(*words: Any, **options: Any) -> Any:
        found = honest(*words, **options)
        return replace(found, global_delta=found.global_delta / 1000.0)

    monkeypatch.setattr(analysis, "sensitivities", wrong)


@pytest.mark.usefixtures("too_small")
def test_a_gradient_above_its_bound_is_an_error_with_a_witness(run: Run, tmp_path: Path) -> None:
    report, witness = tmp_path / "result.json", tmp_path / "witness.npz"
    words = (*REFUTED, "--report", f"json={report}", "--witness", witness)
    result = run(*words)
    assert (result.exit_code, result.stdout) == (6, "") and not report.exists()
    assert "all parameters: the gradient norm" in result.stderr
    assert "please report it with the witness and the model" in result.stderr
    assert f"the witness is in {witness}" in " ".join(result.stderr.split())
    with np.load(witness) as found, np.load(DATA) as data:
        index = int(found["index"])
        assert np.array_equal(found["x"][0].reshape(-1), data["x"][index].reshape(-1))
        assert found["y"].tolist() == [data["y"][index]]
        assert found["norm"] - found["rounding"] > found["bound"] > 0.0
        assert (str(found["kind"]), str(found["name"])) == ("total", "all parameters")
        assert "cross-entropy" in str(found["loss"]) and found["model_input"].shape == (1, 64)
    before = witness.read_bytes()
    quiet = run(*words, "--quiet")
    assert quiet.exit_code == 6 and "witness-1.npz" in quiet.stderr
    assert witness.read_bytes() == before and (tmp_path / "witness-1.npz").exists()


@pytest.mark.usefixtures("too_small")
def test_a_witness_that_cannot_be_written_hides_nothing(run: Run, tmp_path: Path) -> None:
    result = run(*REFUTED, "--witness", tmp_path / "nowhere" / "witness.npz")
    assert (result.exit_code, result.stdout) == (6, "")
    told = " ".join(result.stderr.split())
    assert "all parameters: the gradient norm" in told and "the witness is lost" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--input-bound", "1"], "--loss, --loss-lipschitz: exactly one is needed"),
        ([*CE, "--loss-lipschitz", "1", "--input-bound", "1"], "exactly one is needed"),
        ([*CE], "--input-bound: is missing"),
        ([*CE, "--input-bound", "many"], "--input-bound many: is not a positive number"),
        ([*CE, "--input-bound", "data"], "--input-bound data: needs the data; pass --data"),
        (["--loss", "mse", "--input-bound", "1"], "the largest norm of a target is not given"),
        (["--loss", "cross-entropie", "--input-bound", "1"], "did you mean cross-entropy?"),
        (["--loss", "cross-entropy,tau=3", "--input-bound", "1"], "without saying where it stands"),
        ([*CE, "--input-bound", "1", "--delta", "1e-5"], "neither noise nor ε is given"),
        (
            [*CE, "--input-bound", "1", "--target-epsilon", "1", "--batch-size", "5"],
            "--dataset-size: is missing",
        ),
        (
            [*CE, "--input-bound", "1", "--data", str(DATA)],
            "--data, sample 0: lies outside the input set",
        ),
        ([*CE, "--input-bound", "1", "--frozen", "nothing"], "nothing"),
        ([*CE, "--input-bound", "1", "--search", "5"], "--search: needs samples to start from"),
    ],
)
def test_what_is_refused(run: Run, words: list[str], told: str) -> None:
    result = run("sensitivity", MODEL, *words)
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert told in result.stderr


def test_a_model_that_cannot_be_bounded(run: Run, unbounded: Path) -> None:
    result = run("sensitivity", unbounded, "--loss-lipschitz", "1", "--input-bound", "1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "node" in result.stderr
