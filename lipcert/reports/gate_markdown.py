"""A gate as Markdown, for job summaries and comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.gate_text import verdict_row
from lipcert.reports.gate_words import arithmetic, closer, outcome
from lipcert.reports.markdown import code, document, escaped, table

if TYPE_CHECKING:
    from lipcert.gating.result import CheckResult, GateResult

MARKS = {"pass": "✅ pass", "fail": "❌ fail", "error": "⚠️ error"}


@renders("markdown", "GateResult")
def gate_markdown(result: GateResult) -> str:
    """What is not met first; then every check as a table."""
    parts = [part for found in result.checks for part in _check(found)]
    return document(f"### lipcert {outcome(result)}", *parts)


def _check(found: CheckResult) -> Iterator[str]:
    check = found.check
    data = f" on {code(check.data.as_posix())}" if check.data is not None else ""
    yield f"#### {escaped(check.name)}: {code(check.model.as_posix())}{data}"
    rows = []
    for verdict in found.verdicts:
        _, label, measured, percent, asked, by = verdict_row(verdict)
        rows.append((MARKS[verdict.outcome], escaped(label), measured, percent, asked, by))
    yield table(("", arithmetic(check), "found", "share", "asked", ""), rows, right={2, 3})
    failed = [verdict for verdict in found.verdicts if verdict.outcome == "fail"]
    commands = dict.fromkeys(closer(check, verdict) for verdict in failed)
    if commands:
        listed = "\n".join(commands).replace("```", "'''")
        yield f"To look closer:\n\n```\n{listed}\n```"
    problems = dict.fromkeys(v.problem.message for v in found.verdicts if v.problem)
    yield from (escaped(" ".join(message.split())) for message in problems)
