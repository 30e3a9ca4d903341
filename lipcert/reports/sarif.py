"""A gate as SARIF 2.1.0 (OASIS), for code scanning.

Conditions that are not met are results; those that could not be judged are notifications of an
invocation that was not successful, so an error is never taken for a finding.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lipcert.reports.formats import renders
from lipcert.reports.gate_words import TITLES, explanation, statement
from lipcert.reports.words import printable

if TYPE_CHECKING:
    from lipcert.gating.result import CheckResult, GateResult, Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
HELP = {
    "min-clean-accuracy": "Fewer samples are predicted correctly than the configuration asks for.",
    "min-certified-accuracy": "Fewer samples are proved robust at this size than the "
    "configuration asks for.",
    "max-lipschitz": "The proven bound of the Lipschitz constant is above what the configuration "
    "allows.",
    "max-drop": "The share of correct or certified samples fell further below the baseline than "
    "the configuration allows.",
}
RULES = tuple(HELP)


@renders("sarif", "GateResult")
def gate_sarif(result: GateResult) -> str:
    """One run, with a rule for each kind of condition."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(result)]}
    return json.dumps(log, indent=2) + "\n"


def _run(result: GateResult) -> dict[str, Any]:
    driver = {
        "name": "lipcert",
        "version": result.versions.get("lipcert", "0"),
        "rules": [_rule(kind) for kind in RULES],
    }
    return {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(result)],
        "results": [
            _result(result, found, verdict)
            for found in result.checks
            for verdict in found.verdicts
            if verdict.outcome == "fail"
        ],
    }


def _rule(kind: str) -> dict[str, Any]:
    name = "".join(part.capitalize() for part in kind.split("-"))
    return {
        "id": f"lipcert/{kind}",
        "name": name,
        "shortDescription": {"text": f"{TITLES[kind]}."},
        "fullDescription": {"text": HELP[kind]},
        "help": {"text": f"{HELP[kind]} The message says by how much, and how to look closer."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["robustness"]},
    }


def _result(result: GateResult, found: CheckResult, verdict: Verdict) -> dict[str, Any]:
    text = f"{found.check.name}: {statement(verdict)}; {'; '.join(explanation(found, verdict))}"
    identity = "\n".join((found.check.name, verdict.condition.kind, verdict.condition.eps))
    digest = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()
    return {
        "ruleId": f"lipcert/{verdict.condition.kind}",
        "ruleIndex": RULES.index(verdict.condition.kind),
        "level": "error",
        "message": {"text": printable(text)},
        "locations": [_location(result, found)],
        "partialFingerprints": {"lipcertCondition/v1": digest},
    }


def _location(result: GateResult, found: CheckResult) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(result.uri), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": found.check.line},
        }
    }


def _invocation(result: GateResult) -> dict[str, Any]:
    invocation: dict[str, Any] = {
        "executionSuccessful": not result.errors,
        "exitCode": result.exit_code,
    }
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for found in result.checks:
        for verdict in found.verdicts:
            if verdict.problem:
                text = printable(f"{found.check.name}: {verdict.problem.message}")
                seen[found.check.name, text] = {
                    "level": "error",
                    "descriptor": {"id": verdict.problem.kind},
                    "message": {"text": text},
                    "locations": [_location(result, found)],
                }
    if seen:
        invocation["toolExecutionNotifications"] = list(seen.values())
    return invocation
