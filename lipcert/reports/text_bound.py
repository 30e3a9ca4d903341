"""A bound as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult

from lipcert.reports import content
from lipcert.reports.numbers import HEADLINE, at_most
from lipcert.reports.tables import GAP, Column, Grid, Style, facts, grid, heading, note, title
from lipcert.reports.words import printable, semantics_of, statement, subject

if TYPE_CHECKING:
    from lipcert.bounds.result import LipschitzBound

METHOD_STYLES = (
    Style("cyan"),
    Style(decimal=True),
    Style("green"),
    Style("dim", shrinks=1, wraps=True),
)
PAIR_DIGITS = 4


def bound_layout(bound: LipschitzBound) -> RenderableType:
    """The whole bound, finite or not."""
    parts = _finite(bound) if bound.is_finite else _infinite(bound)
    return Group(*parts, "", note(content.bound_provenance(bound)))


def _finite(bound: LipschitzBound) -> Iterator[RenderableType]:
    yield title(bound.model, f"{subject(bound)} of {printable(bound.output)!r}")
    yield ""
    yield facts(content.bound_facts(bound))
    titles = content.method_titles(bound)
    if titles:
        yield ""
        yield grid(titles, content.method_rows(bound), METHOD_STYLES[: len(titles)])
    if bound.pairwise is not None and len(bound.pairwise) > 1:
        yield ""
        yield heading(f"{bound.norm} constants of the differences of two outputs")
        yield PairGrid(np.asarray(bound.pairwise))
    yield ""
    proved = statement(bound, at_most(bound.value, HEADLINE))
    yield note(f"Proved {semantics_of(bound)}:\n{proved}.")


def _infinite(bound: LipschitzBound) -> Iterator[RenderableType]:
    yield title(bound.model, subject(bound), "bold red")
    yield ""
    if bound.obstacle:
        yield facts(content.obstacle_facts(bound.obstacle))
        yield ""
    yield facts(content.lower_facts(bound))


class PairGrid:
    """The pairwise constants as a matrix where it fits, else the extremes of them."""

    def __init__(self, pairwise: np.ndarray) -> None:
        self.pairwise = pairwise

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = [str(index) for index in range(len(self.pairwise))]
        columns = [Column(" ", names, Style("dim", right=True))]
        for index, name in enumerate(names):
            cells = [at_most(v, PAIR_DIGITS, zeros=True) for v in self.pairwise[:, index].tolist()]
            cells[index] = "·"
            columns.append(Column(name, cells, Style(right=True)))
        fits = sum(column.width + GAP for column in columns) + GAP <= options.max_width
        yield Grid(columns) if fits else facts(self._extremes())

    def _extremes(self) -> Iterator[content.Fact]:
        rows, columns = np.triu_indices(len(self.pairwise), 1)
        order = np.argsort(self.pairwise[rows, columns], kind="stable")
        chosen = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
        for label, index in chosen.items():
            i, j = int(rows[index]), int(columns[index])
            yield label, at_most(float(self.pairwise[i, j])), f"outputs {i} and {j}"
        yield "", "", "--format json has all of them"
