"""The matrix inequality of a shift-invariant part: one Hermitian block per frequency.

The blocks ``P_ω(y)`` of all frequencies share the multipliers y and their pattern: groups of
coordinates (the entry, then each stage's activations), stages that read earlier groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, are_definite
from lipcert.rounding import add_up, mul_up
from lipcert.spectral.tensors import frobenius_up, gamma_of_product


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

    @property
    def starts(self) -> list[int]:
        """Where each group begins."""
        return [sum(self.sizes[:g]) for g in range(len(self.sizes))]

    def select(self, chosen: Tensor) -> FourierBlock:
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
        entry = torch.diag(y[self.head_index]).to(self.dtype)
        found: Blocks = {(0, 0): entry.expand(self.frequencies, -1, -1)}
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
        squares = (row.centre.square() - row.below) * t
        if bool(squares.any()):
            for g, left in row.reads.items():
                for h, right in row.reads.items():
                    if h <= g:
                        add((g, h), left.matrix.mH @ (squares[:, None] * right.matrix))

    @cached_property
    def coordinates(self) -> list[slice]:
        """Where each group lies."""
        return [slice(s, s + n) for s, n in zip(self.starts, self.sizes, strict=True)]

    def times_rows(self, Y: Tensor) -> Tensor:
        """``F Y`` for ``(B, D, D)``: the entry's rows, then ``e − c a`` and ``a`` of every stage.

        Columns behind the last group that a row or one before it touches are left undefined.
        """
        own, n = self.coordinates, self.sizes[0]
        found = Y.new_empty(Y.shape[0], len(self.places), Y.shape[2])
        found[:, :n, :n] = Y[:, :n, :n]
        place, last = n, 0
        for row in self.rows:
            last = max(last, row.group or 0, *row.reads)
            known = slice(0, own[last].stop)
            a = sum(reading.matrix @ Y[:, own[g], known] for g, reading in row.reads.items())
            assert isinstance(a, Tensor)
            if row.group is not None:
                remainder = found[:, place : place + len(row.index), known]
                torch.sub(Y[:, own[row.group], known], row.centre[:, None] * a, out=remainder)
                place += len(row.index)
            found[:, place : place + len(row.index), known] = a
            place += len(row.index)
        return found

    def times_later_rows(self, FY: Tensor) -> Iterator[Tensor]:
        """``F Y Fᴴ`` by columns, from ``F Y``: for the entry and every stage its columns.

        Of each the rows from its own first on, ``(B, rows, columns)``; the others mirror them.
        """
        own, place = self.coordinates, self.sizes[0]
        yield FY[:, :, own[0]]
        for row in self.rows:
            below = FY[:, place:]
            reads = row.reads.items()
            a = sum(below[:, :, own[g]] @ part.matrix.mH for g, part in reads)
            assert isinstance(a, Tensor)
            if row.group is None:
                yield a
            else:
                yield torch.cat((below[:, :, own[row.group]] - row.centre * a, a), dim=2)
            place += len(row.index) * (1 if row.group is None else 2)

    def forms(self, Y: Tensor) -> Tensor:
        """``Re f Y fᴴ`` for all of the rows F, ``(B, rows)``, from the blocks of Y they touch."""
        own = self.coordinates
        diagonal = Y.diagonal(dim1=-2, dim2=-1).real
        found = [diagonal[:, own[0]]]
        for row in self.rows:
            a = diagonal.new_zeros(self.frequencies, len(row.index))
            for h, right in row.reads.items():
                aY = sum(left.matrix @ Y[:, own[g], own[h]] for g, left in row.reads.items())
                a = a + (aY * right.matrix.conj()).real.sum(-1)
            if row.group is not None:
                place, crossing = own[row.group], torch.zeros_like(a)
                for g, part in row.reads.items():
                    both = Y[:, own[g], place].mT + Y[:, place, own[g]].conj()
                    crossing = crossing + (part.matrix * both).real.sum(-1)
                c = row.centre
                found.append(diagonal[:, place] - c * crossing + c.square() * a)
            found.append(a)
        return torch.cat(found, dim=1)

    def entry_trace(self, Y: Tensor, multiplier: int) -> Tensor:
        """Trace of Y over the coordinates of the entry that a multiplier belongs to."""
        diagonal = Y.diagonal(dim1=-2, dim2=-1).real[:, : self.sizes[0]]
        return diagonal[:, self.head_index == multiplier].sum()

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

    def magnitude_sums(self, y: Tensor, scale: Tensor) -> Tensor:
        """``Σ_j M_ij λ_j``, M the matrices with every term made positive: ``(B, D)``."""
        parts = [scale[s : s + n] for s, n in zip(self.starts, self.sizes, strict=True)]
        batch = self.frequencies
        sums = [torch.zeros(batch, n, dtype=y.dtype, device=y.device) for n in self.sizes]
        sums[0] += y[self.head_index] * parts[0]
        for row in self.rows:
            t = y[row.index]
            magnitude = {g: part.matrix.abs() for g, part in row.reads.items()}
            v = sum(M @ parts[g] for g, M in magnitude.items())
            assert isinstance(v, Tensor)
            back = (row.centre.square() + row.below) * t * v
            if row.group is not None:
                own = parts[row.group]
                sums[row.group] += t * (own + row.centre.abs() * v)
                back = back + row.centre.abs() * t * own
            for g, M in magnitude.items():
                sums[g] += (M.mT @ back[..., None])[..., 0]
        magnitude = {g: part.matrix.abs() for g, part in self.output.items()}
        if magnitude:
            v = sum(M @ parts[g] for g, M in magnitude.items())
            assert isinstance(v, Tensor)
            for g, M in magnitude.items():
                sums[g] += (M.mT @ v[..., None])[..., 0]
        return torch.cat(sums, dim=1)

    def distance_to_true(self, y: Tensor, scale: Tensor) -> float:
        """Bound of ``‖Λ (P̂ − P) Λ‖`` for the computed and the true matrices, Λ = diag(scale).

        What is not known exactly of the coefficients need not be shift-invariant: it is a small
        change of the operator on all frequencies together, and only its norm counts.
        """
        tables = [*(row.reads for row in self.rows), self.output]
        widest = max(part.matrix.shape[1] for reads in tables for part in reads.values())
        terms = 2 * max(*self.sizes, widest) * (len(self.rows) + 1) + 16
        sums = self.magnitude_sums(y, scale) * scale
        gamma = gamma_of_product(terms, is_complex=True)
        rounding = mul_up(float(sums.max()), gamma, 1.0 + 8.0 * gamma)
        parts = [scale[s : s + n] for s, n in zip(self.starts, self.sizes, strict=True)]
        total = [rounding]
        for row in self.rows:
            t = y[row.index]
            root = ((row.centre.square() + row.below) * t).sqrt()
            size, error = _scaled_sizes(row.reads, root, parts)
            total.append(_square_error(size, error))
            if row.group is not None and error > 0.0:
                crossing = float((row.centre.abs() * t * parts[row.group]).max())
                plain = [mul_up(r.error, float(parts[g].max())) for g, r in row.reads.items()]
                total.append(mul_up(2.0, crossing, add_up(*plain)))
        ones = {len(part.matrix[0]) for part in self.output.values()}
        for count in ones:
            total.append(_square_error(*_scaled_sizes(self.output, y.new_ones(count), parts)))
        return mul_up(add_up(*total), 1.0 + 1e-13)


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


def _scaled_sizes(
    reads: Mapping[int, Reading], root: Tensor, parts: list[Tensor]
) -> tuple[float, float]:
    """Bounds of ``‖diag(root) a Λ‖`` and of the error in it."""
    sizes, errors = [0.0], [0.0]
    for g, reading in reads.items():
        if any(other.error > 0.0 for other in reads.values()):
            scaled = root[:, None] * reading.matrix * parts[g]
            sizes.append(float(frobenius_up(scaled).max()) * (1.0 + 1e-14))
        largest = float(root.max()) * (1.0 + 1e-14) if root.numel() else 0.0
        errors.append(mul_up(largest, reading.error, float(parts[g].max())))
    return add_up(*sizes), add_up(*errors)


def _square_error(size: float, error: float) -> float:
    return add_up(mul_up(2.0, size, error), mul_up(error, error)) if error > 0.0 else 0.0
