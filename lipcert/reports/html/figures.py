"""The headline figures: what was asked for, in the fewest words."""

from __future__ import annotations

from dataclasses import dataclass

from lipcert.reports.html.record import Level, Record
from lipcert.reports.html.sentences import radius_text
from lipcert.reports.html.tables import level_label
from lipcert.reports.numbers import HEADLINE, at_most, percentage, percentage_up
from lipcert.reports.words import ITSELF


@dataclass(frozen=True)
class Figure:
    """A label, a value, remarks under it, and shares in thousandths for a bar (None: no bar)."""

    label: str
    value: str
    remarks: tuple[str, ...]
    proved: int | None = None
    possible: int | None = None
    lead: bool = False


def figures(record: Record) -> tuple[Figure, ...]:
    """Clean accuracy, certified accuracy at every ε, the median radius, the bound."""
    total = record.samples
    clean = Figure(
        "Clean accuracy",
        percentage(record.clean_correct, total),
        (f"{record.clean_correct}/{total} predicted correctly",),
        1000 * record.clean_correct // total,
    )
    median = Figure(
        "Median radius",
        radius_text(record.radii.median),
        (f"{record.norm} norm; a wrong prediction counts as 0",),
    )
    how = ITSELF if record.bound.exact else f"method {record.method}"
    bound = Figure(
        "Lipschitz constant ≤",
        at_most(record.bound.value, HEADLINE),
        (f"of the logits, {record.norm} norm: {how}",),
    )
    return (clean, *(_level(level, total) for level in record.levels), median, bound)


def _level(level: Level, total: int) -> Figure:
    remarks = [f"{level.certified}/{total} certified"]
    if level.real is not None:
        remarks.append(f"{level.real}/{total} in real arithmetic")
    possible = None
    if level.attacked is not None:
        share = percentage_up(level.attacked, total)
        remarks.append(f"{level.attacked}/{total} left by the attack, {share}")
        possible = -(-1000 * level.attacked // total)
    return Figure(
        f"Certified at ε = {level_label(level)}",
        percentage(level.certified, total),
        tuple(remarks),
        1000 * level.certified // total,
        possible,
        lead=True,
    )
