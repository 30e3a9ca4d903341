"""Results as HTML tables for notebooks; every text is escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from lipcert.reports import content, residual_rows, sensitivity_content
from lipcert.reports.numbers import HEADLINE, at_most
from lipcert.reports.words import (
    attack_note,
    certificate_statement,
    disagreement_note,
    float32_note,
    plural,
    printable,
    proof_note,
    semantics_of,
    statement,
    subject,
)

if TYPE_CHECKING:
    from lipcert.bounds.result import LipschitzBound
    from lipcert.certification.result import Certificates
    from lipcert.inspection import Inspection
    from lipcert.sensitivities.analysis import Analysis

LEFT = ' style="text-align: left"'


def bound_table(bound: LipschitzBound) -> str:
    """A bound: upper, lower, ratio; or why none is finite."""
    proved = statement(bound, at_most(bound.value, HEADLINE))
    titles = content.method_titles(bound)
    return _figure(
        f"{bound.model}: {subject(bound)}",
        _table((), content.bound_facts(bound)),
        _table(titles, content.method_rows(bound)) if titles else "",
        f"Proved {semantics_of(bound)}: {proved}." if bound.is_finite else "",
        content.bound_provenance(bound),
    )


def certificate_table(certificates: Certificates) -> str:
    """Counts for every ε, and statistics of the radii."""
    counts = [
        (label, fraction, percent, attacked)
        for (label, _, fraction, percent), attacked in zip(
            content.count_rows(certificates), content.attacked_texts(certificates), strict=True
        )
    ]
    samples = plural(certificates.samples, "sample")
    return _figure(
        f"{certificates.bound.model} on {certificates.data}: {samples}, {certificates.norm}",
        _table(content.count_titles(certificates), counts),
        _table((), [*content.radius_facts(certificates), *content.score_facts(certificates)]),
        certificate_statement(certificates),
        float32_note(certificates),
        attack_note(certificates),
        proof_note(certificates),
        disagreement_note(certificates),
        content.certificates_provenance(certificates),
    )


def layer_table(inspection: Inspection) -> str:
    """The layers of a model, and what stands in the way of a finite bound."""
    obstacles = [
        f"{', '.join(nodes)} {finding}; {help}"
        for nodes, finding, help in content.obstacle_groups(inspection)
    ]
    return _figure(
        f"{inspection.model}: {content.model_summary(inspection)}",
        _table(content.layer_titles(inspection), content.layer_rows(inspection)),
        content.contraction_note(inspection),
        _table(residual_rows.block_titles(inspection), residual_rows.block_rows(inspection))
        if inspection.blocks
        else "",
        *(obstacles or ["Nothing stands in the way of a finite bound."]),
    )


def analysis_table(analysis: Analysis) -> str:
    """Sensitivities: the global bound, a row for each layer, noise."""
    record = sensitivity_content.record_of_analysis(analysis)
    facts = [
        *sensitivity_content.global_facts(record),
        *sensitivity_content.comparison_facts(record),
        *sensitivity_content.privacy_facts(record),
    ]
    noise = sensitivity_content.noise_rows(record)
    titles = sensitivity_content.layer_titles(record)
    return _figure(
        f"{record.model}: {sensitivity_content.headline(record)}",
        _table((), facts),
        _table(titles, sensitivity_content.layer_rows(record)),
        _table(sensitivity_content.NOISE_TITLES, noise) if noise else "",
        *sensitivity_content.assumption_sentences(record),
        sensitivity_content.statement(record),
        sensitivity_content.provenance(record, analysis.sensitivities.seconds),
    )


class _Html(str):
    """Text that is HTML already."""


def _figure(title: str, *parts: str) -> str:
    """A heading and its parts; what is not HTML becomes a paragraph."""
    body = [part if isinstance(part, _Html) else _element("p", part) for part in parts if part]
    return _element("div", _Html(_element("strong", title) + "".join(body)))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> _Html:
    head = _Html("".join(_element("th", text, LEFT) for text in titles))
    lines = [_Html("".join(_element("td", text, LEFT) for text in row)) for row in rows]
    body = _Html("".join(_element("tr", line) for line in lines))
    start = _element("thead", _element("tr", head)) if titles else _Html()
    return _element("table", _Html(start + _element("tbody", body)))


def _element(tag: str, content: str, attributes: str = "") -> _Html:
    inner = content if isinstance(content, _Html) else escape(printable(content))
    return _Html(f"<{tag}{attributes}>{inner}</{tag}>")


TABLES: dict[str, Callable[..., str]] = {
    "LipschitzBound": bound_table,
    "Certificates": certificate_table,
    "Inspection": layer_table,
    "Analysis": analysis_table,
}
"""The table of each result class, by its name."""
