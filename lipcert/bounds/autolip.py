"""AutoLip: products of operator norms and slopes along the signal form (Virmaux & Scaman 2018)."""

from __future__ import annotations

import numpy as np
import torch

from lipcert.bounds.combine import combine
from lipcert.bounds.context import DUAL_EXPONENT, BoundContext
from lipcert.bounds.result import METHODS, Constants
from lipcert.bounds.rows import Rows, pull_back
from lipcert.operators import Norms
from lipcert.rounding import add_up, gamma, mul_up
from lipcert.signals import SignalForm, Stage
from lipcert.spectral.tensors import power_of_two_scale


def slope_constant(stage: Stage, norm: str) -> float:
    """The Lipschitz constant of a stage's nonlinearity in one norm."""
    constants: Norms = stage.constants
    return {"l1": constants.l1, "l2": constants.l2, "linf": constants.linf}[norm]


@METHODS.register("autolip")
def autolip_bound(form: SignalForm, context: BoundContext) -> Constants:
    """``ℓ_0 = 1``, ``ℓ_k = β_k Σ_j ‖A_kj‖ ℓ_j``, and the same sum for the output.

    Joint operators replace the sum where they are tighter (see :func:`combine`).
    """
    constants = {0: 1.0}
    for k, stage in enumerate(form.stages, start=1):
        context.progress(f"norms of {stage.node.name}", k / (len(form.stages) + 1))
        before = combine(stage.terms, constants, context)
        constants[k] = mul_up(slope_constant(stage, context.norm), before)
    context.progress("norms of the output", 1.0)
    value = combine(form.output_terms, constants, context)

    def pairwise() -> np.ndarray:
        count = torch.Size(form.output_shape).numel()
        rows = pull_back(
            form, form.output_terms, count, form.output_shape, lambda signal: None, context
        )
        return pairwise_constants(rows, constants, context.norm)

    return Constants(value, constants, pairwise)


def pairwise_constants(rows: dict[int, Rows], constants: dict[int, float], norm: str) -> np.ndarray:
    """``L_ij = Σ_k ‖row_i − row_j‖* ℓ_k``, the dual norm of each difference taken directly.

    ``rows[k]`` are the outputs' rows on signal k, which is ``constants[k]``-Lipschitz.
    """
    total: np.ndarray | None = None
    for signal, part in rows.items():
        scale = power_of_two_scale(part.matrix)
        scaled = (part.matrix / scale)[None]
        distances = (
            scale
            * torch.cdist(
                scaled, scaled, p=DUAL_EXPONENT[norm], compute_mode="donot_use_mm_for_euclid_dist"
            )[0]
        )
        slack = 1.0 + 4.0 * gamma(part.matrix.shape[1] + 4)
        underflow = mul_up(scale, 1e-140 * part.matrix.shape[1])
        off = add_up(mul_up(part.row_error_in(norm), 1.4142135623730952), underflow)
        with np.errstate(over="ignore", invalid="ignore"):
            weighted = (distances.cpu().numpy() * slack + off) * constants[signal] * (1.0 + 4e-16)
            weighted = np.nextafter(weighted, np.inf)  # what underflows stays above zero
            total = weighted if total is None else (total + weighted) * (1.0 + 4e-16)
    assert total is not None
    np.fill_diagonal(total, 0.0)
    return np.where(np.isnan(total), np.inf, total)
