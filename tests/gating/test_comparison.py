"""Two results side by side."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from gate_samples import failing, gate_of, record

from lipcert.errors import InputError
from lipcert.gating.comparison import compare, read_result
from lipcert.gating.record import CountAt
from lipcert.reports import render


def baseline(path: str, *records: Any) -> str:
    content = {"schema": "lipcert/baseline/1", "checks": [r.object for r in records]}
    Path(path).write_text(json.dumps(content), encoding="utf-8")
    return path


def certify(path: str, **changes: Any) -> str:
    content = {
        "schema": "lipcert/certify/2", "model": "net.onnx", "model_sha256": "a" * 64,
        "data": "test", "data_sha256": "b" * 64, "samples": 1000, "clean_correct": 978,
        "certified": [{"eps": 0.25, "eps_text": "1/4", "count": 412, "attacked": 600}],
        "norm": "l2", "method": "lipsdp", "bound": {"value": 2.5}, "input_range": None,
        "normalization": None,
    }  # fmt: skip
    Path(path).write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_rows_are_matched_by_the_value_of_eps() -> None:
    old = baseline("old", record(certified=(CountAt("0.250", 430), CountAt("0.5", 9))))
    new = baseline("new", record(certified=(CountAt("1/4", 412), CountAt("1", 0)), lipschitz=3.0))
    (pair,) = compare(old, new).pairs
    rows = {(row.quantity, row.eps): (row.old, row.new, row.change) for row in pair.rows}
    assert rows == {
        ("clean", ""): ((978, 1000), (978, 1000), 0),
        ("certified", "0.250"): ((430, 1000), (412, 1000), Fraction(-18, 1000)),
        ("certified", "0.5"): ((9, 1000), None, None),
        ("certified", "1"): (None, (0, 1000), None),
        ("lipschitz", ""): (2.5, 3.0, Fraction(1, 2)),
    }


def test_results_of_certify_and_of_gates() -> None:
    result = compare(certify("old"), certify("new", clean_correct=970))
    (pair,) = result.pairs
    assert [row.quantity for row in pair.rows] == ["clean", "certified", "attacked", "lipschitz"]
    assert result.exit_code == 0
    Path("gate.json").write_text(render(gate_of(failing()), "json"), encoding="utf-8")
    (pair,) = compare(baseline("base", record()), "gate.json").pairs
    assert pair.name == "mnist"
    assert compare("old", "gate.json").pairs[0].new is not None


def test_the_largest_drop() -> None:
    old, new = certify("old"), certify("new", clean_correct=968)
    assert compare(old, new, max_drop="0.01").exit_code == 0
    result = compare(old, new, max_drop="0.009")
    assert (result.exit_code, [v.outcome for v in result.verdicts]) == (1, ["fail", "pass"])
    lost = certify("lost", certified=[])
    assert compare(old, lost).exit_code == 0
    with pytest.raises(InputError, match="has no count at eps=1/4"):
        compare(old, lost, max_drop="0.01")


def test_different_data_is_an_error_unless_allowed() -> None:
    old, new = certify("old"), certify("new", data_sha256="c" * 64)
    with pytest.raises(InputError, match=r"new: was counted on other data.*--allow-different-data"):
        compare(old, new)
    (pair,) = compare(old, new, allow_different_data=True).pairs
    assert not pair.same_data
    with pytest.raises(InputError, match="is of the linf norm, the old one of l2"):
        compare(old, certify("linf", norm="linf"), allow_different_data=True)


def test_other_semantics_are_told_and_never_gated() -> None:
    old, new = certify("old"), certify("new", semantics="float32")
    told = render(compare(old, new), "markdown")
    assert "l2, float32" in told and "semantics was real, and is float32" in told
    (pair,) = json.loads(render(compare(old, new), "json"))["checks"]
    assert (pair["old"]["semantics"], pair["new"]["semantics"]) == ("real", "float32")
    with pytest.raises(InputError, match="new: counts for float32 arithmetic, the old one for rea"):
        compare(old, new, max_drop="1")
    (verdict, _) = compare(new, new, max_drop="1").verdicts
    assert verdict.semantics == "float32"


def test_checks_of_one_side() -> None:
    old, new = baseline("old", record(), record(name="b")), baseline("new", record())
    pairs = {
        pair.name: (pair.old is not None, pair.new is not None) for pair in compare(old, new).pairs
    }
    assert pairs == {"mnist": (True, True), "b": (True, False)}
    with pytest.raises(InputError, match="check 'b': has no counts"):
        compare(old, new, max_drop="0")
    with pytest.raises(InputError, match="no check in common"):
        compare(old, baseline("other", record(name="c")))


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("no", "not valid JSON"),
        ('{"schema": "lipcert/bound/1"}', "has schema 'lipcert/bound/1', not one of"),
        ('{"schema": ["lipcert/certify/2"]}', "'lipcert.certify.2'., not one of"),
        ('{"schema": "lipcert/certify/2"}', "is not whole"),
        ('{"schema": "lipcert/gate/1", "checks": [3]}', "no list of checks"),
        ('{"schema": "lipcert/baseline/1", "checks": {}}', "no list of checks"),
    ],
)
def test_files_that_are_no_results(content: str, fragment: str) -> None:
    Path("x.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=fragment):
        read_result(Path("x.json"))


def test_an_infinite_bound_is_read() -> None:
    assert read_result(Path(certify("x", bound={"value": "inf"})))[""].lipschitz == math.inf
