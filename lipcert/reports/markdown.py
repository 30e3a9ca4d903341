"""Markdown: tables that GitHub and GitLab show, for comments and job summaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lipcert.reports import content, residual_rows
from lipcert.reports.formats import renders
from lipcert.reports.numbers import HEADLINE, TABLE, at_most
from lipcert.reports.words import (
    printable,
    semantics_of,
    statement,
    subject,
)

if TYPE_CHECKING:
    from lipcert.bounds.result import LipschitzBound
    from lipcert.inspection import Inspection

ESCAPED = str.maketrans({c: f"\\{c}" for c in "\\`*[]<>|~#"})


@renders("markdown", "Inspection")
def inspection_markdown(inspection: Inspection) -> str:
    """Layers, factors and obstacles."""
    norm = inspection.norm
    factors = [(code(label), *rest) for label, *rest in content.factor_rows(inspection)]
    layers = [
        (code(name), code(kind), *rest) for name, kind, *rest in content.layer_rows(inspection)
    ]
    return document(
        f"### {code(inspection.model)}: layers and {norm} norms",
        escaped(content.model_summary(inspection)) + ".",
        table((*content.layer_titles(inspection)[:-1], "1-Lipschitz"), layers, right={3}),
        "#### Factors of the product bound",
        table(("from → to", f"{norm} norm ≤", "found by"), factors),
        content.factor_note(inspection),
        *_fact_lines(content.product_facts(inspection)),
        *_blocks(inspection),
        *_obstacles(inspection),
    )


def _blocks(inspection: Inspection) -> Iterator[str]:
    if inspection.blocks:
        rows = [(*map(code, row[:3]), *row[3:]) for row in residual_rows.block_rows(inspection)]
        yield f"#### {residual_rows.HEADING}"
        yield table(residual_rows.block_titles(inspection), rows)
        yield residual_rows.block_note(inspection) + "."


def _obstacles(inspection: Inspection) -> Iterator[str]:
    if not inspection.obstacles:
        yield "Nothing stands in the way of a finite bound."
        return
    yield "#### What stands in the way of a finite bound"
    for nodes, finding, help in content.obstacle_groups(inspection):
        listed = "\n".join(f"* {code(node)}" for node in nodes)
        yield f"{listed}\n\n{escaped(finding)}; {escaped(help)}."


@renders("markdown", "LipschitzBound")
def bound_markdown(bound: LipschitzBound) -> str:
    """The bound, every method's value, and what is proved."""
    titles = content.method_titles(bound)
    methods = [(*row[:3], *map(escaped, row[3:])) for row in content.method_rows(bound)]
    proved = statement(bound, at_most(bound.value, HEADLINE))
    return document(
        f"### {code(bound.model)}: {subject(bound)}",
        fact_table(content.bound_facts(bound)),
        table([head.strip() for head in titles], methods) if titles else "",
        _pairs(bound),
        f"Proved {semantics_of(bound)}: {proved}." if bound.is_finite else "",
        content.bound_provenance(bound),
    )


def _pairs(bound: LipschitzBound) -> str:
    if bound.pairwise is None or not bound.is_finite:
        return ""
    rows = [
        (str(index), *("·" if i == index else at_most(v, TABLE) for i, v in enumerate(row)))
        for index, row in enumerate(bound.pairwise)
    ]
    heads = ("", *map(str, range(len(rows))))
    title = f"{bound.norm} constants of the differences of two outputs:"
    return f"{title}\n\n{table(heads, rows, right=set(range(len(heads))))}"


def document(*parts: str) -> str:
    """The parts that are not empty, as paragraphs."""
    return "\n\n".join(part for part in parts if part) + "\n"


def _fact_lines(facts: Iterable[content.Fact]) -> Iterator[str]:
    for label, value, remark in facts:
        yield f"{label} **{value}** ({remark})"


def fact_table(facts: Iterable[content.Fact]) -> str:
    """Labels with their values and remarks; the values in bold."""
    rows = [
        (label, f"**{value}**" if value else "", escaped(remark)) for label, value, remark in facts
    ]
    if not any(value for _, value, _ in rows):
        return table(("", ""), [(label, remark) for label, _, remark in rows])
    return table(("", "", ""), rows)


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], right: set[int] | None = None
) -> str:
    """A pipe table; columns in ``right`` are aligned to the right."""
    rules = ["---:" if index in (right or ()) else "---" for index in range(len(titles))]
    lines = [titles, rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(name: str) -> str:
    """A name as code: nothing in it is read as Markdown."""
    return f"`{printable(name).replace('`', chr(0x2BC)).replace('|', chr(0x2758))}`"


def escaped(text: str) -> str:
    """Text in which Markdown and HTML find nothing to read."""
    return printable(text).translate(ESCAPED).replace("&", "&amp;")
