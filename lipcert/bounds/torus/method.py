"""LipSDP of a model with convolutional parts: segments whose constants multiply, all proved."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.context import BoundContext
from lipcert.bounds.result import pairs_times
from lipcert.bounds.torus.chain import Chain, chain_problem
from lipcert.bounds.torus.fusing import fused, unfused
from lipcert.bounds.torus.head import without_rearranged_input
from lipcert.bounds.torus.heads import Pairs, Tail, TorusBound, fits_together, teller, with_head
from lipcert.bounds.torus.signals import between, with_last_image
from lipcert.bounds.torus.split import PART_LOSS, RATE, Segment, segments_of
from lipcert.conic.fourier_proof import proven_families
from lipcert.conic.stretches import solve_by_stretches
from lipcert.conic.torus_solver import TorusOutcome
from lipcert.errors import SolverError
from lipcert.rounding import mul_up, sqrt_up
from lipcert.signals import SignalForm

TOLERANCE = 1e-6
"""Relative gap of ρ at which a chain is done."""
ROUGH = 1e-2
"""The same where a head follows, which is then solved with the last part."""
FIRST_SHARE = 0.5
"""Part of the time that a chain may take before its last part and its head are solved together."""
LONE_SHARE = 0.85
"""The same where they are not: what is left is for the head alone."""
HOPEFUL = 4.0
"""What is planned with, against the rate of a busy processor, where nothing else is to be had."""
FASTER = 2.0
"""What a second plan counts on, against the rate of the first: it need not come to its end."""
LEAST_TIME = 0.1
"""Seconds below which the time of a plan tells nothing of the machine."""
PASSES_OF_PROOF = 8.0
"""What the proof takes, in units of one look at all blocks, if the first try fails."""


def torus_lipsdp(form: SignalForm, context: BoundContext, tail: Tail) -> TorusBound | None:
    """The bound by convolutional parts; None where there is none that gains anything.

    Raises SolverError where a chain has no start or no proof.
    """
    form = fused(with_last_image(without_rearranged_input(form)))
    for rate in (RATE, HOPEFUL * RATE):
        segments = segments_of(form, context, rate)
        if any(segment.gains for segment in segments):
            break
    else:
        return None
    found, seconds = _along(form, segments, context, tail)
    rate = FASTER * sum(segment.work for segment in segments) / max(seconds, LEAST_TIME)
    for plan in _other_plans(form, segments, context, rate):
        try:
            other, _ = _along(form, plan, context, tail)
        except SolverError:
            continue
        found = other if other.value < found.value else found
    return found


def _other_plans(
    form: SignalForm, segments: list[Segment], context: BoundContext, rate: float
) -> Iterator[list[Segment]]:
    """What the time still left allows: a plan that loses less, at the rate of the first one.

    And, since several couplings can cost more than a stretch that is bounded by its own constant,
    one of less work than theirs.
    """
    if not context.expired and any(segment.loss > PART_LOSS for segment in segments):
        plan = segments_of(form, context, max(RATE, rate))
        if sum(s.loss for s in plan) < sum(s.loss for s in segments):
            yield plan
    if not context.expired and sum(segment.couplings for segment in segments) > 1:
        plan = segments_of(form, context)
        is_less = sum(s.work for s in plan) < sum(s.work for s in segments)
        if is_less and any(segment.gains for segment in plan):
            yield plan


def _along(
    form: SignalForm, segments: list[Segment], context: BoundContext, tail: Tail
) -> tuple[TorusBound, float]:
    """The product over the segments of a plan, and the seconds that its chains took."""
    value, pairs, told, seconds = 1.0, None, [], 0.0
    for place, segment in enumerate(segments):
        if segment.chain is not None:
            began = time.monotonic()
            with context.until(_end_of_share(context, segments[place:])) as own:
                found = _solved(segment.chain, own, tail)
            seconds += time.monotonic() - began
        else:
            found = _other(form, segment, context, tail)
        if segment.stop is None:
            pairs = _behind(value, found.pairs)
        value = mul_up(value, found.value)
        told.append(found.details)
    return TorusBound(value, pairs, "; times ".join(told)), seconds


def _behind(factor: float, pairs: Pairs | None) -> Pairs | None:
    """Pairs behind segments whose constants multiply to a factor."""
    if pairs is None or factor == 1.0:
        return pairs
    return lambda context: pairs_times(pairs(context), factor)


def _end_of_share(context: BoundContext, segments: list[Segment]) -> float:
    """When the time of the first of several segments ends: by its work among that of all of them.

    What a segment leaves over goes to those that follow; one that is not a chain, at the end of the
    model, counts as half of the others together.
    """
    now, deadline = time.monotonic(), context.settings.deadline
    later = sum(segment.work for segment in segments[1:])
    if segments[-1].chain is None:
        later += 0.5 * (segments[0].work + later)
    if later == 0.0 or math.isinf(deadline):
        return deadline
    return now + max(deadline - now, 0.0) * segments[0].work / (segments[0].work + later)


def _other(form: SignalForm, segment: Segment, context: BoundContext, tail: Tail) -> TorusBound:
    """A segment that is not convolutional, by its own constant."""
    own = unfused(between(form, segment.start, segment.stop))
    last = segment.stop is None
    constants = tail(own, context) if last and segment.start else averaged_bound(own, context)
    names = [stage.node.name for stage in own.stages]
    text = f"{names[0]} to {names[-1]}" if names else "the output"
    told = f"{constants.value:.6g} of {text}"
    pairs: Pairs | None = (lambda context: constants.pairwise()) if last else None
    return TorusBound(constants.value, pairs, told)


def _solved(chain: Chain, context: BoundContext, tail: Tail) -> TorusBound:
    context.progress("frequencies of the convolutional parts", 0.0)
    problem = chain_problem(chain, context)
    now, deadline = time.monotonic(), context.settings.deadline
    headed = chain.head is not None
    share = 1.0
    if headed:
        shared = not chain.joins or fits_together(chain, problem, context)
        share = FIRST_SHARE if shared else LONE_SHARE
    left = max(deadline - now, 0.0) * share
    outcome = solve_by_stretches(
        problem.families,
        problem.start,
        tolerance=ROUGH if headed else TOLERANCE,
        deadline=now + left - PASSES_OF_PROOF * problem.seconds,
        teller=lambda number, count: teller(context, stretch=(number, count)),
    )
    context.interrupted = context.interrupted or outcome.ending == "interrupted"
    context.progress("proof of the multipliers", 1.0)
    inside = [outcome.inside, problem.start]
    y, share = proven_families(problem.families, outcome.y, inside)
    value = sqrt_up(float(y[0]))
    told = _account(chain, outcome, value, share)
    found = with_head(chain, problem, [y, *inside], context, tail) if headed else None
    if not chain.joins:
        if found is None:
            return _apart(chain, context, tail)
        return replace(found, details=f"{told}; {found.details}: {found.value:.6g}")
    if found is None or found.value >= value:
        return TorusBound(value, None if found is None else found.pairs, told)
    return TorusBound(found.value, found.pairs, f"{told}; {found.details}: {found.value:.6g}")


def _apart(chain: Chain, context: BoundContext, tail: Tail) -> TorusBound:
    """The parts and the head by their own constants."""
    assert chain.head is not None
    parts, head = _solved(Chain(chain.parts), context, tail), tail(chain.head, context)
    value = mul_up(parts.value, head.value)
    pairs = _behind(parts.value, lambda context: head.pairwise())
    return TorusBound(value, pairs, f"{parts.details}; times {head.value:.6g} of the head")


def _account(chain: Chain, outcome: TorusOutcome, value: float, share: float) -> str:
    names = []
    for part in chain.parts:
        torus = "×".join(map(str, part.geometry.coarse))
        names.append(f"{len(part.form.stages)} on {torus}")
    text = f"{chain.stages} stages on tori ({', '.join(names)}"
    text += f", {len(chain.head.stages)} dense)" if chain.head else ")"
    text += f": {value:.6g}" if chain.joins else ""
    at_once = f" in {outcome.stretches} stretches, each" if outcome.stretches > 1 else ""
    text += f", {outcome.iterations} iterations{at_once} over "
    text += "at most " if outcome.stretches > 1 else ""
    text += f"{outcome.looked} of {outcome.frequencies} frequencies"
    if outcome.ending != "optimal":
        text += f", {outcome.ending} early"
    if chain.joins and math.isfinite(outcome.lower) and outcome.lower > 0.0:
        excess = value / math.sqrt(outcome.lower) - 1.0
        text += f", within {max(excess, 0.0):.1e} of the optimum"
    if share > 1e-8:
        text += f"; {share:.0e} of a feasible start mixed in to prove it"
    return text
