"""Proof files of certificates: checked as a stranger would, and refused where they are changed."""

from __future__ import annotations

import base64
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lipcert
from lipcert.checker.file import digest
from lipcert.errors import InputError

Made = tuple[Path, Path, Path, lipcert.Certificates, lipcert.CertificateProof]


class Image(nn.Module):
    """Rows of 16 numbers as images of 4x4."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 1, 4, 4)


def made(folder: Path, semantics: str, convolution: bool, **options: Any) -> Made:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
    first = nn.Sequential(Image(), nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    module = nn.Sequential(*first, nn.Flatten(), nn.Linear(32, 3)) if convolution else dense
    if not convolution:
        module.append(nn.Linear(8, 3))
    model, data, proof = folder / "m.onnx", folder / "d.npz", folder / "m.proof"
    torch.onnx.export(module.eval(), torch.zeros(1, 16), model, dynamo=False, opset_version=17)
    x = np.random.default_rng(0).normal(size=(90, 16)).astype(np.float32)
    y = lipcert.certify(model, (x, np.zeros(90, dtype=int)), **options).predictions
    np.savez(data, x=x, y=y)
    found = lipcert.certify(
        model, data, eps=["0.01"], semantics=semantics, time_limit=3.0, **options
    )
    file = lipcert.prove_certificates(model, data, found, time_limit=3.0)
    proof.write_bytes(file.content)
    return proof, model, data, found, file


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("convolution", [False, True])
@pytest.mark.parametrize("options", [{}, {"normalize": "mean=0.1,std=0.5"}])
def test_what_certify_writes_is_proved(
    semantics: str, convolution: bool, options: dict[str, str], tmp_path: Path
) -> None:
    proof, model, data, found, file = made(tmp_path, semantics, convolution, **options)
    verdict = lipcert.check(proof, model, data)
    assert verdict.status == "proved", verdict.why
    assert (file.radii <= found.radii).all()
    assert verdict.certified == np.count_nonzero(file.radii) > 80
    assert ("(x − mean)/std, mean 0.1, std 0.5" in verdict.why) == bool(options)
    assert verdict.std == ((Fraction(1, 2),) if options else ())
    assert np.median(file.radii / found.radii) > 0.99
    assert file.told(found).proved[0] > 80


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_changed_samples_are_refused(semantics: str, tmp_path: Path) -> None:
    proof, model, data, _, file = made(tmp_path, semantics, convolution=False)
    content = json.loads(proof.read_text())

    def verdict(key: str, kind: str, place: int, change: Any) -> str:
        mutant = json.loads(proof.read_text())
        values = np.frombuffer(base64.b64decode(content["samples"][key]), dtype=kind).copy()
        values[place] = change(values[place])
        mutant["samples"][key] = base64.b64encode(values.tobytes()).decode()
        mutant["sha256"] = digest(mutant)
        proof.with_suffix(".mutant").write_text(json.dumps(mutant))
        return lipcert.check(proof.with_suffix(".mutant"), model, data).status

    # radii are capped at the reported ones, which may be below what the claims would allow
    held = np.flatnonzero(file.radii > 0.0)[:12]
    for place in held:
        assert verdict("radii", "<f8", place, lambda v: v) == "proved"
        assert verdict("radii", "<f8", place, lambda v: v * 1.01) == "refuted"
        assert verdict("margins", "<f8", place, lambda v: v * 1.01) == "refuted"
        assert verdict("classes", "<i4", place, lambda v: (v + 1) % 3) == "refuted"
    assert verdict("radii", "<f8", int(held[0]), lambda v: np.inf) == "refuted"


def test_radii_for_reals_are_not_proved_for_float32(tmp_path: Path) -> None:
    proof, model, data, _, _ = made(tmp_path, "real", convolution=False)
    content = json.loads(proof.read_text())
    content["semantics"] = "float32"
    content["sha256"] = digest(content)
    proof.write_text(json.dumps(content))
    assert lipcert.check(proof, model, data).status == "refuted"


def test_other_data_and_norms_are_told(tmp_path: Path) -> None:
    from lipcert.certifying.proof import check_provable

    with pytest.raises(InputError, match="npz"):
        check_provable(tmp_path / "d.csv", "l2")
    with pytest.raises(InputError, match="l2"):
        check_provable(tmp_path / "d.npz", "linf")


@pytest.mark.parametrize("name", ["digits_lip_mlp", "digits_sll_mlp"])
def test_large_radii_of_lipschitz_nets_outlast_rounding_and_are_proved(name: str) -> None:
    """Within 0.5 nearly every neuron is undecided: elements would add up to far more than l2."""
    folder = Path(__file__).parents[2] / "sample_models"
    model, data = folder / f"{name}.onnx", folder / "digits_test.npz"
    found = lipcert.certify(model, data, eps=[0.5], first=100, time_limit=5.0, semantics="float32")
    real = lipcert.certify(model, data, eps=[0.5], first=100, time_limit=5.0)
    assert real.certified[0].count - 1 <= found.certified[0].count <= real.certified[0].count
    made = lipcert.prove_certificates(model, data, found, time_limit=3.0)
    assert np.count_nonzero(made.radii > 0.5) >= found.certified[0].count
