"""The proof that multipliers hold for every frequency, in spite of all rounding."""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, are_proven_above, times
from lipcert.conic.feasibility import retreated
from lipcert.conic.fourier import FourierBlock, chunks
from lipcert.conic.fourier_rounding import distance_to_true
from lipcert.conic.problem import power_of_two

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
