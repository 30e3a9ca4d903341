"""Sensitivities as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.reports import sensitivity_content as content
from lipcert.reports.formats import renders

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lipcert.sensitivities.analysis import Analysis


@renders("text", "Analysis")
def analysis_text(analysis: Analysis) -> RenderableType:
    """The global bound, a row for each layer, noise and what must be upheld."""
    from rich.console import Group

    from lipcert.reports.tables import Style, facts, grid, heading, note, title

    record = content.record_of_analysis(analysis)
    seconds = analysis.sensitivities.seconds
    number = Style(decimal=True)
    name = Style("cyan", shrinks=2)
    parts: list[RenderableType] = [
        title(record.model, content.headline(record)),
        "",
        facts(content.global_facts(record)),
        "",
    ]
    titles = content.layer_titles(record)
    styles = (name, Style(), *(number,) * (len(titles) - 2))
    parts += [grid(titles, content.layer_rows(record), styles), ""]
    for listed in (content.comparison_facts(record), content.privacy_facts(record)):
        rows = list(listed)
        if rows:
            parts += [facts(rows), ""]
    noise = content.noise_rows(record)
    if noise:
        styles = (name, Style(right=True), *(number,) * 3)
        parts += [heading("Standard deviation of the noise on each number"), ""]
        parts += [grid(content.NOISE_TITLES, noise, styles), ""]
    parts += [note(sentence) for sentence in content.assumption_sentences(record)]
    parts += [note(content.statement(record)), note(content.provenance(record, seconds))]
    return Group(*parts)
