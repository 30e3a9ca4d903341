"""LipSDP: the matrix inequality of Fazlyab et al. 2019 on any DAG, solved, then proved.

Neuron multipliers ("lipsdp") or one for each stage ("lipsdp-layer").  The variant that couples
neurons ("LipSDP-Network" in the paper) is not a bound and is not offered: on
``f(x) = relu(x) − relu(x − 2)``, whose constant is 1, it returns about 5e-6 (Pauli et al. 2022).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from lipcert.bounds.autolip import autolip_bound
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.blocks import Block, block_bound, blocks_of, next_share, product_of
from lipcert.bounds.context import BoundContext
from lipcert.bounds.multipliers import multipliers_by_stage
from lipcert.bounds.pairs import pairwise_table
from lipcert.bounds.parts import part_of, without_dead_stages
from lipcert.bounds.plan import Stretch, describe, plan
from lipcert.bounds.relaxation import Part, relax
from lipcert.bounds.result import METHODS, Constants
from lipcert.bounds.symmetric import symmetric_bound
from lipcert.bounds.torus import torus_lipsdp
from lipcert.conic.feasibility import proven_multipliers
from lipcert.conic.hkm import Report
from lipcert.conic.problem import ScaledProblem
from lipcert.conic.solvers import SOLVERS, Solution
from lipcert.errors import SolverError
from lipcert.rounding import mul_up, sqrt_up
from lipcert.signals import SignalForm

logger = logging.getLogger(__name__)

FAR = 0.1
"""Excess over the optimum from which other ways are tried: what was found could not be proved."""
LEAST_GAIN = 1e-3
"""Of the whole, relative to the product of norms: with less, pairs are not solved one by one."""
SMALLEST = 1e-140
"""Constants below it, or above its inverse, are left to the product of norms."""


@METHODS.register("lipsdp", norms=("l2",))
def lipsdp_neuron_bound(form: SignalForm, context: BoundContext) -> Constants:
    """LipSDP-Neuron: a multiplier for each neuron, for each group of a sort or pool."""
    return _lipsdp(form, context, per_layer=False)


@METHODS.register("lipsdp-layer", norms=("l2",))
def lipsdp_layer_bound(form: SignalForm, context: BoundContext) -> Constants:
    """LipSDP-Layer: a multiplier for each stage; never tighter than LipSDP-Neuron."""
    return _lipsdp(form, context, per_layer=True)


@dataclass(frozen=True, eq=False)
class _Proved:
    """Proven multipliers of a relaxation."""

    scaled: ScaledProblem
    solution: Solution
    y: Tensor
    value: float

    @property
    def excess(self) -> float:
        """By what part of the optimum the value is above it at most; infinite if unknown."""
        lower = self.solution.lower
        square = lower * float(self.scaled.unit[0]) if math.isfinite(lower) else 0.0
        return max(self.value / math.sqrt(square) - 1.0, 0.0) if square > 0.0 else math.inf


def _lipsdp(form: SignalForm, context: BoundContext, *, per_layer: bool) -> Constants:
    METHODS.check_norm("lipsdp", context.norm)
    plain = context.early(autolip_bound, form)
    if not math.isfinite(plain.value) or plain.value == 0.0:
        return plain
    if not SMALLEST < plain.value < 1.0 / SMALLEST:
        beyond = "squares of so small or large a constant are beyond float64: the product of norms"
        return replace(plain, details=beyond)
    live = without_dead_stages(form)
    if not live.stages:
        return plain
    stretches = plan(live, context)
    is_one_block = len(stretches) == 1 and not stretches[0].boxed
    if not per_layer and not is_one_block:
        found = _taken_apart(form, live, context)
        if found is not None:
            return found
    if all(stretch.boxed for stretch in stretches):
        too_large = "too large for a matrix inequality in this time and memory: the averaged bound"
        return replace(context.early(averaged_bound, form), details=too_large)
    parts = [_part(live, stretch, context) for stretch in stretches]
    problem = relax(parts, context, per_layer=per_layer)
    scaled = problem.scaled(problem.start)
    solution = SOLVERS[context.solver](scaled, context.settings.deadline, _teller(scaled, context))
    context.interrupted = context.interrupted or solution.ending == "interrupted"
    context.progress("proof of the multipliers", 1.0)
    interior = None if solution.halfway is None else solution.halfway.y
    y, share = proven_multipliers(scaled, solution.y, interior)
    value = sqrt_up(mul_up(float(y[0]), float(scaled.unit[0])))
    proved = _Proved(scaled, solution, y, value)
    details = f"{describe(live, stretches)}; {_account(proved, share)}"
    if solution.ending != "optimal" or any(stretch.boxed for stretch in stretches):
        plain = context.early(averaged_bound, form)
        if plain.value < value:
            details += f"; that gives {value:.6g}, the averaged bound is smaller"
    multipliers = None
    if not any(stretch.boxed for stretch in stretches):
        inside = scaled.problem.start if interior is None else interior
        multipliers = multipliers_by_stage([part.form for part in parts], scaled, y, inside)
    found = Constants(
        min(value, plain.value),
        plain.signals,
        lambda: _pairwise(proved, plain, context, boxed=stretches[-1].boxed),
        details,
        multipliers=multipliers,
    )
    if is_one_block and proved.excess > FAR and not per_layer and not context.expired:
        other = _taken_apart(form, live, context)
        if other is not None and other.value < found.value:
            return other
    return found


def _taken_apart(form: SignalForm, live: SignalForm, context: BoundContext) -> Constants | None:
    """The bound of a model too large for one block, where that is below the averaged one.

    By convolutional parts, and by residual blocks where there are any, whichever is smaller.
    """
    blocks = context.once(blocks_of, form)
    quick = any(block.is_symmetric for block in blocks)
    found = [_on_the_torus(form, live, context, parts=2 if quick else 1)]
    if quick or (blocks and not context.expired):
        found.append(_by_blocks(form, blocks, context))
    smaller = [constants for constants in found if constants is not None]
    return min(smaller, key=lambda constants: constants.value, default=None)


def _by_blocks(
    form: SignalForm, blocks: tuple[Block, ...], context: BoundContext
) -> Constants | None:
    """The bound with a matrix inequality for each residual block and what is between them."""
    plain = context.early(averaged_bound, form)
    own = _one_block if len(blocks) > 1 else block_bound  # a single one is this very model
    found = product_of(form, blocks, context, own)
    if not found.value < plain.value:
        return None
    signals = {k: min(own, found.signals[k]) for k, own in plain.signals.items()}

    def pairwise() -> np.ndarray:
        smallest: np.ndarray = np.minimum(plain.pairwise(), found.pairwise())
        return smallest

    return replace(found, signals=signals, pairwise=pairwise)


def _one_block(form: SignalForm, context: BoundContext) -> Constants:
    """One block: by its symmetric Jacobians, else its matrix inequality where time is left."""
    known = context.once(symmetric_bound, form)
    if known is not None:
        return known
    if context.expired:
        return context.early(averaged_bound, form)
    try:
        return lipsdp_neuron_bound(form, context)
    except SolverError as error:
        logger.info("%s", error)
        return context.early(averaged_bound, form)


def _on_the_torus(
    form: SignalForm, live: SignalForm, context: BoundContext, *, parts: int
) -> Constants | None:
    """The bound with convolutional parts on the torus, where that is below the averaged one.

    It takes one of several equal parts of the time.  The averaged bound comes first: what it is
    worth must not depend on the time left over.
    """
    plain = context.early(averaged_bound, form)
    try:
        with context.until(next_share(context, parts)) as share:
            found = torus_lipsdp(live, share, lipsdp_neuron_bound)
    except SolverError as error:
        logger.info("%s", error)
        return None
    if found is None or not found.value < plain.value:
        return None

    def pairwise() -> np.ndarray:
        table: np.ndarray = np.minimum(plain.pairwise(), mul_up(found.value, sqrt_up(2.0)))
        np.fill_diagonal(table, 0.0)
        return table if found.pairs is None else np.minimum(table, found.pairs(context))

    return Constants(found.value, plain.signals, pairwise, found.details)


def _part(form: SignalForm, stretch: Stretch, context: BoundContext) -> Part:
    part = part_of(form, stretch.start, stretch.stop)
    return Part(part, averaged_bound(part, context).value if stretch.boxed else None)


def _teller(scaled: ScaledProblem, context: BoundContext) -> Report:
    unit = float(scaled.unit[0])

    def tell(iteration: int, rho: float, gap: float) -> None:
        known = math.isfinite(gap) and gap > 0.0
        told = f"gap {gap / 2.0:.1e}" if known else "gap not known yet"  # of the root of ρ
        done = 0.1 + math.log10(1.0 / gap) / 7.0 if known else 0.0
        done = min(max(done, 0.05), 1.0)
        bound = math.sqrt(rho * unit)
        context.progress(f"iteration {iteration}: bound {bound:.7g}, {told}", done)

    return tell


def _account(proved: _Proved, share: float) -> str:
    solution = proved.solution
    text = f"{solution.solver}, {solution.iterations} iterations"
    if solution.ending != "optimal":
        text += f", {solution.ending} early"
    if math.isfinite(solution.lower):
        text += f", within {proved.excess:.1e} of the optimum"
    if share > 1e-8:
        text += f"; {share:.0e} of a feasible start mixed in to prove it"
    return text


def _pairwise(
    proved: _Proved, plain: Constants, context: BoundContext, *, boxed: bool
) -> np.ndarray:
    """Pairs from the matrix inequality, which knows single outputs unless a box is at its end."""
    table: np.ndarray = np.minimum(plain.pairwise(), mul_up(proved.value, sqrt_up(2.0)))
    if not boxed:
        solution = proved.solution
        gained = proved.value < (1.0 - LEAST_GAIN) * plain.value
        halfway = solution.halfway if gained and math.isfinite(solution.lower) else None
        own = pairwise_table(proved.scaled, halfway, proved.y, context)
        table = np.minimum(table, own)
    return table
