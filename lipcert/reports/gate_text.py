"""A gate as text: a table of conditions for every check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.gate_words import (
    SIGNS,
    bound_text,
    condition_text,
    explanation,
    fraction,
    outcome,
    shortfall,
)
from lipcert.reports.numbers import duration, percentage
from lipcert.reports.words import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lipcert.gating.result import CheckResult, GateResult, Verdict


@renders("text", "GateResult")
def gate_text(result: GateResult) -> RenderableType:
    """Checks, their verdicts, and what explains those that are not met."""
    from rich.console import Group

    from lipcert.reports.tables import title

    color = "bold green" if result.met else "bold red"
    parts = [part for found in result.checks for part in _check(found)]
    return Group(title(result.uri, outcome(result), color), *parts)


def verdict_row(verdict: Verdict) -> tuple[str, str, str, str, str]:
    """Outcome, condition, what was found, its share, and by how much it misses."""
    sign = SIGNS[verdict.outcome]
    if verdict.outcome == "error":
        return sign, condition_text(verdict), "", "", "not judged"
    if verdict.share is None:
        return sign, condition_text(verdict), bound_text(verdict), "", shortfall(verdict)
    found, percent = fraction(verdict.share), percentage(*verdict.share)
    if verdict.before is not None:
        found += f" (baseline {fraction(verdict.before)})"
    return sign, condition_text(verdict), found, percent, shortfall(verdict)


def subject(found: CheckResult) -> str:
    """The model, and the data where there are any."""
    data = found.check.data
    return f"{found.check.model}" + (f" on {data}" if data is not None else "")


def _check(found: CheckResult) -> Iterator[RenderableType]:
    from lipcert.reports.tables import Style, grid, note, title

    yield ""
    yield title(found.check.name, f"{printable(subject(found))}, {duration(found.seconds)}")
    styles = (Style("bold"), Style(shrinks=1), Style(right=True), Style(right=True), Style("red"))
    yield grid((), [verdict_row(verdict) for verdict in found.verdicts], styles)
    told = dict.fromkeys(line for v in found.verdicts for line in explanation(found, v))
    for line in told:
        yield note(line)
