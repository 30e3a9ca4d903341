"""Every format of a gate and of a comparison tells the same."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

sys.path.insert(0, str(Path(__file__).parents[1] / "gating"))  # for the module `gate_samples`
from gate_samples import broken, check, failing, gate_of, passing, record

from lipcert.gating.check import Condition
from lipcert.gating.comparison import Comparison, Pair, Row
from lipcert.gating.conditions import judge
from lipcert.gating.result import CheckResult
from lipcert.reports import formats_of, render
from lipcert.reports.gate_github import SUMMARY_BYTES, command, summary
from lipcert.reports.gate_json import baseline_json
from lipcert.reports.gate_words import outcome, verdict_lines

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def validate(name: str, text: str) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    value = json.loads(text)
    Draft202012Validator(schema).validate(value)
    return value


def test_verdict_lines_word_for_word() -> None:
    assert list(verdict_lines(gate_of(failing(), passing(), broken()))) == [
        "PASS clean 978/1000 >= 0.97  [mnist]",
        "FAIL certified 412/1000 < 0.50 at eps=0.25 (l2)  [mnist]",
        "     short by 88 samples; to look closer: "
        "lipcert certify net.onnx test.npz --eps 0.25 --radii mnist-radii.csv",
        "FAIL lipschitz 2.5 > 1.3 (l2)  [mnist]",
        "     above by 1.2; to look closer: lipcert inspect net.onnx",
        "PASS clean 978/1000 >= 978/1000 - 0.01, drop since the baseline  [mnist]",
        "FAIL certified 412/1000 < 430/1000 - 0.01 at eps=0.25 (l2), drop since the baseline  "
        "[mnist]",
        "     short by 8 samples; to look closer: "
        "lipcert certify net.onnx test.npz --eps 0.25 --radii mnist-radii.csv",
        "PASS clean 978/1000 >= 0.97  [fine]",
        "ERROR min-clean-accuracy 0.97: not judged  [odd]",
        "ERROR min-certified-accuracy 0.50 at eps=0.25 (l2): not judged  [odd]",
        "     node 'x': has an operator that is not known; export it otherwise",
    ]


def test_quiet_lines_are_those_that_are_not_met() -> None:
    assert list(verdict_lines(gate_of(passing()), all_of_them=False)) == []
    assert len(list(verdict_lines(gate_of(failing()), all_of_them=False))) == 6


def test_outcomes() -> None:
    assert outcome(gate_of(passing())) == "gate met: 1 condition"
    assert outcome(gate_of(failing())) == "gate not met: 3 of 5 conditions not met"
    assert outcome(gate_of(failing(), broken())) == (
        "gate in error: 3 of 7 conditions not met, 2 of 7 conditions not judged"
    )


def test_a_bound_is_printed_on_its_side_of_the_threshold() -> None:
    for threshold, value in (("0.1", 0.1), ("0.3", 0.3), ("2.5000000000001", 2.5000000000002)):
        held = check(conditions=(Condition("max-lipschitz", threshold),))
        found = record(held, lipschitz=value)
        verdict = judge(held, held.conditions[0], found, None, None)
        (line, *_) = verdict_lines(gate_of(CheckResult(held, found, (verdict,), 0.0)))
        shown = line.split()[2]
        assert (Fraction(shown) <= Fraction(threshold)) == (verdict.outcome == "pass"), line


def test_commands_carry_every_setting() -> None:
    settings = {"norm": "linf", "input-range": (0.0, 1.0), "input-shape": (3, 8, 8),
                "normalize": "mean=0.5,std=0.25", "time-limit": 2.5}  # fmt: skip
    held = replace(check("a b"), settings=settings, model=Path("my net.onnx"))
    found = record(held, clean_correct=1)
    verdict = judge(held, held.conditions[0], found, None, None)
    lines = list(verdict_lines(gate_of(CheckResult(held, found, (verdict,), 0.0))))
    assert lines[1].endswith(
        "lipcert certify 'my net.onnx' test.npz --eps 0.25 --norm linf --input-range 0,1 "
        "--input-shape 3x8x8 --normalize mean=0.5,std=0.25 --time-limit 2.5 --radii a-b-radii.csv"
    )


@pytest.mark.parametrize("format", formats_of("GateResult"))
def test_every_format_tells_what_is_not_met(format: str) -> None:
    text = render(gate_of(failing(), passing(), broken()), format, width=200)
    assert text.endswith("\n")
    for fragment in ("mnist", "short by 88 samples", "short by 8 samples", "above by 1.2"):
        assert fragment in text, fragment
    assert "412/1000" in text
    assert "lipcert certify net.onnx test.npz --eps 0.25" in text
    assert "has an operator that is not known" in text


@pytest.mark.parametrize("format", formats_of("GateResult"))
def test_nothing_in_names_reaches_the_terminal(format: str, evil: str) -> None:
    text = render(gate_of(failing(evil), broken(evil + "2", evil)), format)
    assert "\x1b" not in text
    assert "\n[31m" not in text
    if format == "github":
        assert all(line.startswith("::error ") for line in text.splitlines())


def test_json_follows_its_schema() -> None:
    value = validate("gate", render(gate_of(failing(), passing(), broken()), "json"))
    assert (value["met"], value["exit_code"], value["failed"], value["errors"]) == (False, 3, 3, 2)
    assert value["checks"][0]["verdicts"][1]["short"] == 88
    assert value["checks"][2]["measured"] is None
    assert value["checks"][2]["verdicts"][0]["error"]["exit_code"] == 3
    validate("gate", render(gate_of(passing(), baseline=None), "json"))


def test_the_baseline_follows_its_schema() -> None:
    stored = validate("baseline", baseline_json(gate_of(passing(), failing())))
    assert [entry["name"] for entry in stored["checks"]] == ["fine", "mnist"]


def test_github_annotations() -> None:
    lines = render(gate_of(failing()), "github").splitlines()
    assert lines[0] == (
        "::error file=lipcert.toml,line=4,title=lipcert gate not met%3A mnist::"
        "certified 412/1000 < 0.50 at eps=0.25 (l2)%0Ashort by 88 samples; to look closer: "
        "lipcert certify net.onnx test.npz --eps 0.25 --radii mnist-radii.csv"
    )
    assert len(lines) == 3
    assert render(gate_of(passing()), "github") == (
        "::notice title=lipcert gate::gate met: 1 condition\n"
    )
    (line,) = render(gate_of(broken()), "github").splitlines()
    assert "title=lipcert gate error%3A odd" in line


@pytest.mark.parametrize("count", [3, 4, 30])
def test_github_shows_at_most_ten(count: int) -> None:
    result = gate_of(*(failing(f"c{index}") for index in range(count)))
    lines = render(result, "github").splitlines()
    assert len(lines) == min(3 * count, 10)
    if count > 3:
        assert f"{3 * count - 9} more conditions not met" in lines[-1]


def test_workflow_commands_are_escaped() -> None:
    assert command("error", "50 % :\r\n::error::x,", file="a,b:c%d\n") == (
        "::error file=a%2Cb%3Ac%25d%0A::50 %25 :%0D%0A::error::x,"
    )


@pytest.mark.parametrize("room", [0, 100, 1000, 20_000, SUMMARY_BYTES])
def test_summaries_fit(room: int) -> None:
    result = gate_of(*(failing(f"check-{index}") for index in range(40)))
    text = summary(result, room)
    assert len(text.encode()) <= room
    assert text.count("```") % 2 == 0
    if room == SUMMARY_BYTES:
        assert "left out" not in text
    elif room >= 1000:
        assert "left out" in text


def comparison(**changes: Any) -> Comparison:
    old, new = record(clean_correct=980), record(lipschitz=3.0, model_sha256="c" * 64)
    rows = (
        Row("clean", "", (980, 1000), (978, 1000)),
        Row("certified", "36/255", (430, 1000), None),
        Row("certified", "1", (0, 1000), (0, 1000)),
        Row("attacked", "1", (10, 1000), (25, 1000)),
        Row("lipschitz", "", 2.5, 3.0),
    )
    pairs = (Pair("mnist", old, new, rows), Pair("gone", old, None))
    return Comparison(**{"old": "old.json", "new": "new.json", "pairs": pairs, **changes})


@pytest.mark.parametrize("format", formats_of("Comparison"))
def test_every_format_tells_the_same_change(format: str) -> None:
    text = render(comparison(), format, width=160)
    for fragment in ("old.json", "new.json", "mnist", "gone", "36/255"):
        assert fragment in text
    if format == "json":
        value = validate("compare", text)
        assert value["checks"][0]["rows"][0]["change"] == pytest.approx(-0.002)
        assert value["checks"][0]["rows"][1]["change"] is None
    else:
        assert "978/1000" in text
        assert re.search(r"-2 \(-0\.2 points\)", text)
        assert re.search(r"\+15 \(\+1\.5 points\)", text)
        assert "+0.5" in text
        assert "only in the old result" in text
