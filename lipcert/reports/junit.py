"""A gate as JUnit XML: a suite for each check, a case for each condition.

The elements and attributes are those that the schema of Ant's JUnit report and that of Jenkins'
xUnit plugin share, so both accept it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.gate_words import condition_text, explanation, statement, verdict_line
from lipcert.reports.words import printable

if TYPE_CHECKING:
    from lipcert.gating.result import CheckResult, GateResult, Verdict

NO_TIME = "1970-01-01T00:00:00"


@renders("junit", "GateResult")
def gate_junit(result: GateResult) -> str:
    """``<failure>`` is a condition that is not met, ``<error>`` one that could not be judged."""
    root = ElementTree.Element("testsuites")
    for number, found in enumerate(result.checks):
        root.append(_suite(found, number, result.started or NO_TIME))
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(found: CheckResult, number: int, started: str) -> ElementTree.Element:
    outcomes = [verdict.outcome for verdict in found.verdicts]
    suite = ElementTree.Element(
        "testsuite",
        name=_token(found.check.name),
        package="lipcert",
        id=str(number),
        timestamp=started,
        hostname="localhost",
        tests=str(len(outcomes)),
        failures=str(outcomes.count("fail")),
        errors=str(outcomes.count("error")),
        skipped="0",
        time=f"{found.seconds:.3f}",
    )
    listed = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(found):
        ElementTree.SubElement(listed, "property", name=name, value=printable(value))
    share = found.seconds / max(len(outcomes), 1)
    for verdict in found.verdicts:
        suite.append(_case(found, verdict, share))
    lines = "\n".join(verdict_line(verdict) for verdict in found.verdicts)
    ElementTree.SubElement(suite, "system-out").text = lines
    ElementTree.SubElement(suite, "system-err").text = ""
    return suite


def _properties(found: CheckResult) -> list[tuple[str, str]]:
    record = found.record
    listed = [("model", found.check.model.as_posix())]
    if found.check.data is not None:
        listed.append(("data", found.check.data.as_posix()))
    if record is not None:
        listed += [("model_sha256", record.model_sha256), ("data_sha256", record.data_sha256)]
    return listed


def _case(found: CheckResult, verdict: Verdict, seconds: float) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        name=_token(condition_text(verdict)),
        classname=_token(f"lipcert.{found.check.name}"),
        time=f"{seconds:.3f}",
    )
    told = "\n".join(explanation(found, verdict))
    if verdict.outcome == "fail":
        inner = ElementTree.SubElement(
            case, "failure", type=verdict.condition.kind, message=printable(statement(verdict))
        )
        inner.text = told
    elif verdict.problem:
        inner = ElementTree.SubElement(case, "error", type=verdict.problem.kind, message=told)
        inner.text = told
    return case


def _token(text: str) -> str:
    """A name without line breaks, or spaces at its ends."""
    return " ".join(printable(text).split()) or "check"
