"""``lipcert gate`` on small models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lipcert
from lipcert.reports import formats_of

Run = Callable[..., Any]
CHECK = """
[[check]]
name = "{name}"
model = "mlp.onnx"
data = "data.npz"
method = "autolip"
"""
MET = CHECK.format(name="small") + "min-clean-accuracy = 0.95\nmax-lipschitz = 1e6\n"
MISSED = CHECK.format(name="strict") + 'min-certified-accuracy = { "36/255" = 1 }\n'
BROKEN = '\n[[check]]\nname = "odd"\nmodel = "unbounded.onnx"\nmax-lipschitz = 2\n'


@pytest.fixture
def gate(run: Run, mlp: Path, data: Path, unbounded: Path, tmp_path: Path) -> Callable[..., Any]:
    """``gate(text, *words)``: the gate in a folder with ``lipcert.toml``."""

    def invoke(text: str, *words: object, **environment: str) -> Any:
        (tmp_path / "lipcert.toml").write_text(text, encoding="utf-8")
        clean = {"GITHUB_WORKSPACE": "", "GITHUB_STEP_SUMMARY": ""}
        return run("gate", *words, **{**clean, **environment})

    return invoke


def test_met(gate: Any) -> None:
    result = gate(MET)
    assert result.exit_code == 0
    first, second, last = result.stderr.splitlines()
    assert first == "PASS clean 19/20 >= 0.95  [small]"
    assert second.startswith("PASS lipschitz ")
    assert last == "gate met: 2 conditions"
    assert "19/20" in result.stdout
    assert gate(MET, "-q").stderr == ""


def test_not_met(gate: Any) -> None:
    result = gate(MET + MISSED)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith("FAIL")]
    assert lines[at].startswith("FAIL certified ")
    assert lines[at].endswith("/20 < 1 at eps=36/255 (l2)  [strict]")
    assert "short by " in lines[at + 1]
    closer = "lipcert certify mlp.onnx data.npz --eps 36/255 --method autolip --radii strict-"
    assert closer in lines[at + 1]
    assert lines[-1] == "gate not met: 1 of 3 conditions not met"
    assert gate(MET + MISSED, "--exit-zero").exit_code == 0
    assert gate(MET + MISSED, "--check", "small").exit_code == 0
    assert len(gate(MET + MISSED, "-q").stderr.splitlines()) == 2


def test_counts_for_float32(gate: Any, tmp_path: Path) -> None:
    """What the gate counts is what ``certify --semantics float32`` counts, and no more than in
    real arithmetic; a baseline of the one is not taken for the other."""
    sizes = 'eps = ["0.01", "36/255"]\nmin-clean-accuracy = 0\nmax-drop = 1\n'
    text = f'baseline = "base.json"\n{CHECK.format(name="small")}{sizes}'
    counts = {}
    for semantics in ("float32", "real"):
        chosen = f'{text}semantics = "{semantics}"\n'
        told = gate(chosen, "--update-baseline", "--format", "json")
        assert told.exit_code == 0
        (check,) = json.loads(told.stdout)["checks"]
        assert check["measured"]["settings"]["semantics"] == semantics
        found = lipcert.certify(
            tmp_path / "mlp.onnx", tmp_path / "data.npz", eps=["0.01", "36/255"],
            method="autolip", semantics=semantics,
        )  # fmt: skip
        counts[semantics] = [entry["count"] for entry in check["measured"]["certified"]]
        assert counts[semantics] == [entry.count for entry in found.certified]
        assert gate(chosen).exit_code == 0
    assert all(a <= b for a, b in zip(counts["float32"], counts["real"], strict=True))
    other = gate(f'{text}semantics = "float32"\n')
    assert other.exit_code == 2
    assert "has semantics = 'real', and now it is 'float32'" in other.stderr
    assert "(l2, float32): not judged" in other.stderr


def test_the_arithmetic_is_told_with_the_verdict(gate: Any) -> None:
    text = MISSED + 'semantics = "float32"\n'
    result = gate(text)
    assert result.exit_code == 1
    assert "/20 < 1 at eps=36/255 (l2, float32)  [strict]" in result.stderr
    assert "--semantics float32" in result.stderr
    for format in ("text", "markdown", "junit", "sarif", "github"):
        assert "l2, float32" in gate(text, "--format", format).stdout
    assert "semantics: is 'float16'" in gate(text.replace("float32", "float16")).stderr


def test_an_error_outranks_a_failure_and_is_not_hidden(gate: Any) -> None:
    result = gate(MISSED + BROKEN + MET, "--exit-zero", "--format", "json")
    assert result.exit_code == 3
    value = json.loads(result.stdout)
    outcomes = [v["outcome"] for check in value["checks"] for v in check["verdicts"]]
    assert outcomes == ["fail", "error", "pass", "pass"]
    assert "ERROR max-lipschitz 2: not judged  [odd]" in result.stderr
    assert "no finite l2 bound" in result.stderr


@pytest.mark.parametrize("format", formats_of("GateResult"))
def test_every_format_on_stdout_and_as_a_report(gate: Any, format: str, tmp_path: Path) -> None:
    report = tmp_path / "out"
    result = gate(MET + MISSED, "--format", format, "--report", f"{format}={report}")
    assert result.exit_code == 1
    if format != "text":
        told = report.read_text(encoding="utf-8")
        assert [line for line in told.splitlines() if "time" not in line] == [
            line for line in result.stdout.splitlines() if "time" not in line
        ]


def test_reports_are_checked_before_any_work(gate: Any, tmp_path: Path) -> None:
    (tmp_path / "old.xml").touch()
    result = gate(MET, "--report", "junit=old.xml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "exists already" in result.stderr
    assert "PASS" not in result.stderr
    for target in ("lipcert.toml", "data.npz", "mlp.onnx"):
        result = gate(MET, "--report", f"json={target}", "--overwrite")
        assert result.exit_code == 2
        assert "is read by this run" in result.stderr


@pytest.mark.parametrize(
    ("text", "words", "fragment"),
    [
        ("", [], "lipcert.toml: has no [[check]]"),
        (MET, ["--check", "smal"], "did you mean 'small'?"),
        (MET, ["--config", "gone.toml"], "gone.toml: does not exist"),
        (MET, ["--update-baseline"], "lipcert.toml: names no baseline"),
        (MET.replace("0.95", "95"), [], "check 'small': min-clean-accuracy: is 95, outside 0 to 1"),
        (MET.replace("mlp.onnx", "gone.onnx"), [], "model 'gone.onnx' does not exist"),
        ('baseline = "no/base.json"' + MET, ["--update-baseline"], "does not exist"),
    ],
)
def test_configurations_that_are_no_good(
    gate: Any, text: str, words: list[str], fragment: str
) -> None:
    result = gate(text, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert fragment in result.stderr


def test_no_configuration(run: Run) -> None:
    result = run("gate")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "lipcert.toml: is not in this folder" in result.stderr


def test_the_baseline(gate: Any, tmp_path: Path) -> None:
    text = 'baseline = "base.json"\n' + MET + "max-drop = 0\n"
    result = gate(text)
    assert result.exit_code == 2
    assert "lipcert gate --update-baseline" in result.stderr
    result = gate(text, "--update-baseline")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, "wrote base.json")
    assert "PASS clean 19/20 >= 19/20 - 0, drop since" in gate(text).stderr
    stored = json.loads((tmp_path / "base.json").read_text())
    stored["checks"][0]["clean_correct"] = 20
    (tmp_path / "base.json").write_text(json.dumps(stored))
    result = gate(text)
    assert result.exit_code == 1
    assert "FAIL clean 19/20 < 20/20 - 0, drop since the baseline  [small]" in result.stderr
    assert "short by 1 sample;" in result.stderr
    stored["checks"][0]["data_sha256"] = "0" * 64
    (tmp_path / "base.json").write_text(json.dumps(stored))
    result = gate(text)
    assert result.exit_code == 2
    assert "was counted on other data (sha256 000000000000, now " in result.stderr
    before = (tmp_path / "base.json").read_bytes()
    result = gate(text + BROKEN, "--update-baseline")
    assert result.exit_code == 3
    assert "base.json is left as it is: a check has an error" in result.stderr
    assert (tmp_path / "base.json").read_bytes() == before


def test_github(gate: Any, tmp_path: Path) -> None:
    steps = tmp_path / "summary.md"
    steps.write_text("before\n", encoding="utf-8")
    result = gate(MISSED, "--format", "github", GITHUB_STEP_SUMMARY=str(steps))
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "::error file=lipcert.toml,line=2,title=lipcert gate not met%3A"
    )
    assert steps.read_text(encoding="utf-8").startswith("before\n### lipcert gate not met")
    size = steps.stat().st_size
    gate(MISSED, GITHUB_STEP_SUMMARY=str(steps))
    assert steps.stat().st_size == size
    with steps.open("ab") as stream:
        stream.write(b"x" * (1_000_000 - steps.stat().st_size - 10))
    gate(MISSED, "--format", "github", GITHUB_STEP_SUMMARY=str(steps))
    assert steps.stat().st_size <= 1_000_000


def test_a_configuration_elsewhere(gate: Any, tmp_path: Path) -> None:
    inner = tmp_path / "ml"
    inner.mkdir()
    for name in ("mlp.onnx", "data.npz"):
        shutil.move(tmp_path / name, inner)
    (inner / "gate.toml").write_text(MET + '[gate]\nformat = "json"\n', encoding="utf-8")
    result = gate("nonsense", "--config", "ml/gate.toml", GITHUB_WORKSPACE=str(tmp_path))
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    assert value["config"] == "ml/gate.toml"
    assert value["checks"][0]["model"] == "ml/mlp.onnx"
    environment = {"LIPCERT_GATE_CONFIG": os.path.join("ml", "gate.toml")}  # noqa: PTH118
    assert gate("nonsense", **environment).exit_code == 0


def test_pyproject(run: Run, mlp: Path, data: Path, tmp_path: Path) -> None:
    text = MET.replace("[[check]]", "[[tool.lipcert.check]]")
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    result = run("gate", "-v", "--format", "json")
    assert result.exit_code == 0
    assert "read pyproject.toml" in result.stderr
    assert json.loads(result.stdout)["config"] == "pyproject.toml"
