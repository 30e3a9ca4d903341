"""Batches of random Hermitian matrices that are sparse by blocks, whole and in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks
from lipcert.conic.completion import below_of

SIZES = (3, 2, 4, 1, 3)
PATTERN = {(1, 0), (2, 1), (3, 0), (4, 2), (4, 3)}
BELOW = below_of(PATTERN, len(SIZES))
FILLED = {(g, g) for g in range(len(SIZES))} | {(i, j) for j, b in enumerate(BELOW) for i in b}
SIDE, BATCH = sum(SIZES), 4


def lane(group: int) -> slice:
    """The coordinates of a group."""
    start = sum(SIZES[:group])
    return slice(start, start + SIZES[group])


@dataclass(frozen=True)
class Kind:
    """What is drawn.

    Parameters
    ----------
    diagonal : whether matrices are diagonal on group 0, and given by that diagonal.
    """

    diagonal: bool = False

    def blocks(self, full: Tensor) -> Blocks:
        """The blocks of a matrix on the filled pattern, the lower half."""
        found = {(i, j): full[:, lane(i), lane(j)] for i, j in FILLED}
        if self.diagonal:
            found[0, 0] = found[0, 0].diagonal(dim1=-2, dim2=-1).real.clone()
        return found

    def sparse(self, seed: int, pattern: set[tuple[int, int]] = FILLED) -> Tensor:
        """Hermitian, zero outside a pattern."""
        kept = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        for i, j in pattern | {(g, g) for g in range(len(SIZES))}:
            kept[lane(i), lane(j)] = True
        if self.diagonal:
            kept[lane(0), lane(0)] = torch.eye(SIZES[0], dtype=torch.bool)
        full = dense(seed)
        return torch.where(kept | kept.T, full + full.mH, 0.0)

    def definite(
        self, seed: int, smallest: float = 0.3, pattern: set[tuple[int, int]] = FILLED
    ) -> Tensor:
        """The same with this smallest eigenvalue."""
        full = self.sparse(seed, pattern)
        lowest = torch.linalg.eigvalsh(full)[:, 0]
        full.diagonal(dim1=-2, dim2=-1).add_((smallest - lowest)[:, None])
        return full

    def is_close(self, blocks: Blocks, full: Tensor) -> bool:
        """Whether blocks of either half are those of a matrix."""
        size = 1e-12 * float(full.abs().max())
        for (i, j), part in blocks.items():
            wanted = full[:, lane(i), lane(j)]
            if part.dim() == 2:
                wanted = wanted.diagonal(dim1=-2, dim2=-1)
            if not float((part - wanted).abs().max()) <= size:
                return False
        return True


def dense(seed: int) -> Tensor:
    """Any complex matrices."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, SIDE, SIDE, dtype=torch.complex128, generator=generator)


KINDS = (Kind(), Kind(diagonal=True))
