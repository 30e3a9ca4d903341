"""Loop transformation: every activation as an average, c·id plus a contraction.

``φ = c·id + r·R`` with ``c = (α+β)/2``, ``r = (β−α)/2`` and R 1-Lipschitz makes the network linear
in x and in the remainders, so ``ℓ_k ≤ ‖H_k0‖ + Σ_j ‖H_kj r_j‖ ℓ_j`` (Combettes & Pesquet 2020;
Fazlyab et al. 2024).  In l2 the sum is replaced by the joint operator
``‖[H_k0/τ_0, H_kj r_j ℓ_j/τ_j]‖ √(Σ τ_j²)``, minimised over τ, which is never above the sum.
"""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from lipcert.bounds.autolip import autolip_bound, pairwise_constants, slope_constant
from lipcert.bounds.combine import combine
from lipcert.bounds.context import BoundContext, OutOfTimeError
from lipcert.bounds.result import METHODS, Constants
from lipcert.bounds.rows import Rows, pull_back
from lipcert.operators import Reshape, Shape, Transpose
from lipcert.rounding import SMALLEST_NORMAL, add_up, gamma, mul_up, sqrt_up
from lipcert.signals import SignalForm, Terms
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.spectral.proof import largest_estimate
from lipcert.spectral.tensors import frobenius_up, power_of_two_scale

MAX_ROWS = 4096
"""Most outputs of one stage whose rows are formed."""
MAX_ELEMENTS = 1 << 26
"""Most elements in the rows of one stage, over all signals: half a gigabyte."""
ROW_WORK = 2.5
"""Work on rows, over all stages, in multiples of what one explicit operator may take."""
WEIGHT_STEPS = 30
"""Steps of the fixed-point iteration for the weights of a joint operator."""
SMALL_SIDE = 64
"""Outputs up to which that iteration computes eigenvectors exactly."""

QUICK = 1e9
"""Operations on the rows of the output, which those of pairs are made of, that need no time."""


@METHODS.register("averaged")
def averaged_bound(form: SignalForm, context: BoundContext) -> Constants:
    """Constants by loop transformation, never above those of AutoLip.

    A stage whose rows are too many, or that the deadline does not leave time for, keeps the
    product bound; that is a bound too, so the method can stop anywhere.
    """
    plain = context.early(autolip_bound, form)
    if not math.isfinite(plain.value):
        return plain
    constants, remainders = {0: 1.0}, {0: 1.0}
    chosen = _chosen_stages(form, context)
    for k, stage in enumerate(form.stages, start=1):
        context.progress(f"rows of {stage.node.name}", k / (len(form.stages) + 1))
        before = combine(stage.terms, constants, context)
        if k in chosen and context.settings.leaves_time_for(chosen[k]):
            shape = next(iter(stage.terms.values())).out_shape
            with suppress(OutOfTimeError):
                rows = _rows(form, stage.terms, shape, context, optional=True)
                before = min(before, through_rows(rows, remainders, context))
        product = mul_up(slope_constant(stage, context.norm), before)
        constants[k] = min(product, plain.signals[k])
        # a remainder R_k(v_k) is as steep as v_k; a stage without slopes passes as it is
        remainders[k] = constants[k] if stage.nonlinearity.slopes is None else before
    context.progress("rows of the output", 1.0)
    value = min(plain.value, combine(form.output_terms, constants, context))
    work = chosen.get(len(form.stages) + 1)
    if work is None:
        return Constants(value, constants, plain.pairwise)
    try:
        optional = work > QUICK
        rows = _rows(form, form.output_terms, form.output_shape, context, optional=optional)
    except OutOfTimeError:
        return Constants(value, constants, plain.pairwise)
    value = min(value, through_rows(rows, remainders, context))
    return Constants(value, constants, lambda: _pairwise(rows, remainders, plain, context))


def _pairwise(
    rows: dict[int, Rows], remainders: dict[int, float], plain: Constants, context: BoundContext
) -> np.ndarray:
    smallest: np.ndarray = np.minimum(
        pairwise_constants(rows, remainders, context.norm), plain.pairwise()
    )
    return smallest


def _chosen_stages(form: SignalForm, context: BoundContext) -> dict[int, float]:
    """The stages (the output last) whose rows are formed, and the work of each.

    The cheapest come first within the budget.
    """
    costs = []
    for k in range(1, len(form.stages) + 2):
        terms = form.output_terms if k > len(form.stages) else form.stages[k - 1].terms
        work = _row_work(form, k, terms)
        if _gains(form, terms) and work is not None:
            costs.append((work, k))
    chosen, spent = {}, 0.0
    for work, k in sorted(costs):
        spent += work
        if spent <= ROW_WORK * context.settings.max_work:
            chosen[k] = work
    return chosen


def _gains(form: SignalForm, terms: Terms) -> bool:
    """Whether a slope is passed on through an operator that can tell: else rows say nothing new."""
    return any(
        j
        and form.stages[j - 1].nonlinearity.slopes is not None
        and not isinstance(operator, Reshape | Transpose)
        for j, operator in terms.items()
    )


def _row_work(form: SignalForm, k: int, terms: Terms) -> float | None:
    """Floating-point operations of stage k's rows and their Gram matrices; None when too many."""
    count = next(iter(terms.values())).out_size
    sizes = sum(form.size(j) for j in range(k))
    if count > MAX_ROWS or count * sizes > MAX_ELEMENTS:
        return None
    below = form.stages[: k - 1]
    one_pass = sum(A.cost for A in terms.values())
    one_pass += sum(A.cost for stage in below for A in stage.terms.values())
    return count * one_pass + 2.0 * count * count * sizes + float(count) ** 3


def _rows(
    form: SignalForm, terms: Terms, shape: Shape, context: BoundContext, *, optional: bool = False
) -> dict[int, Rows]:
    """Rows of H on each signal, those of remainders already multiplied by r."""

    def centre(signal: int) -> float | Tensor | None:
        slopes = form.stages[signal - 1].nonlinearity.slopes
        return None if slopes is None else slopes.centre

    count = math.prod(shape)
    rows = pull_back(form, terms, count, shape, centre, context, optional=optional)
    return {
        signal: part if signal == 0 else _times_half_width(form, signal, part, context)
        for signal, part in rows.items()
    }


def _times_half_width(form: SignalForm, signal: int, rows: Rows, context: BoundContext) -> Rows:
    """Rows on a remainder of constant 1 in v_k: multiplied by r where the stage has slopes."""
    stage = form.stages[signal - 1]
    slopes = stage.nonlinearity.slopes
    if slopes is None:
        return rows
    width = slopes.half_width
    largest = float(width.abs().max()) if isinstance(width, Tensor) else width
    if isinstance(width, Tensor):
        width = width.to(context.device).expand(stage.shape).reshape(1, -1)
    matrix = rows.matrix * width
    rounding = mul_up(2.0**-52, float(frobenius_up(matrix[None])))
    return Rows(matrix, add_up(mul_up(rows.error, largest), rounding))


def through_rows(
    rows: dict[int, Rows], constants: dict[int, float], context: BoundContext
) -> float:
    """Bound of ``Σ_k rows[k] w_k`` for signals w_k of constants ``constants[k]``."""
    if context.norm != "l2":
        return add_up(
            *(mul_up(_row_norm(part, context.norm), constants[k]) for k, part in rows.items())
        )
    return _joint_norm(rows, constants, context)


def _row_norm(rows: Rows, norm: str) -> float:
    axis = 1 if norm == "linf" else 0
    sums = rows.matrix.abs().sum(axis)
    slack = 1.0 + 4.0 * gamma(rows.matrix.shape[axis] + 1)
    largest = float(sums.max()) if sums.numel() else 0.0
    return add_up(mul_up(largest, slack), rows.error_in(norm))


def _joint_norm(rows: dict[int, Rows], constants: dict[int, float], context: BoundContext) -> float:
    """The joint operator over all signals, weights by a fixed point on its top eigenvector."""
    live = {k: part for k, part in rows.items() if constants[k] > 0.0}
    if not all(math.isfinite(constants[k]) for k in live):
        return math.inf
    remaining = add_up(*(mul_up(part.error, constants[k]) for k, part in live.items()))
    underflow = mul_up(SMALLEST_NORMAL, float(sum(part.matrix.numel() for part in live.values())))
    remaining = add_up(remaining, underflow)
    weighted = [part.matrix * constants[k] for k, part in live.items()]
    unit = max(
        (power_of_two_scale(matrix) for matrix in weighted if bool(matrix.any())), default=0.0
    )
    if unit == 0.0:
        return remaining
    grams, errors = [], []
    for part, matrix in zip(live.values(), weighted, strict=True):
        scaled = matrix / unit  # against over- and underflow of the squares
        grams.append(scaled @ scaled.T)
        size = float(frobenius_up(scaled[None]))
        errors.append(mul_up(size, size, gamma(part.matrix.shape[1] + 6)))
    stack = torch.stack(grams)
    weights = joint_weights(stack)
    if weights is None:
        return math.inf
    total = (stack / weights[:, None, None]).sum(0)
    total = (total + total.T) / 2.0
    shares = [float(weight) for weight in weights]
    error = add_up(*(e / w * (1.0 + 1e-15) for e, w in zip(errors, shares, strict=True)))
    error = add_up(error, mul_up(float(frobenius_up(total[None])), 2.0**-50 * len(shares)))
    scale = power_of_two_scale(total)
    eigenvalue = EIGENVALUE_BOUNDS[context.settings.spectral](total[None] / scale)
    value = sqrt_up(add_up(mul_up(max(eigenvalue, 0.0), scale), error))
    return add_up(mul_up(value, sqrt_up(add_up(*shares)), unit), remaining)


def joint_weights(stack: Tensor) -> Tensor | None:
    """Positive weights p that nearly minimise ``λmax(Σ G_k / p_k) Σ p``; None for a zero stack.

    Stationary where ``p_k² ∝ uᵀG_k u`` for the top eigenvector u.  Any weights give a bound, so
    nothing is asked of the accuracy here.
    """
    sizes = stack.diagonal(dim1=1, dim2=2).sum(1)
    if not bool(torch.isfinite(sizes).all()) or float(sizes.max()) <= 0.0:
        return None
    floor = 1e-12
    norms = torch.tensor([max(largest_estimate(gram[None]), 0.0) for gram in stack])
    weights = norms.sqrt().to(stack)
    weights = (weights / weights.sum()).clamp(min=floor)
    weights = weights / weights.sum()
    best, best_value = weights, math.inf
    small = stack.shape[1] <= SMALL_SIDE
    top = torch.ones(stack.shape[1], dtype=stack.dtype, device=stack.device)
    for _ in range(WEIGHT_STEPS if small else WEIGHT_STEPS // 4):
        top = _top_eigenvector(stack, weights, top, exactly=small)
        sizes = (stack @ top) @ top
        value = float((sizes / weights).sum())
        if value < best_value:
            best, best_value = weights, value
        target = sizes.clamp(min=0.0).sqrt()
        target = target / target.sum().clamp(min=1e-300)
        weights = (weights * target).sqrt().clamp(min=floor)
        weights = weights / weights.sum()
    return best


def _top_eigenvector(stack: Tensor, weights: Tensor, start: Tensor, *, exactly: bool) -> Tensor:
    """Top eigenvector of ``Σ G_k / p_k``, by a few power steps from ``start`` when large."""
    if exactly:
        vectors: Tensor = torch.linalg.eigh((stack / weights[:, None, None]).sum(0)).eigenvectors
        return vectors[:, -1]
    v = start
    for _ in range(4):
        v = ((stack @ v) / weights[:, None]).sum(0)
        v = v / v.norm().clamp(min=1e-300)
    return v
