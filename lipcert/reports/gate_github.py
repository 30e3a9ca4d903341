"""A gate as GitHub workflow commands, and its job summary.

GitHub shows at most ten error annotations of a step, and takes at most 1 MiB of summary from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.gate_markdown import gate_markdown
from lipcert.reports.gate_words import explanation, outcome, statement
from lipcert.reports.words import plural, printable

if TYPE_CHECKING:
    from lipcert.gating.result import CheckResult, GateResult, Verdict

MOST_ANNOTATIONS = 10
SUMMARY_BYTES = 1_000_000
"""A little below the 1 MiB that GitHub takes."""


@renders("github", "GateResult")
def gate_github(result: GateResult) -> str:
    """An ``::error`` for each condition that is not met or not judged, or one ``::notice``."""
    told = list(_annotations(result))
    if not told:
        return f"{command('notice', outcome(result), title='lipcert gate')}\n"
    if len(told) > MOST_ANNOTATIONS:
        kept = MOST_ANNOTATIONS - 1
        more = f"{plural(len(told) - kept, 'more condition')} not met; the log names all of them"
        told = [*told[:kept], command("error", more, title="lipcert gate", file=result.uri)]
    return "\n".join(told) + "\n"


def _annotations(result: GateResult) -> Iterator[str]:
    for found in result.checks:
        seen: set[object] = set()
        for verdict in found.verdicts:
            if verdict.outcome == "pass" or (verdict.problem and verdict.problem in seen):
                continue
            seen.add(verdict.problem)
            yield _annotation(result, found, verdict)


def _annotation(result: GateResult, found: CheckResult, verdict: Verdict) -> str:
    lines = [statement(verdict), *explanation(found, verdict)]
    word = "error" if verdict.problem else "not met"
    return command(
        "error",
        "\n".join(map(printable, lines)),
        file=printable(result.uri),
        line=str(found.check.line),
        title=printable(f"lipcert gate {word}: {found.check.name}"),
    )


def command(name: str, message: str, **properties: str) -> str:
    """A workflow command, escaped as GitHub's runner reads it."""
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {listed}::{_data(message)}"


def summary(result: GateResult, room: int = SUMMARY_BYTES) -> str:
    """The Markdown of a job summary in at most ``room`` bytes, cut at the end of a line."""
    text = str(gate_markdown(result)) + "\n"
    if len(text.encode()) <= room:
        return text
    note = "\n\nThe rest is left out for its length; the log names every condition.\n"
    kept: list[str] = []
    left = room - len(note.encode())
    for line in text.splitlines():
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    fence = "\n```" if sum(line.startswith("```") for line in kept) % 2 else ""
    shown = "\n".join(kept) + fence + note
    return shown if len(shown.encode()) <= room else ""


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
