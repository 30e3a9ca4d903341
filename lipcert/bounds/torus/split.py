"""Which stretches of a model become convolutional parts, and what is left between them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from lipcert.bounds.context import BoundContext
from lipcert.bounds.torus.chain import Chain
from lipcert.bounds.torus.head import behind_channel_sums, dense_side, is_dense
from lipcert.bounds.torus.part import TorusPart, torus_part
from lipcert.bounds.torus.reduction import MOST_ENTRY, entry_groups, reading_rows
from lipcert.bounds.torus.signals import between, signal_cuts
from lipcert.conic.torus_solver import FIRST
from lipcert.signals import SignalForm

ITERATIONS = 30
"""Of the solver, about."""
MATRIX_PRODUCTS = 12.0
"""Products of full matrices that an iteration amounts to."""
RATE = 2e10
"""Operations per second that even a busy processor reaches in them."""
LONGEST = 240.0
"""Seconds planned for where no deadline is set."""
SHARE = 0.5
"""Part of the time left that one part may plan for."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Signals ``start`` to ``stop`` (None for the output): a chain, or something else."""

    start: int
    stop: int | None
    chain: Chain | None

    @property
    def gains(self) -> bool:
        """Whether a chain joins at least two linear maps around an activation."""
        ends = 1 if self.stop is None else 0
        return self.chain is not None and self.chain.stages + ends > 1


def segments_of(form: SignalForm, context: BoundContext) -> list[Segment]:
    """The segments of a form in order; their constants multiply.

    Convolutional parts are as long as their cost allows.  Parts that follow one another, and dense
    stages behind them, are solved together.
    """
    edges: list[int | None] = [*signal_cuts(form), None]
    budget = _budget(context)
    found: list[Segment] = []
    parts: list[TorusPart] = []
    first = place = 0

    def close(stop: int | None, head: SignalForm | None = None, most: int = MOST_ENTRY[0]) -> None:
        if parts:
            found.append(Segment(int(edges[first] or 0), stop, Chain(list(parts), head, most)))
            parts.clear()

    while place + 1 < len(edges):
        longest = _longest(form, edges, place, budget)
        if longest is not None:
            first = first if parts else place
            stop, part = longest
            parts.append(part)
            place = stop
            continue
        start = edges[place]
        assert start is not None
        head = between(form, start, None)
        most = _joins(head, budget) if parts else None
        if most is not None:
            close(None, head, most)
            return found
        close(start)
        stop = _next_start(form, edges, place + 1, budget)
        found.append(Segment(start, edges[stop], None))
        place = stop
    close(None)
    return found


def _longest(
    form: SignalForm, edges: list[int | None], place: int, budget: float
) -> tuple[int, TorusPart] | None:
    """The longest part from an edge that can be afforded, and where it ends."""
    best = None
    start = edges[place]
    assert start is not None
    for stop in range(place + 1, len(edges)):
        ended = edges[stop]
        stretch = between(form, start, ended)
        part = torus_part(stretch) if not _is_one_number(stretch, ended) else None
        if part is None:
            if ended is not None and torus_part(between(form, start, ended)) is None:
                break
            continue
        side = (part.side * (part.side / 2.0 + part.rows / 4.0) ** 2) ** (1.0 / 3.0)
        if _work(side, min(part.geometry.frequencies, FIRST), complex_factor=4.0) > budget:
            break
        best = stop, part
    return best


def _is_one_number(form: SignalForm, ended: int | None) -> bool:
    """An output of one position per channel is a dense map of the last image."""
    return ended is None and math.prod(form.output_shape[2:]) == 1


def _joins(head: SignalForm, budget: float) -> int | None:
    """Coordinates that the entry of a head may have to be joined; None where it may not be."""
    pooled = behind_channel_sums(head)
    form = head if pooled is None else pooled
    if not is_dense(form):
        return None
    for most in MOST_ENTRY:
        side, groups = dense_side(form), entry_groups(form, most)
        if groups is not None:
            side += reading_rows(form) * groups - form.size(0)
        if _work(side, 1, complex_factor=1.0) <= budget:
            return most
    return None


def _next_start(form: SignalForm, edges: list[int | None], place: int, budget: float) -> int:
    """The next edge at which a part of at least two stages, or one, begins; else the last."""
    while place < len(edges) - 1:
        if _longest(form, edges, place, budget) is not None:
            return place
        place += 1
    return place


def _work(side: float, blocks: int, *, complex_factor: float) -> float:
    """Operations of a solution."""
    return ITERATIONS * MATRIX_PRODUCTS * 2.0 * complex_factor * blocks * side**3


def _budget(context: BoundContext) -> float:
    left = min(context.settings.deadline - time.monotonic(), LONGEST)
    return max(left, 0.5) * SHARE * RATE
