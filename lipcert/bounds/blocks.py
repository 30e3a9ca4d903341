"""A model as residual blocks and what is between them, each with a constant of its own.

Where a whole cannot be joined in one inequality, the values that everything passes through cut it
into blocks whose constants multiply.  A residual block must not be taken apart (``1 + Lip(g)`` is 2
or more where the block itself is 1-Lipschitz), so it is bounded as one map.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.context import BoundContext
from lipcert.bounds.result import METHODS, Constants, pairs_times
from lipcert.bounds.symmetric import symmetric_bound, symmetric_parts
from lipcert.composition import pieces_of
from lipcert.errors import UnsupportedError
from lipcert.rounding import mul_up
from lipcert.signals import SignalForm, fold

Method = Callable[[SignalForm, BoundContext], Constants]


@dataclass(frozen=True, eq=False)
class Block:
    """One map of a composition.

    Parameters
    ----------
    form : of the map alone.
    label : the node that it ends with.
    skips : whether it is a residual block.
    """

    form: SignalForm
    label: str
    skips: bool

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether it is of the form of which a norm or two give the constant."""
        return self.skips and symmetric_parts(self.form) is not None


@METHODS.register("blocks", norms=("l2",))
def blocks_bound(form: SignalForm, context: BoundContext) -> Constants:
    """The product of the constants of residual blocks and of what is between them.

    A block ``x + Aᵀ Γ φ(A x + b)`` has the constant of its symmetric Jacobians, all else its
    averaged bound.  Half of the time that is left is all that it plans with.  Raises
    UnsupportedError for a model without such a block.
    """
    METHODS.check_norm("blocks", context.norm)
    blocks = context.once(blocks_of, form)
    if not any(block.is_symmetric for block in blocks):
        raise UnsupportedError(
            "method 'blocks'",
            "finds no residual block x + AᵀΓφ(Ax + b) that everything passes through",
            "use --method auto",
        )
    with context.until(next_share(context, 2)) as half:
        return product_of(form, blocks, half, block_bound)


def blocks_of(form: SignalForm, context: BoundContext) -> tuple[Block, ...]:
    """The blocks of a form in order; none where no residual block is among them."""
    if form.source is None:
        return ()
    pieces = pieces_of(form.source)
    if not any(piece.skips for piece in pieces):
        return ()
    return tuple(
        Block(
            form if len(pieces) == 1 else fold(piece.graph),
            piece.graph.nodes[-1].name if piece.graph.nodes else "",
            piece.skips,
        )
        for piece in pieces
    )


def block_bound(form: SignalForm, context: BoundContext) -> Constants:
    """The constants of one block: of its symmetric Jacobians, which cost least, or averaged."""
    own = context.once(symmetric_bound, form)
    return context.early(averaged_bound, form) if own is None else own


def product_of(
    form: SignalForm, blocks: tuple[Block, ...], context: BoundContext, method: Method
) -> Constants:
    """The constants of a composition, by a method for each block."""
    places = {stage.node.output: k for k, stage in enumerate(form.stages, start=1)}
    signals = dict.fromkeys(range(len(form.stages) + 1), math.inf) | {0: 1.0}
    value, before, sizes = 1.0, 1.0, []
    for number, block in enumerate(blocks):
        context.progress(f"block up to {block.label}", number / len(blocks))
        with context.until(next_share(context, len(blocks) - number)) as share:
            last = method(block.form, share)
        for k, stage in enumerate(block.form.stages, start=1):
            signals[places[stage.node.output]] = mul_up(value, last.signals[k])
        before, value = value, mul_up(value, last.value)
        sizes.append(last.value)

    return Constants(
        value, signals, lambda: pairs_times(last.pairwise(), before), _account(blocks, sizes)
    )


def next_share(context: BoundContext, parts: int) -> float:
    """When the first of several equal parts of the time that is left ends."""
    now, deadline = time.monotonic(), context.settings.deadline
    return now + max(deadline - now, 0.0) / parts if parts > 1 else deadline


def _account(blocks: tuple[Block, ...], sizes: list[float]) -> str:
    count = sum(block.skips for block in blocks)
    text = f"{count} residual block{'s' if count > 1 else ''} of {len(blocks)} factors"
    largest, steepest = max(zip(sizes, blocks, strict=True), key=lambda pair: pair[0])
    return f"{text}, the largest {largest:.7g} up to {steepest.label}"
