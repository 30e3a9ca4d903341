"""An inspection as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from lipcert.reports import content, residual_rows
from lipcert.reports.tables import Style, facts, grid, heading, names, note, title

if TYPE_CHECKING:
    from lipcert.inspection import Inspection

LAYER_STYLES = (
    Style("cyan", shrinks=2),
    Style(shrinks=1),
    Style(),
    Style(right=True),
    Style(),
    Style("bold", decimal=True),
    Style("green"),
)
BLOCK_STYLES = (
    Style("cyan", shrinks=2),
    Style("cyan", shrinks=3),
    Style(shrinks=1),
    Style("bold", decimal=True),
    Style("green"),
    Style("bold", decimal=True),
)
FACTOR_STYLES = (Style("cyan", shrinks=1), Style("bold", decimal=True), Style("dim"))


def inspection_layout(inspection: Inspection) -> RenderableType:
    """The whole inspection."""
    return Group(
        title(inspection.model, content.model_summary(inspection)),
        "",
        grid(content.layer_titles(inspection), content.layer_rows(inspection), LAYER_STYLES),
        note(content.contraction_note(inspection)),
        "",
        *_product(inspection),
        "",
        *_blocks(inspection),
        *_obstacles(inspection),
    )


def _product(inspection: Inspection) -> Iterator[RenderableType]:
    yield heading("Factors of the product bound")
    heads = ("from → to", f"{inspection.norm} norm ≤", "found by")
    yield grid(heads, content.factor_rows(inspection), FACTOR_STYLES)
    left_out = content.factor_note(inspection)
    if left_out:
        yield note(left_out)
    yield facts(content.product_facts(inspection))


def _blocks(inspection: Inspection) -> Iterator[RenderableType]:
    if inspection.blocks:
        yield heading(residual_rows.HEADING)
        rows = residual_rows.block_rows(inspection)
        yield grid(residual_rows.block_titles(inspection), rows, BLOCK_STYLES)
        yield note(residual_rows.block_note(inspection))
        yield ""


def _obstacles(inspection: Inspection) -> Iterator[RenderableType]:
    if not inspection.obstacles:
        yield heading("Nothing stands in the way of a finite bound", "green")
        return
    yield heading("What stands in the way of a finite bound", "bold red")
    for nodes, finding, help in content.obstacle_groups(inspection):
        yield names(nodes)
        yield facts([("why", "", finding), ("help", "", help)])
