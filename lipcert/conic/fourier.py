"""The matrix inequality of a shift-invariant part: one Hermitian block per frequency.

The blocks ``P_ω(y)`` of all frequencies share the multipliers y and their pattern: groups of
coordinates (the entry, then each stage's activations), stages that read earlier groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, are_definite, diagonal_of, total
from lipcert.conic.completion import Below, below_of


@dataclass(frozen=True, eq=False)
class Reading:
    """A matrix ``(B, rows, n)`` per frequency, and its spectral distance to the true one."""

    matrix: Tensor
    error: float = 0.0


@dataclass(frozen=True, eq=False)
class Row:
    """What one stage, or the exit, adds to the matrix inequality.

    ``Σ_i y_{m(i)} [(e_i − c_i a_i)(e_i − c_i a_i)ᴴ − ν_i a_i a_iᴴ]``, without e and c at the exit.

    Parameters
    ----------
    group : the stage's own coordinates e; None for the exit.
    reads : rows a over the coordinates of earlier groups.
    centre, below : c and ν, ``(n,)``.
    index : the multiplier of each row, ``(n,)``.
    """

    group: int | None
    reads: Mapping[int, Reading]
    centre: Tensor
    below: Tensor
    index: Tensor

    @cached_property
    def squares(self) -> Tensor:
        """``c² − ν``, what a aᴴ itself is multiplied with: 0 where 0 is the least slope."""
        return self.centre.square() - self.below

    @cached_property
    def has_squares(self) -> bool:
        """Whether some are not 0."""
        return bool(self.squares.any())


@dataclass(frozen=True, eq=False)
class FourierBlock:
    """``P_ω(y) = diag(y_head) + Σ rows − CᵀC`` for a batch of frequencies.

    Parameters
    ----------
    sizes : coordinates of each group; group 0 is the entry.
    head_index : the multiplier of each coordinate of the entry, ``(n_0,)``.
    rows : the stages, and the exit last if there is one.
    output : C by group; empty behind an exit.
    """

    sizes: tuple[int, ...]
    head_index: Tensor
    rows: tuple[Row, ...]
    output: Mapping[int, Reading]

    @property
    def frequencies(self) -> int:
        """Number B of blocks."""
        row = next(iter([*(row.reads for row in self.rows), self.output]))
        return max(reading.matrix.shape[0] for reading in row.values())

    @property
    def dtype(self) -> torch.dtype:
        """Complex, or real for a single real matrix."""
        row = next(iter([*(row.reads for row in self.rows), self.output]))
        return next(iter(row.values())).matrix.dtype

    @property
    def side(self) -> int:
        """Side D of every block."""
        return sum(self.sizes)

    @cached_property
    def entry_is_diagonal(self) -> bool:
        """Whether all that reads the entry only couples it to other groups."""
        return 0 not in self.output and not any(
            0 in row.reads and row.has_squares for row in self.rows
        )

    @cached_property
    def below(self) -> Below:
        """The groups behind each one that it meets in a factor."""
        read = [row.reads for row in self.rows if row.has_squares] + [self.output]
        pattern = {(i, j) for own in read for i in own for j in own if i > j}
        pattern |= {(row.group, g) for row in self.rows if row.group is not None for g in row.reads}
        return below_of(pattern, len(self.sizes))

    def select(self, chosen: Tensor | slice) -> FourierBlock:
        """The same inequality at some of the frequencies."""

        def some(reads: Mapping[int, Reading]) -> dict[int, Reading]:
            return {g: replace(part, matrix=part.matrix[chosen]) for g, part in reads.items()}

        rows = tuple(replace(row, reads=some(row.reads)) for row in self.rows)
        return replace(self, rows=rows, output=some(self.output))

    def matrices(self, y: Tensor) -> Blocks:
        """``P_ω(y)`` by blocks, the lower half."""
        found = self.linear_part(y)
        for place, part in self.output_gram.items():
            found[place] = found[place] - part if place in found else -part
        return found

    def whole(self, blocks: Blocks) -> Tensor:
        """Hermitian matrices ``(B, D, D)`` from their lower half."""
        own, shape = self.coordinates, (self.frequencies, self.side, self.side)
        found = torch.zeros(shape, dtype=self.dtype, device=self.head_index.device)
        for (i, j), part in blocks.items():
            block = torch.diag_embed(part).to(self.dtype) if part.dim() == 2 else part
            found[:, own[i], own[j]] = block
            if i != j:
                found[:, own[j], own[i]] = block.mH
        return found

    @cached_property
    def output_gram(self) -> Blocks:
        """``CᴴC`` by blocks, the lower half."""
        return {
            (g, h): left.matrix.mH @ right.matrix
            for g, left in self.output.items()
            for h, right in self.output.items()
            if h <= g
        }

    def linear_part(self, y: Tensor) -> Blocks:
        """``P_ω(y) + CᵀC``, linear in y."""
        entry = y[self.head_index]
        if not self.entry_is_diagonal:
            entry = torch.diag(entry).to(self.dtype)
        found: Blocks = {(0, 0): entry.expand(self.frequencies, *entry.shape)}
        for row in self.rows:
            self.add_row(found, row, y)
        return found

    def add_row(self, blocks: Blocks, row: Row, y: Tensor) -> None:
        """Add what one row is at y, in place: the lower half."""
        t = y[row.index]

        def add(place: tuple[int, int], part: Tensor) -> None:
            blocks[place] = blocks[place] + part if place in blocks else part

        if row.group is not None:
            own = torch.diag(t).to(self.dtype).expand(self.frequencies, -1, -1)
            add((row.group, row.group), own)
            for g, part in row.reads.items():
                add((row.group, g), (-row.centre * t)[:, None] * part.matrix)
        if row.has_squares:
            squares = row.squares * t
            for g, left in row.reads.items():
                for h, right in row.reads.items():
                    if h <= g:
                        add((g, h), left.matrix.mH @ (squares[:, None] * right.matrix))

    @cached_property
    def coordinates(self) -> list[slice]:
        """Where each group lies."""
        ends = itertools.accumulate(self.sizes)
        return [slice(end - n, end) for end, n in zip(ends, self.sizes, strict=True)]

    def traces(self, Y: Blocks) -> Tensor:
        """``tr(M Y)`` for a Hermitian Y on the pattern, ``(B, n)``.

        M is what each coordinate of the entry and each row of the stages is multiplied with.
        """
        found = [diagonal_of(Y[0, 0])]
        for row in self.rows:
            value = found[0].new_zeros(self.frequencies, len(row.index))
            if row.has_squares:
                for h, right in row.reads.items():
                    left = row.reads.items()
                    aY = total(part.matrix @ _block(Y, g, h) for g, part in left)
                    value = value + row.squares * (aY * right.matrix.conj()).real.sum(-1)
            if row.group is not None:
                value = value + diagonal_of(Y[row.group, row.group])
                for g, part in row.reads.items():
                    crossing = (part.matrix * Y[row.group, g].conj()).real.sum(-1)
                    value = value - 2.0 * row.centre * crossing
            found.append(value)
        return torch.cat(found, dim=1)

    @cached_property
    def multipliers(self) -> Tensor:
        """Whose traces those are."""
        return torch.cat([self.head_index, *(row.index for row in self.rows)])

    def entry_trace(self, Y: Blocks, multiplier: int) -> Tensor:
        """Trace of Y over the coordinates of the entry that a multiplier belongs to."""
        return diagonal_of(Y[0, 0])[:, self.head_index == multiplier].sum()

    @cached_property
    def signs(self) -> Tensor:
        """``M_k = Σ_f s_f f fᴴ``: the weight s of each of the rows F."""
        found = [torch.ones_like(self.head_index, dtype=torch.float64)]
        for row in self.rows:
            if row.group is not None:
                found.append(torch.ones_like(row.below))
            found.append(-row.below)
        return torch.cat(found)

    @cached_property
    def places(self) -> Tensor:
        """The multiplier of each of the rows F."""
        found = [self.head_index]
        for row in self.rows:
            found += [row.index] * (1 if row.group is None else 2)
        return torch.cat(found)


CHUNK_ELEMENTS = 1 << 24
"""Complex elements of matrices held at once."""


def chunks(family: FourierBlock) -> list[FourierBlock]:
    """A family in parts of bounded size."""
    most = max(1, CHUNK_ELEMENTS // family.side**2)
    if family.frequencies <= most:
        return [family]
    everything = torch.arange(family.frequencies, device=family.head_index.device)
    return [family.select(part) for part in torch.split(everything, most)]


def holding(family: FourierBlock, y: Tensor) -> Tensor:
    """Which blocks of a family are positive definite at y, up to rounding: ``(B,)``."""
    parts = chunks(family)
    return torch.cat([are_definite(part.matrices(y), part.sizes) for part in parts])


def all_holding(families: Iterable[FourierBlock], y: Tensor) -> bool:
    """Whether y is strictly feasible: all blocks of all families are positive definite there."""
    return all(bool(holding(family, y).all()) for family in families)


def _block(Y: Blocks, g: int, h: int) -> Tensor:
    return Y[g, h] if g >= h else Y[h, g].mH
