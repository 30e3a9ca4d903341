"""A gate as JSON: schema lipcert/gate/1; and its baseline: schema lipcert/baseline/1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.gate_words import closer, condition_text, shortfall, statement
from lipcert.reports.json_format import Json, plain_object, written

if TYPE_CHECKING:
    from lipcert.gating.result import CheckResult, GateResult, Verdict


@renders("json", "GateResult")
def gate_json(result: GateResult) -> str:
    """Schema lipcert/gate/1."""
    return written(gate_object(result))


def gate_object(result: GateResult) -> dict[str, Json]:
    """The object of ``lipcert gate``."""
    return plain_object(
        {
            "schema": "lipcert/gate/1",
            "met": result.met,
            "exit_code": result.exit_code,
            "config": result.uri,
            "baseline": result.baseline and result.baseline.as_posix(),
            "conditions": len(result.verdicts),
            "failed": len(result.failures),
            "errors": len(result.errors),
            "checks": [check_object(found) for found in result.checks],
            "versions": result.versions,
        }
    )


def check_object(found: CheckResult) -> dict[str, object]:
    """One check: its files, what was measured, and its verdicts."""
    check = found.check
    return {
        "name": check.name,
        "line": check.line,
        "model": check.model.as_posix(),
        "data": check.data and check.data.as_posix(),
        "measured": found.record and found.record.object,
        "verdicts": [verdict_object(found, verdict) for verdict in found.verdicts],
    }


def verdict_object(found: CheckResult, verdict: Verdict) -> dict[str, object]:
    """One verdict: thresholds are text, as they were written; counts are exact."""
    condition, problem = verdict.condition, verdict.problem
    count, samples = verdict.share or (None, None)
    before, before_samples = verdict.before or (None, None)
    failed = verdict.outcome == "fail"
    return {
        "condition": condition.kind,
        "threshold": condition.threshold,
        "eps": condition.eps or None,
        "norm": verdict.norm,
        "outcome": verdict.outcome,
        "count": count,
        "samples": samples,
        "baseline_count": before,
        "baseline_samples": before_samples,
        "lipschitz": verdict.value,
        "short": verdict.short if failed and verdict.share else None,
        "statement": condition_text(verdict) if problem else statement(verdict),
        "by": shortfall(verdict) or None,
        "closer": closer(found.check, verdict) if failed else None,
        "error": problem
        and {"kind": problem.kind, "exit_code": problem.code, "message": problem.message},
    }


def baseline_json(result: GateResult) -> str:
    """Schema lipcert/baseline/1.  Raises InputError where a check has an error."""
    from lipcert.gating.baseline import baseline_object

    return written({**plain_object(baseline_object(result)), "versions": {**result.versions}})
