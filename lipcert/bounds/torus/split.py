"""Which stretches of a model become convolutional parts, and what is left between them."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lipcert.bounds.context import BoundContext
from lipcert.bounds.torus.chain import Chain
from lipcert.bounds.torus.fusing import unfused
from lipcert.bounds.torus.head import behind_channel_sums, dense_size, is_dense
from lipcert.bounds.torus.part import ITERATIONS, TorusPart, solving_work, torus_part
from lipcert.bounds.torus.readers import is_readable, reading_operators
from lipcert.bounds.torus.reduction import MOST_ENTRY, entry_groups, reading_rows
from lipcert.bounds.torus.signals import between, signal_cuts
from lipcert.signals import SignalForm

RATE = 5e10
"""Operations per second that two threads reach in them at least."""
LONGEST = 240.0
"""Seconds planned for where no deadline is set."""
SHARE = 0.6
"""Part of the time left that all parts together may plan for."""
PART_LOSS = 1.0
"""How much worse one more coupling makes the bound, in units of its own."""
SMALLER_ENTRY_LOSS = 0.2
"""The same for a head of which more channels share couplings."""
BEHIND_LOSS = 0.25
"""The same for a linear map of a head that is bounded behind the parts."""
BOX_LOSS = 3.0
"""The same for a linear map that is known by its constant alone."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Signals ``start`` to ``stop`` (None for the output): a chain, or something else.

    Parameters
    ----------
    work : operations that solving the chain takes, about; 0 for something else.
    loss : how much worse it makes the bound than one inequality of the whole would, about.
    """

    start: int
    stop: int | None
    chain: Chain | None
    work: float = 0.0
    loss: float = 0.0

    @property
    def couplings(self) -> int:
        """Diagonal couplings between the parts and the head of a chain."""
        return 0 if self.chain is None else self.chain.couplings

    @property
    def gains(self) -> bool:
        """Whether a chain joins at least two linear maps around an activation."""
        ends = 1 if self.stop is None else 0
        return self.chain is not None and self.chain.stages + ends > 1


@dataclass(frozen=True, eq=False)
class _Piece:
    """Edges ``start`` to ``stop``: a part, the head behind one, or neither.

    A head joins the part (``most``), or it is bounded behind it (``behind``).
    """

    start: int
    stop: int
    loss: float
    work: float = 0.0
    part: TorusPart | None = None
    most: int | None = None
    behind: bool = False

    @property
    def is_head(self) -> bool:
        """Whether it follows a part."""
        return self.most is not None or self.behind

    @property
    def is_joined(self) -> bool:
        """Whether it is part of a chain."""
        return self.part is not None or self.is_head


@dataclass(frozen=True, eq=False)
class _Plan:
    """Pieces behind one another from the first edge on."""

    pieces: tuple[_Piece, ...] = ()
    loss: float = 0.0
    work: float = 0.0

    def with_piece(self, piece: _Piece) -> _Plan:
        """One piece more."""
        return _Plan((*self.pieces, piece), self.loss + piece.loss, self.work + piece.work)

    @property
    def ends_in_part(self) -> bool:
        """Whether a head can follow."""
        return bool(self.pieces) and self.pieces[-1].part is not None


def segments_of(form: SignalForm, context: BoundContext, rate: float = RATE) -> list[Segment]:
    """The segments of a form in order; their constants multiply.

    Parts that follow one another, and dense stages behind them, are solved together.  Of all plans
    that the time left allows at so many operations per second, the one with the fewest couplings
    and the fewest stages outside.
    """
    options = context.once(_options, form)
    return _joined(form, options.edges, _chosen(options, _budget(context, rate)))


class _Options:
    """Where a form can be cut, and all that can lie between two cuts; plans choose among them.

    What lies between two cuts is found when it is asked for: a deep form has very many of them.
    """

    def __init__(self, form: SignalForm) -> None:
        self.form = form
        self.edges: list[int | None] = [*signal_cuts(form), None]
        self._found: dict[tuple[int, int], list[_Piece]] = {}

    @property
    def last(self) -> int:
        """The edge that is the output."""
        return len(self.edges) - 1

    def boxes(self) -> list[_Piece]:
        """Of all stretches, as maps that are known by their constants alone."""
        found = []
        for first, stop in itertools.combinations(range(len(self.edges)), 2):
            start, ended = self.edges[first], self.edges[stop]
            assert start is not None
            stages = (len(self.form.stages) if ended is None else ended) - start
            found.append(_Piece(first, stop, BOX_LOSS * (stages + 1)))
        return found

    def pieces(self, stretches: Iterable[tuple[int, int]]) -> list[_Piece]:
        """Parts and heads: those of stretches from one edge to another."""
        return [piece for first, stop in stretches for piece in self._between(first, stop)]

    def affordable(self, budget: float) -> list[_Piece]:
        """Those of all stretches, but for parts that contain one beyond the budget."""
        found = []
        for first in range(self.last):
            is_enough = False
            for stop in range(first + 1, self.last + 1):
                if is_enough and self._ends_in_an_image(stop):
                    continue
                own = self._between(first, stop)
                is_enough |= any(p.part is not None and p.work > budget for p in own)
                found += own
        return found

    def _ends_in_an_image(self, stop: int) -> bool:
        return any(piece.part is not None for piece in self._between(stop - 1, stop))

    def _between(self, first: int, stop: int) -> list[_Piece]:
        if (first, stop) not in self._found:
            self._found[first, stop] = self._made(first, stop)
        return self._found[first, stop]

    def _made(self, first: int, stop: int) -> list[_Piece]:
        start, ended = self.edges[first], self.edges[stop]
        assert start is not None
        stretch = between(self.form, start, ended)
        part = None if _is_one_number(stretch, ended) else torus_part(stretch)
        if part is not None:
            return [_Piece(first, stop, PART_LOSS, solving_work(part), part)]
        found = _heads(stretch, first, stop)
        return (
            [*found, *_behind(unfused(stretch), first, stop)] if ended is None and first else found
        )


def _options(form: SignalForm, context: BoundContext) -> _Options:
    return _Options(form)


def _chosen(options: _Options, budget: float) -> _Plan:
    """The plan of least loss: first of those of one piece, then of two, then of all.

    More pieces lose more, so what the first hold is not looked for among the others.
    """
    last, boxes = options.last, options.boxes()
    for pieces, stretches in (
        (1, [(0, last)]),
        (2, [(0, k) for k in range(1, last)] + [(k, last) for k in range(last)]),
    ):
        plan = _least_loss(boxes + options.pieces(stretches), last, budget)
        if plan.loss <= pieces * PART_LOSS:
            return plan
    return _least_loss(boxes + options.affordable(budget), last, budget)


def _heads(form: SignalForm, first: int, stop: int) -> list[_Piece]:
    """The ways to join dense stages to the part before them."""
    pooled = behind_channel_sums(form)
    form = form if pooled is None else pooled
    if not is_dense(form):
        return []
    found = []
    for place, most in enumerate(MOST_ENTRY):
        size = dense_size(form)
        groups = entry_groups(form, most)
        if groups is not None:
            size = replace(size, sizes=(reading_rows(form) * groups, *size.sizes[1:]))
        loss = PART_LOSS + SMALLER_ENTRY_LOSS * place
        found.append(_Piece(first, stop, loss, ITERATIONS * size.work, most=most))
    return found


def _behind(form: SignalForm, first: int, stop: int) -> list[_Piece]:
    """All that follows a part, behind what is proved of its last image, if that can be read."""
    if not is_readable(form):
        return []
    rows = sum(operator.out_size for operator in reading_operators(form).values())
    loss = PART_LOSS + BEHIND_LOSS * (len(form.stages) + 1)
    return [_Piece(first, stop, loss, 10.0 * rows**2 * (rows + form.size(0)), behind=True)]


def _least_loss(pieces: list[_Piece], last: int, budget: float) -> _Plan:
    """The plan of least loss within a budget of work, of several such the one of least work.

    By dynamic programming over the edges: of plans that lose the same, the one of least work.
    """
    best: list[dict[tuple[bool, float], _Plan]] = [{} for _ in range(last + 1)]
    best[0][False, 0.0] = _Plan()
    for piece in sorted(pieces, key=lambda piece: (piece.start, piece.stop)):
        for plan in best[piece.start].values():
            longer, known = plan.with_piece(piece), best[piece.stop]
            if longer.work > budget or (piece.is_head and not plan.ends_in_part):
                continue
            key = longer.ends_in_part, round(longer.loss, 6)
            if key not in known or longer.work < known[key].work:
                known[key] = longer
    return min(best[last].values(), key=lambda plan: (plan.loss, plan.work))


def _joined(form: SignalForm, edges: list[int | None], plan: _Plan) -> list[Segment]:
    """The segments of a plan: parts in a row, and the head behind them, as one chain."""
    groups: list[list[_Piece]] = []
    for piece in plan.pieces:
        before = groups[-1][-1] if groups else None
        if before is not None and before.part is not None and piece.is_joined:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [_segment(form, edges, group) for group in groups]


def _segment(form: SignalForm, edges: list[int | None], own: list[_Piece]) -> Segment:
    start, stop = edges[own[0].start], edges[own[-1].stop]
    assert start is not None
    loss = sum(piece.loss for piece in own)
    if not own[0].is_joined:
        return Segment(start, stop, None, loss=loss)
    chain = Chain([piece.part for piece in own if piece.part is not None])
    head = own[-1]
    if head.is_head:
        begun = edges[head.start]
        assert begun is not None
        rest = between(form, begun, stop)
        if head.most is None:
            chain = Chain(chain.parts, unfused(rest), joins=False)
        else:
            chain = Chain(chain.parts, rest, head.most)
    return Segment(start, stop, chain, sum(piece.work for piece in own), loss)


def _is_one_number(form: SignalForm, ended: int | None) -> bool:
    """An output of one position per channel is a dense map of the last image."""
    return ended is None and math.prod(form.output_shape[2:]) == 1


def _budget(context: BoundContext, rate: float) -> float:
    left = min(context.settings.deadline - time.monotonic(), LONGEST)
    return max(left, 0.5) * SHARE * rate
