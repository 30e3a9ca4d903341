"""SARIF 2.1.0, against a schema of the part of the standard that lipcert writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

sys.path.insert(0, str(Path(__file__).parents[1] / "gating"))  # for the module `gate_samples`
from gate_samples import broken, failing, gate_of, passing

from lipcert.gating.check import CONDITIONS
from lipcert.reports import render
from lipcert.reports.sarif import RULES

SCHEMA = Path(__file__).parent / "schemas" / "sarif-subset.schema.json"


def run_of(result: Any) -> dict[str, Any]:
    log = json.loads(render(result, "sarif"))
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(log)
    run: dict[str, Any] = log["runs"][0]
    return run


def test_rules_are_the_kinds_of_conditions() -> None:
    assert set(RULES) == set(CONDITIONS)
    rules = run_of(gate_of(passing()))["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [f"lipcert/{kind}" for kind in RULES]


def test_results_are_the_failures_at_the_line_of_the_check() -> None:
    run = run_of(gate_of(passing(), failing()))
    kinds = [result["ruleId"].removeprefix("lipcert/") for result in run["results"]]
    assert kinds == ["min-certified-accuracy", "max-lipschitz", "max-drop"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "lipcert.toml"
        assert place["region"]["startLine"] == 4
    assert "short by 88 samples" in run["results"][0]["message"]["text"]
    prints = {result["partialFingerprints"]["lipcertCondition/v1"] for result in run["results"]}
    assert len(prints) == 3


def test_errors_are_notifications_not_results() -> None:
    run = run_of(gate_of(passing(), broken()))
    assert run["results"] == []
    (invocation,) = run["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 3)
    (note,) = invocation["toolExecutionNotifications"]
    assert note["descriptor"]["id"] == "UnsupportedError"
    assert "has an operator" in note["message"]["text"]
    assert run_of(gate_of(passing()))["invocations"][0]["executionSuccessful"] is True


def test_files_are_named_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my models"
    folder.mkdir()
    monkeypatch.chdir(folder)
    run = run_of(gate_of(failing(), root=tmp_path))
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20models/lipcert.toml"
