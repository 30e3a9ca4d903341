"""What the commands print follows the schemas in the docs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

Run = Callable[..., Any]
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("inspect", []),
        ("bound", []),
        ("bound", ["--proof", "mlp.proof"]),
        ("bound", ["--pairwise", "--norm", "linf"]),
        ("certify", ["data.npz", "--eps", "0.5", "--normalize", "mean=0,std=1"]),
        ("certify", ["data.npz", "--input-range", "-9,9"]),
        ("certify", ["data.npz", "--eps", "0.1", "--semantics", "float32", "--proof", "c.proof"]),
    ],
)
def test_output_is_valid(run: Run, mlp: Path, data: Path, command: str, options: list[str]) -> None:
    result = run(command, mlp, *options, "--format", "json")
    assert result.exit_code == 0, result.stderr
    check(command, result.stdout)


@pytest.mark.parametrize("command", ["inspect", "bound"])
def test_output_without_a_finite_bound_is_valid(run: Run, unbounded: Path, command: str) -> None:
    check(command, run(command, unbounded, "--format", "json").stdout)


def check(command: str, text: str) -> None:
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads(text))
