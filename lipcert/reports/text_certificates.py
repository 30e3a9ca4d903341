"""Certificates as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from lipcert.reports import content
from lipcert.reports.numbers import at_most
from lipcert.reports.tables import Style, facts, grid, note, title
from lipcert.reports.words import (
    attack_note,
    certificate_statement,
    disagreement_note,
    float32_note,
    plural,
    printable,
    proof_note,
)

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates

COUNT_STYLES = (
    Style(),
    Style("bold", right=True),
    Style(right=True),
    Style("green"),
    Style("dim"),
)
BAR, NARROW_BAR = 24, 12
UNKNOWN, LOST = "░", "·"
EIGHTHS = " ▏▎▍▌▋▊▉█"


def certificates_layout(certificates: Certificates) -> RenderableType:
    """The whole run."""
    total = certificates.samples
    width = BAR if certificates.attack is None else NARROW_BAR
    left = [certificates.clean_correct, *(entry.attacked for entry in certificates.certified)]
    rows: list[tuple[str, ...]] = [
        (label, fraction, percent, bar(count, total, width, left=most), attacked)
        for (label, count, fraction, percent), most, attacked in zip(
            content.count_rows(certificates),
            left,
            content.attacked_texts(certificates),
            strict=True,
        )
    ]
    *heads, attacked = content.count_titles(certificates)
    titles = (*heads, "", attacked) if attacked else ()
    real = content.real_texts(certificates)
    if real:
        titles = (*heads, "", attacked, "in reals")
        rows = [(*row, text) for row, text in zip(rows, real, strict=True)]
    what = f"on {printable(certificates.data)}, {plural(total, 'sample')}, {certificates.norm}"
    return Group(
        title(certificates.bound.model, what),
        "",
        grid(titles, rows, (*COUNT_STYLES, Style(right=True)) if real else COUNT_STYLES),
        "",
        facts([*content.radius_facts(certificates), *content.score_facts(certificates)]),
        "",
        *_notes(certificates),
    )


def bar(count: int, total: int, width: int = BAR, *, left: int | None = None) -> str:
    """A bar of eighths of a character; only nothing is empty, only everything is full.

    ``left`` is what an attack leaves: the part between is shaded.
    """
    eighths = max(8 * width * count // total, 1 if count else 0)
    whole, part = divmod(eighths, 8)
    proved = "█" * whole + (EIGHTHS[part] if part else "")
    most = -(-width * (count if left is None else left) // total)
    return proved.ljust(most, UNKNOWN).ljust(width, LOST)


def _notes(certificates: Certificates) -> Iterator[RenderableType]:
    yield note(certificate_statement(certificates))
    for text in (
        float32_note(certificates),
        attack_note(certificates),
        proof_note(certificates),
    ):
        if text:
            yield note(text)
    if certificates.proof is not None and certificates.proof.check:
        yield note(f"To check it: {printable(certificates.proof.check)}")
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
