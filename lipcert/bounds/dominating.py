"""Fewer input coordinates: only the row space of what reads the input matters."""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.bounds.coordinates import Coefficients
from lipcert.rounding import add_up, gamma, mul_up
from lipcert.spectral.proof import is_proven_above
from lipcert.spectral.tensors import frobenius_up

MARGINS = (4.0, 1e2, 1e4, 1e6)
"""Multiples of the error of a Gram matrix that are added to its diagonal."""


def dominating_factor(reading: Coefficients) -> Tensor | None:
    """A square M with ``M Mᵀ ≽ A Aᵀ`` for the true A of shape ``(R, n)``, hardly above it.

    Then ``A = M K`` with ``‖K‖ ≤ 1`` (Douglas 1966): a model that reads its input through A is one
    that reads it through M behind a contraction, and a bound of that is a bound of this.  None
    where no factor is proved.
    """
    A = reading.matrix
    scale = torch.exp2(-A.norm(dim=1).clamp(min=1e-290).log2().round())  # exact scales of rows
    rows = scale[:, None] * A
    gram = rows @ rows.T
    size = float(frobenius_up(rows[None]))
    error = mul_up(reading.error, float(scale.max()))
    distance = add_up(
        mul_up(size, size, gamma(A.shape[1] + 2)), mul_up(2.0, size, error), mul_up(error, error)
    )
    distance = add_up(distance, mul_up(len(A) * 2.0**-52, float(gram.diagonal().sum())))
    for margin in MARGINS:
        raised = gram.clone()
        raised.diagonal().add_(margin * distance)
        factor, info = torch.linalg.cholesky_ex(raised)
        if int(info) != 0:
            continue
        product = factor @ factor.T
        rounding = mul_up(float(frobenius_up(factor[None])) ** 2, gamma(len(A) + 4))
        rounding = add_up(rounding, mul_up(2.0**-52, float(frobenius_up(gram[None]))))
        if is_proven_above(product - gram, add_up(distance, rounding)):
            unscaled: Tensor = factor / scale[:, None]
            return unscaled
    return None
