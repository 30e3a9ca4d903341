"""The Lipschitz constant of a sum of operators applied to signals of known constants."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from lipcert.bounds.context import BoundContext
from lipcert.operators import Composed, Indexing, LinearOperator
from lipcert.rounding import add_up, hypot_up, mul_up, sqrt_up
from lipcert.signals import Terms
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.spectral.explicit import explicit_work, output_gram
from lipcert.spectral.tensors import frobenius_up, power_of_two_scale


def combine(terms: Terms, constants: Mapping[int, float], context: BoundContext) -> float:
    """Bound of the Lipschitz constant of ``Σ_j A_j z_j``, z_j being ``constants[j]``-Lipschitz.

    The triangle inequality; where the operators write to different outputs, the norm of the
    parts instead of their sum; and in l2, where affordable, the joint operator
    ``‖[A_j ℓ_j/τ_j]‖ √(Σ τ_j²)``, which for ``τ_j² = ‖A_j‖ℓ_j`` is never above the sum.
    """
    unbounded = [A for j, A in terms.items() if math.isinf(constants[j])]
    if any(A.absolute_norms.l1 > 0.0 or A.error.l1 > 0.0 for A in unbounded):
        return math.inf
    parts = {j: mul_up(context.norm_of(A).value, constants[j]) for j, A in terms.items()}
    total = add_up(*parts.values())
    if len(terms) < 2 or not math.isfinite(total) or total == 0.0:
        return total
    if _write_apart(list(terms.values())):
        apart = {"l2": hypot_up(*parts.values()), "linf": max(parts.values())}
        return min(total, apart.get(context.norm, total))
    if context.norm == "l2":
        total = min(total, _joint(terms, parts, constants, context))
    return total


def _write_apart(operators: list[LinearOperator]) -> bool:
    """Whether the operators write to disjoint outputs (as in a concatenation)."""
    outer = [A.factors[0] if isinstance(A, Composed) else A for A in operators]
    masks = [head.index >= 0 for head in outer if isinstance(head, Indexing)]
    if len(masks) < len(operators):
        return False
    return not bool((torch.stack(masks).sum(0) > 1).any())


def _joint(
    terms: Terms, parts: Mapping[int, float], constants: Mapping[int, float], context: BoundContext
) -> float:
    live = {j: A for j, A in terms.items() if parts[j] > 0.0}
    side = next(iter(terms.values())).out_size
    work = sum(explicit_work(A) for A in live.values()) + float(side) ** 3
    settings = context.settings
    fits = side <= settings.max_side and work <= settings.max_work
    if not fits or not settings.leaves_time_for(work):
        return math.inf
    gram = torch.zeros(1, side, side, dtype=torch.float64, device=context.device)
    error = 0.0
    budget = 0.0
    for j, operator in live.items():
        part, off = output_gram(operator.to(context.device), context.device)
        weight = constants[j] * (constants[j] / parts[j])  # ℓ²/τ² with τ² = ‖A‖ℓ
        gram += weight * part
        error = add_up(error, mul_up(weight * (1.0 + 1e-14), off))
        budget = add_up(budget, parts[j])
    error = add_up(error, mul_up(float(frobenius_up(gram)), 2.0**-50 * len(live)))
    scale = power_of_two_scale(gram)
    eigenvalue = mul_up(EIGENVALUE_BOUNDS[settings.spectral](gram / scale), scale)
    return mul_up(sqrt_up(add_up(max(eigenvalue, 0.0), error)), sqrt_up(budget))
