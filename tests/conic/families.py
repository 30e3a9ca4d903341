"""Families of blocks of every shape that the solver meets, and their coefficients multiplied out."""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks
from lipcert.conic.fourier import FourierBlock, Reading, Row

F64 = torch.float64


class Drawn:
    """Draws readings and numbers multipliers."""

    def __init__(self, seed: int, batch: int, dtype: torch.dtype = torch.complex128) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.batch, self.dtype = batch, dtype
        self.count = 1

    def reading(self, rows: int, columns: int) -> Reading:
        """A random matrix at each frequency."""
        matrix = torch.randn(self.batch, rows, columns, dtype=self.dtype, generator=self.generator)
        return Reading(0.4 * matrix)

    def multipliers(self, count: int) -> Tensor:
        """So many new ones."""
        index = torch.arange(self.count, self.count + count)
        self.count += count
        return index

    def stage(
        self, group: int, sizes: tuple[int, ...], reads: tuple[int, ...], *, leaky: bool = False
    ) -> Row:
        """A stage of slopes in [0, 1], or in [0.2, 1]."""
        n = sizes[group]
        low = 0.2 if leaky else 0.0
        centre = torch.full((n,), (1.0 + low) / 2.0, dtype=F64)
        below = torch.full((n,), (1.0 - low) / 2.0, dtype=F64).square()
        found = {g: self.reading(n, sizes[g]) for g in reads}
        return Row(group, found, centre, below, self.multipliers(n))


def chain(seed: int) -> tuple[FourierBlock, int]:
    """Three stages one behind the other."""
    d, sizes = Drawn(seed, 3), (2, 3, 2, 4)
    rows = tuple(d.stage(k, sizes, (k - 1,)) for k in (1, 2, 3))
    heads = torch.zeros(2, dtype=torch.int64)
    return FourierBlock(sizes, heads, rows, {3: d.reading(2, 4)}), d.count


def skips(seed: int) -> tuple[FourierBlock, int]:
    """The entry and the first stage are read twice, once with slopes that are not 0."""
    d, sizes = Drawn(seed, 3), (3, 2, 3, 2)
    rows = (
        d.stage(1, sizes, (0,)),
        d.stage(2, sizes, (0, 1), leaky=True),
        d.stage(3, sizes, (1, 2)),
    )
    heads = torch.zeros(3, dtype=torch.int64)
    return FourierBlock(sizes, heads, rows, {2: d.reading(2, 3), 3: d.reading(2, 2)}), d.count


def skips_over_a_diagonal_entry(seed: int) -> tuple[FourierBlock, int]:
    """The entry is read by three stages, its coordinates share couplings."""
    d, sizes = Drawn(seed, 3), (4, 2, 3, 2)
    heads = d.multipliers(2)[torch.tensor([0, 1, 1, 0])]
    rows = (d.stage(1, sizes, (0,)), d.stage(2, sizes, (0, 1)), d.stage(3, sizes, (0, 2)))
    return FourierBlock(sizes, heads, rows, {3: d.reading(2, 2)}), d.count


def ends_in_a_coupling(seed: int) -> tuple[FourierBlock, int]:
    """A part that leaves couplings, two elements each, with a maximum over windows before."""
    d, sizes = Drawn(seed, 3), (2, 4, 3)
    first = d.stage(1, sizes, (0,))
    pooled, zero = d.multipliers(3), torch.zeros(3, dtype=F64)
    own = Row(2, {1: d.reading(3, 4)}, zero, zero, pooled)
    of_tap = pooled.repeat_interleave(2)
    taps = Row(
        None, {1: d.reading(6, 4)}, torch.zeros(6, dtype=F64), torch.ones(6, dtype=F64), of_tap
    )
    shared = d.multipliers(2)[torch.tensor([0, 0, 1, 1])]
    none, one = torch.zeros(4, dtype=F64), torch.ones(4, dtype=F64)
    exits = Row(None, {2: d.reading(4, 3)}, none, one, shared)
    heads = torch.zeros(2, dtype=torch.int64)
    return FourierBlock(sizes, heads, (first, own, taps, exits), {}), d.count


def head(seed: int) -> tuple[FourierBlock, int]:
    """One real block with a wide entry of few couplings."""
    d, sizes = Drawn(seed, 1, F64), (40, 3, 2)
    heads = d.multipliers(2).repeat(20)
    rows = (d.stage(1, sizes, (0,)), d.stage(2, sizes, (1,)))
    return FourierBlock(sizes, heads, rows, {2: d.reading(2, 2)}), d.count


FAMILIES = {
    family.__name__: family
    for family in (chain, skips, skips_over_a_diagonal_entry, ends_in_a_coupling, head)
}


def whole(block: FourierBlock, blocks: Blocks) -> Tensor:
    """A Hermitian matrix from its lower half, ``(B, D, D)``."""
    found = torch.zeros(block.frequencies, block.side, block.side, dtype=block.dtype)
    for (i, j), part in blocks.items():
        rows, columns = block.coordinates[i], block.coordinates[j]
        found[:, rows, columns] = (
            torch.diag_embed(part).to(block.dtype) if part.dim() == 2 else part
        )
        if i != j:
            found[:, columns, rows] = part.mH
    return found


def coefficients(block: FourierBlock, count: int) -> list[Tensor]:
    """``M_k`` of all multipliers from the rows themselves, ``(B, D, D)`` each."""
    unit = torch.eye(block.side, dtype=block.dtype)
    found = [torch.zeros(block.frequencies, block.side, block.side, dtype=block.dtype)]
    found = [found[0].clone() for _ in range(count)]
    for i, k in enumerate(block.head_index.tolist()):
        found[k][:, i, i] += 1.0
    for row in block.rows:
        a = torch.zeros(block.frequencies, len(row.index), block.side, dtype=block.dtype)
        for g, reading in row.reads.items():
            a[:, :, block.coordinates[g]] += reading.matrix
        f = -row.centre[:, None] * a
        if row.group is not None:
            f = f + unit[block.coordinates[row.group]]
        for i, k in enumerate(row.index.tolist()):
            own, read = f[:, i : i + 1], a[:, i : i + 1]
            if row.group is not None:
                found[k] += own.mH @ own
            found[k] -= row.below[i] * (read.mH @ read)
    return found
