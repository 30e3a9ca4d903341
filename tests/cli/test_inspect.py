"""``lipcert inspect``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

Run = Callable[..., Any]


def test_text(run: Run, mlp: Path) -> None:
    result = run("inspect", mlp)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "input 1×4 → output 1×3, 51 parameters, opset 17" in result.stdout
    for words in ("fc0", "relu", "[0, 1]", "✓ 1-Lipschitz", "input → relu", "Nothing stands"):
        assert words in result.stdout


def test_formats_tell_the_same(run: Run, mlp: Path) -> None:
    found = json.loads(run("inspect", mlp, "--format", "json").stdout)
    assert [layer["name"] for layer in found["layers"]] == ["fc0", "relu", "fc1"]
    markdown = run("inspect", mlp, "--format", "markdown").stdout
    for layer in found["layers"]:
        assert f"{layer['norm']:.6g}"[:5] in markdown
    assert found["product"] == pytest.approx(
        found["layers"][0]["norm"] * found["layers"][2]["norm"], rel=1e-12
    )


def test_obstacles(run: Run, unbounded: Path) -> None:
    result = run("inspect", unbounded)
    assert result.exit_code == 0
    assert "What stands in the way" in result.stdout
    assert "gate (Mul)" in result.stdout


def test_norm_and_spectral(run: Run, mlp: Path) -> None:
    norms = {}
    for norm in ("l1", "l2", "linf"):
        found = json.loads(run("inspect", mlp, "--norm", norm, "--format", "json").stdout)
        assert found["norm"] == norm
        norms[norm] = found["layers"][0]["norm"]
    assert len(set(norms.values())) == 3
    gram = json.loads(run("inspect", mlp, "--spectral", "gram", "--format", "json").stdout)
    assert gram["layers"][0]["norm"] == pytest.approx(norms["l2"], rel=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_residual_blocks(run: Run, norm: str) -> None:
    model = Path(__file__).parents[2] / "sample_models" / "digits_iresnet_conv.onnx"
    schema = Path(__file__).parents[2] / "docs" / "schemas" / "inspect.schema.json"
    text = run("inspect", model, "--norm", norm)
    assert text.exit_code == 0
    assert "Residual blocks x + g(x)" in text.stdout
    found = json.loads(run("inspect", model, "--norm", norm, "--format", "json").stdout)
    Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(found)
    assert len(found["blocks"]) == 2
    for block in found["blocks"]:
        assert block["invertible"] == (block["norm"] < 1.0) == (block["inverse"] is not None)
        assert block["name"] in text.stdout
    if norm == "l2":
        assert "2 of 2 residual blocks invertible" in text.stdout


def test_no_residual_blocks(run: Run, mlp: Path) -> None:
    assert "Residual blocks" not in run("inspect", mlp).stdout
