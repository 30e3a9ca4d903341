"""Comparisons as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.compare_rows import drop_line, pair_notes, pair_title, row_cells
from lipcert.reports.formats import renders
from lipcert.reports.markdown import code, document, escaped
from lipcert.reports.markdown import table as pipe_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lipcert.gating.comparison import Comparison, Pair

HEADS = ("", "old", "new", "change")


@renders("text", "Comparison")
def comparison_text(comparison: Comparison) -> RenderableType:
    """A table for each check, and what was allowed."""
    from rich.console import Group

    from lipcert.reports.tables import note, title

    parts = [part for pair in comparison.pairs for part in _text(pair)]
    drops = [note(drop_line(verdict), "") for verdict in comparison.verdicts]
    rest = ["", *drops] if drops else []
    return Group(title(comparison.old, f"→ {comparison.new}"), *parts, *rest)


def _text(pair: Pair) -> Iterator[RenderableType]:
    from lipcert.reports.tables import Style, grid, heading, note
    from lipcert.reports.words import printable

    yield ""
    yield heading(printable(pair_title(pair)))
    if pair.rows:
        styles = (Style(), Style(right=True), Style(right=True), Style("bold", right=True))
        yield grid(HEADS, [row_cells(row) for row in pair.rows], styles)
    yield from map(note, pair_notes(pair))


@renders("markdown", "Comparison")
def comparison_markdown(comparison: Comparison) -> str:
    """The same as tables."""
    parts = [part for pair in comparison.pairs for part in _markdown(pair)]
    drops = "\n".join(f"* {escaped(drop_line(verdict))}" for verdict in comparison.verdicts)
    return document(f"### {code(comparison.old)} → {code(comparison.new)}", *parts, drops)


def _markdown(pair: Pair) -> Iterator[str]:
    yield f"#### {escaped(pair_title(pair))}"
    rows = [tuple(map(escaped, row_cells(row))) for row in pair.rows]
    yield pipe_table(HEADS, rows, right={1, 2, 3}) if rows else ""
    yield from (f"{escaped(note)}." for note in pair_notes(pair))
