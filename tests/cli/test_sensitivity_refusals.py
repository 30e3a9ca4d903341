"""What ``lipcert sensitivity`` refuses: why, what to do about it, the exit code, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from generators.small_models import Step, onnx_model

Run = Callable[..., Any]
CE = ("--loss", "cross-entropy")
ONE = ("--input-bound", "1")
MATRIX = np.arange(12.0).reshape(4, 3) / 12.0
DENSE: Step = ("Gemm", ["x", "w", "b"], "y")
HIDDEN: Step = ("Gemm", ["x", "w", "b"], "h")
AFFINE = {"w": MATRIX, "b": np.ones(3)}
STATISTICS = {"g": np.ones(3), "c": np.ones(3), "m": np.zeros(3), "v": np.ones(3)}
TRAINING = ("BatchNormalization", ["h", "g", "c", "m", "v"], "y", {"training_mode": 1})
CLIPPED: list[Step] = [("Clip", ["x", "low", "high"], "k"), ("Gemm", ["k", "w", "b"], "y")]
MODELS: dict[str, tuple[list[Step], dict[str, Any]]] = {
    "dense": ([DENSE], AFFINE),
    "single": ([DENSE], {"w": MATRIX[:, :1], "b": np.ones(1)}),
    "training": ([HIDDEN, TRAINING], AFFINE | STATISTICS),
    "exponential": ([HIDDEN, ("Exp", ["h"], "y")], AFFINE),
    "product": ([HIDDEN, ("Mul", ["h", "h"], "y")], AFFINE),
    "clipped": (CLIPPED, AFFINE | {"low": -1.0, "high": 1.0}),
}
X = np.linspace(-0.2, 0.2, 24, dtype=np.float32).reshape(6, 4)
BROKEN = X.copy()
BROKEN[3, 1] = np.nan
Y = np.arange(6) % 3
DATA = {
    "good": {"x": X, "y": Y},
    "beyond": {"x": X, "y": Y + 5},
    "narrow": {"x": X[:, :3], "y": Y},
    "broken": {"x": BROKEN, "y": Y},
    "scores": {"x": X, "y": np.eye(3)[Y]},
    "fractions": {"x": X, "y": Y + 0.5},
}


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Exit code and error, with hints, of a model of MODELS and words; a file of DATA by name."""

    def invoke(model: str, *words: str) -> tuple[int, str]:
        onnx.save(onnx_model(*MODELS[model], [1, 4]), tmp_path / f"{model}.onnx")
        for name, arrays in DATA.items():
            np.savez(tmp_path / f"{name}.npz", **arrays)
        result = run("sensitivity", f"{model}.onnx", *words)
        assert result.stdout == "" and "Traceback" not in result.stderr
        return result.exit_code, " ".join(result.stderr.split())

    return invoke


@pytest.mark.parametrize(
    ("model", "words", "code", "told"),
    [
        (
            "training",
            [*CE, *ONE],
            3,
            "node 'y' (BatchNormalization, opset 17): is in training mode, where its output "
            "depends on the whole batch; export the model with model.eval()",
        ),
        (
            "exponential",
            ["--loss", "mse,target_norm=1", *ONE],
            2,
            "--loss mse: has no Lipschitz constant where the output is not bounded; bound the "
            "model's input, or use mae or huber",
        ),
        (
            "dense",
            ["--loss", "mse", *ONE],
            2,
            "--loss mse: the largest norm of a target is not given; add target_norm= (1 for "
            "one-hot targets)",
        ),
        (
            "dense",
            ["--loss", "kr,balance=batch", *ONE],
            2,
            "--loss kr: balance = batch weights an example by the counts of its batch, so that "
            "one example moves the gradients of the others; train with balance=none, or with "
            "fixed public weights and --loss custom",
        ),
        (
            "dense",
            ["--loss", "kr,balanced=1", *ONE],
            2,
            "--loss kr: has no option 'balanced'; did you mean balance? choose among: balance, "
            "reduction",
        ),
        (
            "dense",
            [*CE],
            2,
            "--input-bound: is missing, and gradients of weights grow with the inputs; give a "
            "norm such as 28, pixels, clip:1.5 or data",
        ),
        (
            "exponential",
            [*CE, *ONE],
            3,
            "node 'y' (Exp): the slope of Exp is unbounded: no finite sensitivity; no constant "
            "holds everywhere; put an operation of bounded slope in its place",
        ),
        (
            "product",
            [*CE, *ONE],
            3,
            "node 'y' (Mul): multiplies two signals: no finite sensitivity; no constant holds "
            "everywhere; put an operation of bounded slope in its place",
        ),
        (
            "clipped",
            [*CE, *ONE],
            3,
            "node 'k': the initialiser 'low' enters it in a way that is not bounded; train "
            "without it and name it in frozen (--frozen NAME), or export the model so that it "
            "enters a layer as it is (and likewise high)",
        ),
        (
            "single",
            [*CE, *ONE],
            2,
            "--loss cross-entropy: needs at least 2 outputs, and the model has 1; use "
            "binary-cross-entropy or hinge for one output",
        ),
        (
            "dense",
            ["--loss", "mse,target_norm=1", *ONE, "--data", "good.npz"],
            2,
            "--loss mse: labels have shape (6,); give target vectors (6, 3), for it takes no "
            "class indices, or leave the data out",
        ),
        (
            "dense",
            ["--loss-lipschitz", "1", *ONE, "--data", "good.npz"],
            2,
            "--loss custom: is known by its constant alone, and cannot be evaluated; give its "
            "function too, from Python, or leave the data out",
        ),
        (
            "dense",
            [*CE, *ONE, "--data", "scores.npz"],
            2,
            "has shape (6, 3): one-hot labels or scores, not class indices; save y.argmax(axis=1)",
        ),
        (
            "dense",
            [*CE, *ONE, "--data", "fractions.npz"],
            2,
            "the label of sample 0 is 0.5, not a class index; save whole numbers counted from 0",
        ),
        (
            "dense",
            [*CE, *ONE, "--data", "beyond.npz"],
            2,
            "the label of sample 0 is 5, outside 0..2 (the model has 3 outputs; the labels run "
            "5..7); number the classes from 0, or give the data this model was trained on",
        ),
        (
            "dense",
            [*CE, *ONE, "--data", "narrow.npz"],
            2,
            "its samples have shape (3,) and the model takes (4,); give the data this model was "
            "trained on, in the shape it takes",
        ),
        (
            "dense",
            [*CE, *ONE, "--data", "broken.npz"],
            2,
            "sample 3 holds nan; repair or remove that sample (counted from 0)",
        ),
        (
            "dense",
            [*CE, "--input-bound", "data", "--data", "broken.npz"],
            2,
            "sample 3 holds nan; repair or remove that sample (counted from 0)",
        ),
        (
            "dense",
            ["--loss", "cross-entropy,temperature=multiplies,tau=-1", *ONE],
            2,
            "--loss cross-entropy: tau = -1.0 is out of range; choose a number > 0",
        ),
        (
            "dense",
            ["--loss", "crossentropie", *ONE],
            2,
            "--loss 'crossentropie': is not known; did you mean cross-entropy? choose one of: "
            "binary-cross-entropy, cosine, cross-entropy,",
        ),
        ("dense", ["--loss", "bce", *ONE], 2, "did you mean binary-cross-entropy? choose one of"),
        (
            "dense",
            ["--loss", "cross-entropy,tau=2,temperature=multiply", *ONE],
            2,
            "--loss temperature 'multiply': is not known; did you mean multiplies? choose one of",
        ),
        (
            "dense",
            [*CE, *ONE, "--frozen", "weights"],
            2,
            "frozen 'weights': is no initialiser of the model; check its name",
        ),
        (
            "dense",
            [*CE, *ONE, "--frozen", "w", "--frozen", "b"],
            2,
            "dense.onnx: has no parameters to train; name a model with weights",
        ),
        (
            "dense",
            [*CE, "--input-bound", "0.1", "--data", "good.npz"],
            2,
            "--data, sample 0: lies outside the input set (norm); give the input bound and the "
            "--normalize that training keeps to",
        ),
    ],
)
def test_why_and_what_to_do(
    refused: Callable[..., tuple[int, str]], model: str, words: list[str], code: int, told: str
) -> None:
    found, error = refused(model, *words)
    assert found == code, error
    assert error.startswith("error: ") and told in error


def test_a_frozen_number_is_let_pass(run: Run, tmp_path: Path) -> None:
    """What the remedy says is what helps."""
    onnx.save(onnx_model(*MODELS["clipped"], [1, 4]), tmp_path / "clipped.onnx")
    words = (*CE, *ONE, "--frozen", "low", "--frozen", "high")
    result = run("sensitivity", "clipped.onnx", *words)
    assert result.exit_code == 0, result.stderr
