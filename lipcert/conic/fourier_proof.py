"""The proof that multipliers hold for every frequency, in spite of all rounding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, are_proven_above, times
from lipcert.conic.feasibility import retreated
from lipcert.conic.fourier import FourierBlock, chunks
from lipcert.conic.fourier_rounding import distance_to_true
from lipcert.conic.problem import power_of_two
from lipcert.rounding import add_up, mul_up

LEAST_MULTIPLIER = 2.0**-900
"""Blocks scaled to 1 by smaller multipliers would show what underflow did to their products."""


def are_proven(families: list[FourierBlock], y: Tensor) -> bool:
    """Whether no multiplier is negative and every block of every family is proven semidefinite.

    False for multipliers so small that their products with coefficients underflow: with larger
    ones that costs at most ``2^-1074 · 2^900`` in the scale of the proof, where rounding is 1e-15.
    """
    if not bool(torch.isfinite(y).all()) or not bool((y >= LEAST_MULTIPLIER).all()):
        return False
    return all(_is_proven(family, y) for family in families)


def _is_proven(family: FourierBlock, y: Tensor) -> bool:
    """All blocks against one distance: what is not known exactly mixes all frequencies."""
    scale = scales(family, y)
    floor = distance_to_true(family, y, scale)
    for part in chunks(family):
        matrix = scaled(part, part.matrices(y), scale)
        if not bool(are_proven_above(matrix, part.sizes, floor).all()):
            return False
    return True


def scales(family: FourierBlock, y: Tensor) -> Tensor:
    """Powers of two, ``(D,)``, in which every positive term of the diagonal is about 1."""
    parts = [y[family.head_index]]
    parts += [y[row.index] for row in family.rows if row.group is not None]
    return power_of_two(torch.cat(parts).rsqrt())


def scaled(family: FourierBlock, matrix: Blocks, scale: Tensor) -> Blocks:
    """``Λ P Λ``, exactly."""
    own = torch.split(scale[None], list(family.sizes), dim=1)
    return {(i, j): times(times(own[i], part), own[j]) for (i, j), part in matrix.items()}


def proven_families(
    families: list[FourierBlock], y: Tensor, inside: list[Tensor]
) -> tuple[Tensor, float]:
    """As :func:`retreated`, with every block of every family."""
    return retreated(y, inside, lambda mixed: are_proven(families, mixed))


def pair_factors(family: FourierBlock, y: Tensor) -> np.ndarray | None:
    """Proven ``(K, K)`` factors f with ``L_ij² ≤ ρ f_ij``, from proven y; None without a proof.

    For outputs that read frequency 0 alone, or one real block.  With ``P_0 = P + CᴴC`` and K above
    ``C P_0⁻¹ Cᴴ``, the multipliers times ``(e_i − e_j)ᵀ K (e_i − e_j)`` hold for that difference;
    ``[[P_0, Cᴴ], [C, K]] ≽ 0`` proves K.
    """
    if not family.output:
        return None
    if any(bool(part.matrix[1:].any()) for part in family.output.values()):
        return None
    first = family.select(torch.zeros(1, dtype=torch.int64, device=y.device))
    scale = scales(first, y)
    side, count = first.side, len(next(iter(first.output.values())).matrix[0])
    bordered = y.new_zeros(side + count, side + count).to(first.dtype)
    own = first.coordinates
    for (i, j), part in scaled(first, first.linear_part(y), scale).items():
        rows, columns = own[i], own[j]
        bordered[rows, columns] = torch.diag(part[0]) if part.dim() == 2 else part[0]
        if i != j:
            bordered[columns, rows] = part[0].mH
    error = [0.0]
    for g, reading in first.output.items():
        bordered[side:, own[g]] = reading.matrix[0] * scale[own[g]]
        error.append(mul_up(reading.error, float(scale[own[g]].max())))
    C, P0 = bordered[side:, :side], bordered[:side, :side]
    bordered[:side, side:] = C.mH
    factor, info = torch.linalg.cholesky_ex(P0)
    if int(info):
        return None
    G = C @ torch.cholesky_solve(C.mH, factor)
    floor = add_up(distance_to_true(family, y, scale), *error)
    for raised in (1e-10, 1e-8, 1e-6, 1e-4, 1e-2):
        K = (G + G.mH).real / 2.0
        K.diagonal().add_(raised)
        bordered[side:, side:] = (G + G.mH) / 2.0 if first.dtype.is_complex else K
        if first.dtype.is_complex:
            bordered[side:, side:].diagonal().add_(raised)
        if bool(are_proven_above({(0, 0): bordered[None]}, (side + count,), floor).all()):
            diagonal = K.diagonal()
            forms = diagonal[:, None] + diagonal - 2.0 * K
            forms = forms.clamp(min=0.0) + 2.0**-50 * (
                diagonal[:, None].abs() + diagonal.abs() + 2.0 * K.abs()
            )
            found: np.ndarray = forms.cpu().numpy() * (1.0 + 1e-14)
            return np.asarray(np.maximum(found, found.T))
    return None
