"""JUnit XML, against a schema stricter than those of Ant's report and of Jenkins."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import xmlschema

sys.path.insert(0, str(Path(__file__).parents[1] / "gating"))  # for the module `gate_samples`
from gate_samples import broken, failing, gate_of, passing

from lipcert.reports import render

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parent / "schemas" / "junit.xsd"))


def parsed(result: Any) -> ElementTree.Element:
    text = render(result, "junit")
    SCHEMA.validate(text)
    return ElementTree.fromstring(text)


def test_a_suite_for_each_check_and_a_case_for_each_condition() -> None:
    root = parsed(gate_of(failing(), passing(), broken()))
    suites = root.findall("testsuite")
    counts = [
        tuple(int(suite.get(key, "")) for key in ("tests", "failures", "errors"))
        for suite in suites
    ]
    assert [suite.get("name") for suite in suites] == ["mnist", "fine", "odd"]
    assert counts == [(5, 3, 0), (1, 0, 0), (2, 0, 2)]
    for suite, (tests, failures, errors) in zip(suites, counts, strict=True):
        cases = suite.findall("testcase")
        assert len(cases) == tests
        assert len({case.get("name") for case in cases}) == tests
        assert len(suite.findall("testcase/failure")) == failures
        assert len(suite.findall("testcase/error")) == errors
    assert suites[0].get("timestamp") == "2026-02-03T04:05:06"


def test_a_failure_says_by_how_much_and_an_error_what_it_was() -> None:
    root = parsed(gate_of(failing(), broken()))
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("type") == "min-certified-accuracy"
    assert failure.get("message") == "certified 412/1000 < 0.50 at eps=0.25 (l2)"
    assert (failure.text or "").startswith("short by 88 samples; to look closer: lipcert certify")
    error = root.find("testsuite/testcase/error")
    assert error is not None
    assert error.get("type") == "UnsupportedError"
    assert "has an operator that is not known" in (error.get("message") or "")


@pytest.mark.parametrize("name", ["a\x00b\x1b[31m", "  two  words ", "<&\">'", "\ud800", "  "])
def test_any_name_is_valid_xml(name: str) -> None:
    root = parsed(gate_of(failing(name), broken(f"{name}2", name)))
    assert len(root.findall("testsuite")) == 2


def test_the_schema_refuses_what_it_should() -> None:
    text = render(gate_of(failing()), "junit")
    for old, new in (
        ('tests="5"', 'tests="-1"'),
        ("failure", "failed"),
        (' hostname="localhost"', ""),
        ('timestamp="2026-02-03T04:05:06"', 'timestamp="2026-02-03 04:05"'),
    ):
        assert old in text
        assert not SCHEMA.is_valid(text.replace(old, new))
