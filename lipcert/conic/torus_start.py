"""Strictly feasible multipliers for families of blocks, chosen from the output back.

Eliminating the groups of a block from the last to the entry leaves, at each group, a matrix
``T − M(ω)`` that must be positive definite: M is what all that follows demands of this group, as a
matrix and not only as a norm.  The multiplier is taken a little above the largest eigenvalue of M
over all frequencies.  For slopes [0, 1] and one channel ``κ = 2`` is best; over several channels,
where M is far from a multiple of the identity, less is better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, eliminate
from lipcert.conic.fourier import CHUNK_ELEMENTS, FourierBlock, Row, all_holding

EXCESSES = (1.3, 1.5, 1.75, 2.0, 2.5)
"""The multipliers κ of the demand that are tried."""
MARGINS = (1.5, 3.0, 10.0)
"""Factors between what an entry demands and the multiplier it gets."""
SAMPLED = 64
"""Frequencies of a family that are looked at for a start; it must hold at all of them."""
LEAST = 1e-9
"""Of the largest demand so far: for groups of which nothing is demanded."""


def central_start(families: list[FourierBlock], count: int) -> Tensor | None:
    """Multipliers ``(count,)`` at which all blocks are positive definite; None if none is found.

    Of those that are tried the ones with the smallest y_0.
    """
    sampled = [_sampled(family) for family in families]
    for margin in MARGINS:
        tried = [_eliminated(sampled, count, excess, margin) for excess in EXCESSES]
        for y in sorted((y for y in tried if y is not None), key=lambda y: float(y[0])):
            if all_holding(families, y):
                return y
    return None


def _sampled(family: FourierBlock) -> FourierBlock:
    """The family at a few of its frequencies."""
    most = min(SAMPLED, max(1, CHUNK_ELEMENTS // family.side**2))
    if family.frequencies <= most:
        return family
    chosen = torch.linspace(0, family.frequencies - 1, most, device=family.head_index.device)
    return family.select(chosen.round().long())


def _eliminated(
    families: list[FourierBlock], count: int, excess: float, margin: float
) -> Tensor | None:
    y = torch.zeros(count, dtype=torch.float64, device=families[0].head_index.device)
    largest = 0.0
    for family in reversed(families):
        rows = {row.group: row for row in family.rows if row.group is not None}
        waiting = [row for row in family.rows if row.group is None]
        work = {place: -part for place, part in family.output_gram.items()}
        for group in range(len(family.sizes) - 1, -1, -1):
            waiting = _add_known(family, work, waiting, y)
            demand = _largest_eigenvalue(work.get((group, group)))
            largest = max(largest, demand)
            if not math.isfinite(largest):
                return None
            demand = max(demand, LEAST * largest)
            if group == 0:
                y[family.head_index] = margin * demand
                continue
            y[rows[group].index] = excess * demand
            family.add_row(work, rows[group], y)
            waiting = _add_known(family, work, waiting, y)
            if not bool(eliminate(work, group).all()):
                return None
    return y if bool(torch.isfinite(y).all()) and bool((y > 0.0).all()) else None


def _largest_eigenvalue(part: Tensor | None) -> float:
    """Of minus a batch of Hermitian matrices."""
    if part is None or not part.numel():
        return 0.0
    if not bool(torch.isfinite(torch.view_as_real(part) if part.is_complex() else part).all()):
        return math.inf
    return -float(torch.linalg.eigvalsh((part + part.mH) / 2.0)[:, 0].min())


def _add_known(family: FourierBlock, work: Blocks, waiting: list[Row], y: Tensor) -> list[Row]:
    """Adds the rows whose multipliers are known, and returns the others."""
    known = [bool((y[row.index] > 0.0).all()) for row in waiting]
    for row, is_known in zip(waiting, known, strict=True):
        if is_known:
            family.add_row(work, row, y)
    return [row for row, is_known in zip(waiting, known, strict=True) if not is_known]
