"""Certificates as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from lipcert.reports import content
from lipcert.reports.numbers import at_most
from lipcert.reports.tables import Style, facts, grid, note, title
from lipcert.reports.words import certificate_statement, disagreement_note, plural, printable

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates

COUNT_STYLES = (Style(), Style("bold", right=True), Style(right=True), Style("green"))
BAR = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"


def certificates_layout(certificates: Certificates) -> RenderableType:
    """The whole run."""
    total = certificates.samples
    rows = [
        (label, fraction, percent, bar(count, total))
        for label, count, fraction, percent in content.count_rows(certificates)
    ]
    what = f"on {printable(certificates.data)}, {plural(total, 'sample')}, {certificates.norm}"
    return Group(
        title(certificates.bound.model, what),
        "",
        grid((), rows, COUNT_STYLES),
        "",
        facts(content.radius_facts(certificates)),
        "",
        *_notes(certificates),
    )


def bar(count: int, total: int, width: int = BAR) -> str:
    """A bar of eighths of a character; only nothing is empty, only everything is full."""
    eighths = max(8 * width * count // total, 1 if count else 0)
    whole, part = divmod(eighths, 8)
    partial = EIGHTHS[part] if part else ""
    return ("█" * whole + partial).ljust(width, "·")


def _notes(certificates: Certificates) -> Iterator[RenderableType]:
    yield note(certificate_statement(certificates))
    disagreements = disagreement_note(certificates)
    if disagreements:
        yield note(disagreements, "yellow")
    yield note(
        f"Predictions by ONNX Runtime, within {at_most(certificates.largest_deviation, 2)} "
        "(relative) of the certified evaluation."
    )
    normalization = content.normalization_text(certificates)
    if normalization:
        yield note(f"Normalisation inside the certified map: {normalization}.")
    yield note(content.certificates_provenance(certificates))
