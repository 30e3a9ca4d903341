"""Fewer input coordinates: only the row space of what reads the input matters."""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.bounds.coordinates import Coefficients
from lipcert.rounding import add_up, gamma, hypot_up, mul_up
from lipcert.spectral.proof import is_proven_above
from lipcert.spectral.tensors import frobenius_up

MARGINS = (4.0, 1e2, 1e4, 1e6)
"""Multiples of the error of a Gram matrix that are added to its diagonal."""
LEAST_ROW = 2.0**-20
"""Of the longest row: shorter ones are not scaled up to 1, nor the errors of their part."""


def dominating_factor(parts: list[Coefficients]) -> Tensor | None:
    """A square M with ``M Mᵀ ≽ A Aᵀ`` for the true A of shape ``(R, n)``, hardly above it.

    Then ``A = M K`` with ``‖K‖ ≤ 1`` (Douglas 1966): a model that reads its input through A is one
    that reads it through M behind a contraction, and a bound of that is a bound of this.  None
    where no factor is proved.

    Parameters
    ----------
    parts : the rows of A, part by part, each with its error.
    """
    scales, scaled, errors = [], [], []
    for part in parts:
        norms = part.matrix.norm(dim=1)
        least = LEAST_ROW * float(norms.max()) if part.error > 0.0 and len(norms) else 0.0
        own = torch.exp2(-norms.clamp(min=max(least, 1e-290)).log2().round())  # exact
        scales.append(own)
        scaled.append(own[:, None] * part.matrix)
        errors.append(mul_up(part.error, float(own.max())) if len(own) else 0.0)
    scale, rows = torch.cat(scales), torch.cat(scaled)
    if not bool((scale > 0.0).all()):  # a norm overflowed
        return None
    gram = rows @ rows.T
    size = float(frobenius_up(rows[None]))
    error = hypot_up(*errors)
    distance = add_up(
        mul_up(size, size, gamma(rows.shape[1] + 2)), mul_up(2.0, size, error), mul_up(error, error)
    )
    distance = add_up(distance, mul_up(len(rows) * 2.0**-52, float(gram.diagonal().sum())))
    for margin in MARGINS:
        raised = gram.clone()
        raised.diagonal().add_(margin * distance)
        factor, info = torch.linalg.cholesky_ex(raised)
        if int(info) != 0:
            continue
        product = factor @ factor.T
        rounding = mul_up(float(frobenius_up(factor[None])) ** 2, gamma(len(rows) + 4))
        rounding = add_up(rounding, mul_up(2.0**-52, float(frobenius_up(gram[None]))))
        if is_proven_above(product - gram, add_up(distance, rounding)):
            unscaled: Tensor = factor / scale[:, None]
            return unscaled
    return None
