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

    number = Style(decimal=True)
    name = Style("cyan", shrinks=2)
    parts: list[RenderableType] = [
        title(analysis.sensitivities.model, content.headline(analysis)),
        "",
        facts(content.global_facts(analysis)),
        "",
    ]
    titles = content.layer_titles(analysis)
    styles = (name, Style(), *(number,) * (len(titles) - 2))
    parts += [grid(titles, content.layer_rows(analysis), styles), ""]
    for listed in (content.comparison_facts(analysis), content.privacy_facts(analysis)):
        rows = list(listed)
        if rows:
            parts += [facts(rows), ""]
    noise = content.noise_rows(analysis)
    if noise:
        styles = (name, Style(right=True), *(number,) * 3)
        parts += [heading("Standard deviation of the noise on each number"), ""]
        parts += [grid(content.NOISE_TITLES, noise, styles), ""]
    parts += [note(sentence) for sentence in content.assumption_sentences(analysis)]
    parts += [note(content.statement(analysis)), note(content.provenance(analysis))]
    return Group(*parts)
