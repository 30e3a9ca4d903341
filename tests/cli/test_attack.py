"""``certify --attack``: the sandwich, and what a refuted certificate looks like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipcert.certification import certificates

Run = Callable[..., Any]
SAMPLES = Path(__file__).parents[2] / "sample_models"
MODEL, DATA = SAMPLES / "digits_relu_mlp.onnx", SAMPLES / "digits_test.npz"
FAST = ("--method", "autolip", "--first", "40", "--attack-steps", "10", "--attack-restarts", "1")


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_certified_is_at_most_attacked(run: Run, norm: str) -> None:
    sizes = ("--eps", "0.01", "--eps", "0.1", "--eps", "0.3", "--eps", "2")
    result = run(
        "certify", MODEL, DATA, *sizes, *FAST, "--attack", "--norm", norm, "--format", "json"
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    for entry in found["certified"]:
        assert entry["count"] <= entry["attacked"] <= found["clean_correct"]
    assert found["certified"][3]["attacked"] < found["clean_correct"]
    assert found["attack"] == {"name": "pgd", "steps": 10, "restarts": 1, "seed": 0, "rounded": 0}
    assert "--attack --attack-steps 10 --attack-restarts 1" in found["command"]
    for point in found["curve"]:
        assert point["certified"] <= point["attacked"]


def test_a_refuted_radius_is_an_error_with_a_witness(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Radii a hundred times too large: the attack finds what contradicts them, and says so."""
    honest = certificates.divide_down
    monkeypatch.setattr(certificates, "divide_down", lambda a, b: 100.0 * honest(a, b))
    report, witness = tmp_path / "result.json", tmp_path / "witness.npz"
    words = ["certify", MODEL, DATA, "--eps", "2", *FAST, "--attack", "--witness", witness]
    result = run(*words, "--report", f"json={report}")
    assert result.exit_code == 6
    assert result.stdout == "" and not report.exists()
    assert "changes the class inside the certified radius" in result.stderr
    assert f"wrote {witness}" in result.stderr and f"the witness is in {witness}" in result.stderr
    with np.load(witness) as found:
        distance = np.linalg.norm(found["perturbed"].astype(np.float64) - found["x"])
        assert distance <= found["size"] < found["radius"]
        assert found["y"].shape == (1,) and found["x"].shape == (1, 64)
    before = witness.read_bytes()
    assert run(*words).exit_code == 6
    assert witness.read_bytes() == before
    assert (tmp_path / "witness-1.npz").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--eps", "0.1", "--norm", "l1"], "--attack: attacks in l2 and linf, not in l1"),
        ([], "--attack: needs a size to attack with; give at least one --eps"),
    ],
)
def test_what_an_attack_cannot_do(run: Run, options: list[str], words: str) -> None:
    result = run("certify", MODEL, DATA, "--attack", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
