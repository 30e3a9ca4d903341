"""The constant of a chain with its head, and those of pairs of outputs, without a coupling."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.context import BoundContext
from lipcert.bounds.result import Constants, pairs_times
from lipcert.bounds.torus.behind import Behind, behind
from lipcert.bounds.torus.chain import Chain, ChainProblem
from lipcert.bounds.torus.split import LONGEST
from lipcert.conic.hkm import Report
from lipcert.conic.joint import JointOutcome, solve_joint
from lipcert.errors import SolverError
from lipcert.rounding import mul_up, sqrt_up
from lipcert.signals import SignalForm

Tail = Callable[[SignalForm, BoundContext], Constants]
"""The method for what follows the convolutional parts."""
Pairs = Callable[[BoundContext], np.ndarray]
"""Finds proven ``(K, K)`` constants of differences of two outputs, in the time that is left."""

SHARE = 0.7
"""Part of the time left in which the part and its head may be solved together."""
RATE = 3e10
"""Operations per second that even a busy processor reaches in that."""
ITERATIONS = 15
"""With time for fewer it is not begun."""
RETREATS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)
"""Shares of multipliers well inside that are mixed in until the part's are proved."""
MOST_ELEMENTS = 1 << 27
"""Of the tensors held at once."""


@dataclass(frozen=True)
class TorusBound:
    """A proven constant, those of pairs where more than √2 times as much is known of them, and how.

    Pairs are found when they are asked for.
    """

    value: float
    pairs: Pairs | None
    details: str


def with_head(
    chain: Chain, problem: ChainProblem, ys: list[Tensor], context: BoundContext, tail: Tail
) -> TorusBound | None:
    """The head read through what its part proves of its last image; None without a proof.

    Parameters
    ----------
    ys : multipliers of the chain, the first proven, others farther inside.
    """
    both = behind(chain, problem, ys[0])
    if both is None:
        return None
    before = float(ys[0][0]) if both.is_coupled else 1.0
    if chain.joins:
        outcome = _together(both, problem, ys, before, context)
    else:
        outcome = JointOutcome(both.of_body(ys[0]), ending="none")
    context.interrupted = context.interrupted or outcome.ending == "interrupted"
    context.progress("the head behind the convolutional parts", 1.0)
    found = _proved(both, outcome.y, ys)
    if found is None:
        return None
    alone, own = found
    scale = sqrt_up(mul_up(before, float(own[0])))
    if not chain.joins:  # before the tail, which gives it a part of the time
        context.once(averaged_bound, alone)
    try:
        value = mul_up(scale, tail(alone, context).value)
    except SolverError:
        return None

    def pairs(context: BoundContext) -> np.ndarray:
        try:
            return pairs_times(tail(alone, context).pairwise(), scale)
        except SolverError:  # in the time that is left by now: no more than the bound itself says
            outputs = math.prod(alone.output_shape)
            return pairs_times(np.full((outputs, outputs), math.inf), 1.0)

    return TorusBound(value, pairs, _account(outcome))


def fits_together(chain: Chain, problem: ChainProblem, context: BoundContext) -> bool:
    """Whether the time and memory left allow the last part and its head in one problem."""
    both = behind(chain, problem, problem.start) if chain.joins else None
    return both is not None and _fits(both, context)


def _fits(both: Behind, context: BoundContext) -> bool:
    left = min(context.settings.deadline - time.monotonic(), LONGEST)
    work, elements = _cost(both)
    return elements <= MOST_ELEMENTS and ITERATIONS * work <= SHARE * left * RATE


def _proved(both: Behind, y: Tensor, ys: list[Tensor]) -> tuple[SignalForm, Tensor] | None:
    """The head alone, and the multipliers of its part near y that prove what it reads."""
    own = y[: len(both.taken)]
    for share in RETREATS:
        mixed = (1.0 - share) * own + share * both.of_body(ys[1])
        alone = both.alone(mixed)
        if alone is not None:
            return alone, mixed
    return None


def _together(
    both: Behind,
    problem: ChainProblem,
    ys: list[Tensor],
    before: float,
    context: BoundContext,
) -> JointOutcome:
    """The part and its head solved together, where the time and memory left allow it."""
    starts = [torch.cat((both.of_body(y), y[problem.neurons])) for y in ys]
    if context.expired or not _fits(both, context):
        return JointOutcome(starts[0], ending="none")
    now = time.monotonic()
    left = min(context.settings.deadline - now, LONGEST)
    joint = both.joint()
    tell = teller(context, "with the head, iteration", before, digits=4.0)
    for start in starts:
        try:
            return solve_joint(joint, start, deadline=now + SHARE * left, report=tell)
        except ValueError:
            continue
    return JointOutcome(starts[0], ending="none")


def _cost(both: Behind) -> tuple[float, float]:
    """Operations of an iteration, and elements of what it holds at once."""
    side, rows, reading = both.body.side, len(both.body.places), both.rows
    frequencies, head = both.body.frequencies, both.head
    neurons = sum(stage.input_size for stage in head.stages)
    outputs = math.prod(head.output_shape) if 0 in head.output_terms else 0
    own, count = neurons + outputs, neurons + len(both.taken)
    products = rows * rows * (2.0 * side + 2.0 * reading) + rows * reading * (side + reading)
    work = 8.0 * frequencies * (products + side**3)
    work += 2.0 * count * own * own * (count + 4.0 * own)
    elements = 4.0 * count * own * own + 2.0 * rows * reading * (frequencies + reading)
    return work, elements + 2.0 * frequencies * reading * side


def teller(
    context: BoundContext,
    what: str = "iteration",
    rho_before: float = 1.0,
    digits: float = 7.0,
    stretch: tuple[int, int] = (1, 1),
) -> Report:
    """Tells the context of iterations.

    Parameters
    ----------
    rho_before : what the objective is multiplied with to be the square of a bound.
    digits : of the gap at which all is done.
    stretch : which of how many that follow one another.
    """
    number, count = stretch
    if count > 1:
        what = f"stretch {number} of {count}, {what}"

    def tell(iteration: int, rho: float, gap: float) -> None:
        known = 0.0 < gap < 1.0
        told = f"gap {gap / 2.0:.1e}" if known else "gap not known yet"
        done = 0.1 + math.log10(1.0 / gap) / digits if known else 0.0
        bound = math.sqrt(rho_before * rho)
        told = f"{what} {iteration}: bound {bound:.7g}, {told}"
        context.progress(told, (number - 1 + min(max(done, 0.05), 1.0)) / count)

    return tell


def _account(outcome: JointOutcome) -> str:
    if outcome.ending == "none":
        return "the head behind what they prove"
    text = f"the head in one problem with them, {outcome.iterations} iterations"
    if outcome.ending != "optimal":
        text += f", {outcome.ending} early"
    return text
