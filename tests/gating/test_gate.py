"""The gate as a whole, on records made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate_samples import record

from lipcert.errors import InputError, SoundnessError, UnsupportedError
from lipcert.gating.baseline import SCHEMA, baseline_object, read_baseline
from lipcert.gating.gate import gate
from lipcert.reports.gate_json import baseline_json

Measured = Callable[..., None]
ONE = '[[check]]\nname = "a"\nmodel = "net.onnx"\ndata = "test.npz"\nmin-clean-accuracy = 0.97\n'
TWO = ONE + ONE.replace('"a"', '"b"')
DROP = f'baseline = "base.json"\n{ONE}max-drop = 0.01\neps = "0.25"\n'


def outcomes(result: Any) -> list[str]:
    return [verdict.outcome for verdict in result.verdicts]


def test_met_and_not_met(write: Any, measured: Measured) -> None:
    write(TWO)
    result = gate()
    assert (result.met, result.exit_code, outcomes(result)) == (True, 0, ["pass", "pass"])
    measured("b", clean_correct=900)
    result = gate("lipcert.toml")
    assert (result.met, result.exit_code, outcomes(result)) == (False, 1, ["pass", "fail"])
    assert gate(checks=["a"]).met


def test_an_error_does_not_stop_the_others_and_outranks_a_failure(
    write: Any, measured: Measured
) -> None:
    write(TWO + ONE.replace('"a"', '"c"'))
    measured("a", UnsupportedError("node 'x'", "is odd", "mend it"))
    measured("b", clean_correct=1)
    result = gate()
    assert (outcomes(result), result.exit_code, result.met) == (["error", "fail", "pass"], 3, False)
    assert result.verdicts[0].problem is not None
    assert result.verdicts[0].problem.message == "node 'x': is odd; mend it"
    measured("b", SoundnessError("a", "b"))
    assert gate().exit_code == 6
    measured("b", RuntimeError("boom"))
    assert gate().exit_code == 4


def test_an_interruption_is_not_an_error_of_a_check(write: Any, measured: Measured) -> None:
    write(ONE)
    measured("a", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        gate()


def test_progress_runs_from_check_to_check(write: Any, measured: Measured) -> None:
    write(TWO)
    told: list[tuple[str, float]] = []
    gate(progress=lambda what, fraction: told.append((what, fraction)))
    assert told == [("a: work", 0.25), ("b: work", 0.75)]


def test_no_configuration_and_no_such_check(write: Any) -> None:
    with pytest.raises(InputError, match=r"lipcert.toml: is not in this folder.*--config"):
        gate()
    write(TWO)
    with pytest.raises(InputError, match="--check 'x': is not the name of a check; there are: a,"):
        gate(checks=["x"])
    with pytest.raises(InputError, match="did you mean"):
        write(ONE.replace('"a"', '"digits"'))
        gate(checks=["digit"])


def test_a_missing_baseline_stops_the_gate_before_any_work(write: Any, measured: Measured) -> None:
    write(DROP)
    measured("", AssertionError("no work"))
    with pytest.raises(InputError, match=r"base.json: does not exist; write it with lipcert gate"):
        gate()


def test_a_baseline_goes_round(write: Any, measured: Measured) -> None:
    write(DROP)
    result = gate(update_baseline=True)
    assert outcomes(result) == ["pass"]
    Path("base.json").write_text(baseline_json(result), encoding="utf-8")
    assert read_baseline(Path("base.json")) == {"a": result.checks[0].record}
    assert outcomes(gate()) == ["pass", "pass", "pass"]
    measured("a", clean_correct=975, certified=record().certified[:0])
    assert outcomes(gate()) == ["pass", "pass", "error"]


def test_updating_one_check_keeps_the_others(write: Any, measured: Measured) -> None:
    write(DROP + ONE.replace('"a"', '"b"'))
    Path("base.json").write_text(baseline_json(gate(update_baseline=True)), encoding="utf-8")
    measured("b", clean_correct=999)
    text = baseline_json(gate(checks=["b"], update_baseline=True))
    counts = {entry["name"]: entry["clean_correct"] for entry in json.loads(text)["checks"]}
    assert counts == {"a": 978, "b": 999}
    write(DROP)
    assert [r["name"] for r in baseline_object(gate(update_baseline=True))["checks"]] == ["a"]


def test_a_baseline_is_not_written_after_an_error(write: Any, measured: Measured) -> None:
    write(DROP)
    measured("a", UnsupportedError("node 'x'", "is odd"))
    with pytest.raises(InputError, match=r"left as it is: check 'a' has an error \(node 'x'"):
        baseline_object(gate(update_baseline=True))
    write(ONE)
    with pytest.raises(InputError, match="names no baseline"):
        gate(update_baseline=True)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ('{"schema": "lipcert/gate/1"}', "has schema 'lipcert/gate/1'"),
        (json.dumps({"schema": SCHEMA}), "no list of checks"),
        (json.dumps({"schema": SCHEMA, "checks": [{}]}), "no usable record"),
    ],
)
def test_a_file_that_is_no_baseline(
    write: Any, measured: Measured, content: str, fragment: str
) -> None:
    write(DROP)
    write(content, "base.json")
    with pytest.raises(InputError, match=fragment):
        gate()
