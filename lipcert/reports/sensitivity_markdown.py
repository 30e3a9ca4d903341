"""Sensitivities as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.reports import sensitivity_content as content
from lipcert.reports.formats import renders
from lipcert.reports.markdown import code, document, escaped, fact_table, table

if TYPE_CHECKING:
    from lipcert.sensitivities.analysis import Analysis


@renders("markdown", "Analysis")
def analysis_markdown(analysis: Analysis) -> str:
    """The global bound, a row for each layer, noise and what must be upheld."""
    titles = content.layer_titles(analysis)
    rows = [(code(name), *rest) for name, *rest in content.layer_rows(analysis)]
    facts = [*content.comparison_facts(analysis), *content.privacy_facts(analysis)]
    noise = [(code(name), *rest) for name, *rest in content.noise_rows(analysis)]
    sentences = content.assumption_sentences(analysis)
    return document(
        f"### {code(analysis.sensitivities.model)}: {content.headline(analysis)}",
        fact_table(content.global_facts(analysis)),
        table(titles, rows, right=set(range(2, len(titles)))),
        fact_table(facts) if facts else "",
        table(content.NOISE_TITLES, noise, right={1, 2, 3, 4}) if noise else "",
        "\n".join(f"* {escaped(sentence)}" for sentence in sentences),
        escaped(content.statement(analysis)),
        content.provenance(analysis),
    )
