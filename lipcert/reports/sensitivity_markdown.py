"""Sensitivities as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.reports import sensitivity_content as content
from lipcert.reports.formats import renders
from lipcert.reports.markdown import code, document, escaped, fact_table, table

if TYPE_CHECKING:
    from lipcert.reports.html.sensitivity_record import SensitivityRecord
    from lipcert.sensitivities.analysis import Analysis


@renders("markdown", "Analysis")
def analysis_markdown(analysis: Analysis) -> str:
    """The global bound, a row for each layer, noise and what must be upheld."""
    return sensitivity_markdown(content.record_of_analysis(analysis))


@renders("markdown", "SensitivityRecord")
def sensitivity_markdown(record: SensitivityRecord) -> str:
    """The same for a result that has been read."""
    titles = content.layer_titles(record)
    rows = [(code(name), escaped(kind), *rest) for name, kind, *rest in content.layer_rows(record)]
    facts = [*content.comparison_facts(record), *content.privacy_facts(record)]
    noise = [(code(name), *rest) for name, *rest in content.noise_rows(record)]
    sentences = content.assumption_sentences(record)
    return document(
        f"### {code(record.model)}: {content.headline(record)}",
        fact_table((escaped(a), b, c) for a, b, c in content.global_facts(record)),
        table(titles, rows, right=set(range(2, len(titles)))),
        fact_table(facts) if facts else "",
        table(content.NOISE_TITLES, noise, right={1, 2, 3, 4}) if noise else "",
        "\n".join(f"* {escaped(sentence)}" for sentence in sentences),
        escaped(content.statement(record)),
        escaped(content.provenance(record)),
    )
