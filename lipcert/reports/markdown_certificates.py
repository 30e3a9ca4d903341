"""Certificates in Markdown, from the JSON object: the same from a run and from a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.html import sentences, tables
from lipcert.reports.html.cells import Table
from lipcert.reports.html.record import Record, record_of
from lipcert.reports.html.tables import level_label
from lipcert.reports.markdown import code, document, escaped, fact_table, table
from lipcert.reports.numbers import HEADLINE, at_least, at_most, percentage, percentage_up
from lipcert.reports.words import plural

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates
    from lipcert.reports.content import Fact

MOST_CLASSES = 50
"""Rows of the table of classes beyond which it is left to the other formats."""


@renders("markdown", "Certificates")
def certificates_markdown(certificates: Certificates) -> str:
    """Counts for every ε, statistics of the radii, and what is proved."""
    from lipcert.reports.json_certificates import certificates_object

    return record_markdown(record_of(certificates_object(certificates)))


@renders("markdown", "Record")
def record_markdown(record: Record) -> str:
    """The same for a result that has been read."""
    return document(
        f"### {code(record.model)} on {code(record.data)}: "
        f"{plural(record.samples, 'sample')}, {escaped(record.norm)}",
        _counts(record),
        fact_table(_facts(record)),
        *_auroc(record),
        "#### Classes",
        _classes(record),
        "#### What is proved",
        escaped(f"{sentences.proved(record)} {sentences.units_note(record)}"),
        escaped(sentences.attacked(record)),
        _bullets(sentences.observed(record)),
        "Not covered:",
        _bullets(sentences.not_covered(record)),
        _normalization(record),
        *_proof(record),
        "#### Origin",
        _fenced(record.command),
        table(("", ""), _origin(record)),
    )


def _counts(record: Record) -> str:
    """Certified from below and, where there was an attack, attacked from above."""
    total = record.samples
    correct = f"{record.clean_correct}/{total}"
    rows = [("correct", correct, percentage(record.clean_correct, total), "", "", "")]
    for level in record.levels:
        label = f"ε = {escaped(level_label(level))}"
        share = percentage(level.certified, total)
        left = _attacked(level.attacked, total)
        real = "" if level.real is None else f"{level.real}/{total}"
        rows.append((label, f"{level.certified}/{total}", share, *left, real))
    titles = ["", "certified", "share"]
    if record.attack is not None:
        titles = ["", "certified ≤", "share ≤", "≤ left by the attack", "≤ share"]
    shown = list(range(len(titles)))
    if record.semantics == "float32":
        titles.append("certified in real arithmetic")
        shown.append(5)
    chosen = [tuple(row[place] for place in shown) for row in rows]
    return table(tuple(titles), chosen, right=set(range(1, len(titles))))


def _attacked(count: int | None, total: int) -> tuple[str, str]:
    if count is None:
        return "", ""
    return f"{count}/{total}", percentage_up(count, total)


def _facts(record: Record) -> Iterator[Fact]:
    radii, unit = record.radii, f"{record.norm}, in {record.units}"
    yield "median radius", sentences.radius_text(radii.median), unit
    yield "mean radius", sentences.radius_text(radii.mean), "a wrong prediction counts as 0"
    yield "largest radius", sentences.radius_text(radii.maximum), ""
    if record.scores is not None:
        remark = "of the scores, signed by their labels"
        yield "mean certified radius", at_least(record.scores.mcr, 5), remark
    remark = f"{record.norm} constant of the logits ({record.method})"
    yield "proven upper bound", at_most(record.bound.value, HEADLINE), remark


def _auroc(record: Record) -> Iterator[str]:
    found = tables.score_table(record)
    if found is not None:
        yield f"{found.caption}:"
        yield _table(found)


def _classes(record: Record) -> str:
    if len(record.classes) > MOST_CLASSES:
        return f"{plural(len(record.classes), 'class', 'classes')}: --format json has all of them."
    return _table(tables.class_table(record))


def _table(found: Table) -> str:
    """A table of the page; heads that span columns are put before each of those."""
    spans = [title for title, span in found.groups for _ in range(span)]
    spans = spans or [""] * len(found.heads)
    titles = [
        escaped(f"{span} {head.text}".strip())
        for span, head in zip(spans, found.heads, strict=True)
    ]
    rows = [[escaped(cell.text) for cell in row] for row in found.rows]
    return table(titles, rows, right=set(range(len(titles))))


def _bullets(lines: Iterator[str]) -> str:
    return "\n".join(f"* {escaped(line)}" for line in lines)


def _normalization(record: Record) -> str:
    if not record.normalization:
        return ""
    text = escaped(sentences.normalization_text(record))
    return f"Normalisation inside the certified map: {text}."


def _proof(record: Record) -> Iterator[str]:
    """The proof file, what it certifies, and the command that checks it."""
    if record.proof is None:
        return
    yield "#### Proof file"
    yield escaped(sentences.proof_file(record))
    if record.proof.check:
        yield "To check it:"
        yield _fenced(record.proof.check)


def _fenced(command: str) -> str:
    """A command between fences longer than any run of backticks in it; "" for none."""
    if not command:
        return ""
    fence = "```"
    while fence in command:
        fence += "`"
    return f"{fence}\n{command}\n{fence}"


def _origin(record: Record) -> Iterator[tuple[str, str]]:
    for name, _, digest in sentences.digests(record):
        if digest:
            yield f"sha256 of the {name}", code(digest)
    versions = ", ".join(f"{name} {number}" for name, number in record.versions)
    yield "versions", escaped(versions)
    yield "computed", escaped(f"on {record.bound.device}, spectral {record.bound.spectral}")
