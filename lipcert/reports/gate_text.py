"""A gate as text: a table of conditions for every check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.gate_words import (
    SIGNS,
    arithmetic,
    bound_text,
    closer,
    explanation,
    fraction,
    outcome,
    quantity,
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


def verdict_row(verdict: Verdict) -> tuple[str, str, str, str, str, str]:
    """Outcome, what is counted, what was found, its share, what is asked, by how much it misses."""
    sign, eps = SIGNS[verdict.outcome], verdict.condition.eps
    label = f"{quantity(verdict)} at {eps}" if eps else quantity(verdict)
    asked = asked_text(verdict)
    if verdict.outcome == "error":
        return sign, label, "", "", asked, "not judged"
    if verdict.share is None:
        return sign, label, bound_text(verdict), "", asked, shortfall(verdict)
    percent = percentage(*verdict.share)
    return sign, label, fraction(verdict.share), percent, asked, shortfall(verdict)


def asked_text(verdict: Verdict) -> str:
    """``≥ 0.97``, ``≤ 2.5``, ``≥ 441/450 − 0.01``."""
    condition = verdict.condition
    if condition.kind == "max-lipschitz":
        return f"≤ {condition.threshold}"
    if condition.kind == "max-drop":
        before = fraction(verdict.before) if verdict.before else "baseline"
        return f"≥ {before} − {condition.threshold}"
    return f"≥ {condition.threshold}"


def subject(found: CheckResult) -> str:
    """The model, and the data where there are any."""
    data = found.check.data
    return f"{found.check.model}" + (f" on {data}" if data is not None else "")


def _check(found: CheckResult) -> Iterator[RenderableType]:
    from lipcert.reports.tables import Style, grid, note, title

    yield ""
    what = f"{printable(subject(found))}, {arithmetic(found.check)}, {duration(found.seconds)}"
    yield title(found.check.name, what)
    number = Style(right=True)
    styles = (Style("bold"), Style(), number, number, Style(), Style("red"))
    yield grid((), [verdict_row(verdict) for verdict in found.verdicts], styles)
    for line in remarks(found):
        yield note(line)


def remarks(found: CheckResult) -> list[str]:
    """The commands that show more, each once; and what the errors say."""
    failed = [verdict for verdict in found.verdicts if verdict.outcome == "fail"]
    commands = dict.fromkeys(closer(found.check, verdict) for verdict in failed)
    problems = dict.fromkeys(
        line
        for verdict in found.verdicts
        if verdict.problem
        for line in explanation(found, verdict)
    )
    return [*(f"to look closer: {command}" for command in commands), *problems]
