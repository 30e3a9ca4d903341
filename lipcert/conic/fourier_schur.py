"""The Schur complement ``Σ_ω Re tr(M_k S⁻¹ M_l X)`` of a family of blocks.

Every M is a sum of signed squares of rows: those of the entry, and ``e − c a`` and a of the stages.
So with F all rows below one another, what is wanted is ``F S⁻¹ Fᴴ`` times the conjugate of
``F X Fᴴ``, entry by entry, summed over the frequencies and over the rows of each multiplier.

Here alone whole matrices are formed, a few frequencies at a time.  Where the entry is diagonal they
leave it out: with U and V of :mod:`lipcert.conic.completion`, ``Y_0l = U Y_bl`` behind it and
``Y_00 = V + U Y_bb Uᴴ``, so a row that reads the entry by A reads the groups b by AU instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.blockwise import times, total
from lipcert.conic.completion import SparseInverse, square
from lipcert.conic.fourier import FourierBlock, Reading

CHUNK_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Complex elements of the whole matrices held at once."""


def schur_complement(block: FourierBlock, Z: SparseInverse, X: SparseInverse, count: int) -> Tensor:
    """The matrix ``(count, count)`` for ``Z = S⁻¹`` and X."""
    layout = _layout_of(block)
    H = block.signs.new_zeros(count, count)
    most = min(max(1, CHUNK_ELEMENTS[H.device.type] // layout.side**2), block.frequencies)
    heights = layout.side, layout.rows, layout.rows
    room = [H.new_empty(most, n, layout.side, dtype=block.dtype) for n in heights]
    totals: list[Tensor] = []
    for first in range(0, block.frequencies, most):
        chosen = slice(first, first + most)
        own = block.select(chosen)
        of_Z = _Forms(own, layout, Z.select(chosen), room[0], room[1])
        of_X = _Forms(own, layout, X.select(chosen), room[0], room[2])
        if block.entry_is_diagonal:
            _add_entry(H, own, of_Z, of_X)
        pairs = zip(of_Z.columns(), of_X.columns(), strict=True)
        parts = (_real_inner(left, right) for left, right in pairs)
        if totals:
            for total, part in zip(totals, parts, strict=True):
                total += part
        else:
            totals += parts
    signs, places = block.signs[layout.skipped :], block.places[layout.skipped :]
    place = 0
    for squares in totals:
        width = squares.shape[1]
        squares[:width] *= 0.5  # whole, while what is below stands for its mirror image too
        squares *= signs[place:, None] * signs[place : place + width]
        half = squares.new_zeros(count, width).index_add_(0, places[place:], squares)
        H.index_add_(1, places[place : place + width], half)
        place += width
    return H + H.T


@dataclass(frozen=True)
class _Layout:
    """Where groups and rows are in the whole matrices.

    Parameters
    ----------
    skipped : rows of F that belong to a diagonal entry, which is left out; 0 where it is not.
    side, rows : of ``F Y``.
    lanes : where each group is.
    places : where the rows of each stage begin.
    """

    skipped: int
    side: int
    rows: int
    lanes: dict[int, slice]
    places: list[int]


def _layout_of(block: FourierBlock) -> _Layout:
    skipped = block.sizes[0] if block.entry_is_diagonal else 0
    lanes = {
        g: slice(own.start - skipped, own.stop - skipped)
        for g, own in enumerate(block.coordinates)
        if g or not skipped
    }
    places, place = [], block.sizes[0] - skipped
    for row in block.rows:
        places.append(place)
        place += len(row.index) * (1 if row.group is None else 2)
    return _Layout(skipped, block.side - skipped, place, lanes, places)


class _Forms:
    """``F Y`` for some frequencies, and ``F Y Fᴴ`` from it, by columns.

    Large matrices go where there is room for them: memory that is fresh costs more than they do.
    """

    def __init__(
        self, block: FourierBlock, layout: _Layout, Y: SparseInverse, room: Tensor, out: Tensor
    ) -> None:
        self.block, self.layout, self.Y = block, layout, Y
        self.reads = [self._behind_entry(row.reads) for row in block.rows]
        whole = Y.full(1 if layout.skipped else 0, room[: block.frequencies])
        self.FY = self._times_rows(whole, out[: block.frequencies])

    def _behind_entry(self, reads: Mapping[int, Reading]) -> dict[int, Tensor]:
        """What reads each group of the whole matrices."""
        found = {g: part.matrix for g, part in reads.items() if g in self.layout.lanes}
        if len(found) < len(reads):
            across = reads[0].matrix @ self.Y.across[0]
            b = self.Y.below[0]
            parts = torch.split(across, [self.Y.sizes[g] for g in b], dim=2)
            for g, part in zip(b, parts, strict=True):
                found[g] = found[g] + part if g in found else part
        return found

    def _times_rows(self, Y: Tensor, out: Tensor) -> Tensor:
        """``F Y``: rows of the entry, then ``e − c a`` and a of every stage.

        Columns behind the last group that a row or one before it touches are left as they were.
        """
        lanes, layout = self.layout.lanes, self.layout
        n, last = self.block.sizes[0] - layout.skipped, 0
        out[:, :n, :n] = Y[:, :n, :n]
        for row, reads, place in zip(self.block.rows, self.reads, layout.places, strict=True):
            last = max(last, row.group or 0, *reads)
            known, count = slice(0, lanes[last].stop), len(row.index)
            a = total(matrix @ Y[:, lanes[g], known] for g, matrix in reads.items())
            if row.group is not None:
                e, c = Y[:, lanes[row.group], known], row.centre[:, None]
                torch.addcmul(e, a, c, value=-1.0, out=out[:, place : place + count, known])
                place += count
            out[:, place : place + count, known] = a
        return out

    def columns(self) -> Iterator[Tensor]:
        """Those of the entry, then ``e − c a`` and a of every stage.

        Of each the rows from its own first on, ``(B, rows, columns)``; the others mirror them.
        """
        lanes, layout = self.layout.lanes, self.layout
        if not layout.skipped:
            yield self.FY[:, :, lanes[0]]
        for number, row in enumerate(self.block.rows):
            below = self.FY[:, layout.places[number] :]
            reads = self.reads[number]
            a = total(below[:, :, lanes[g]] @ matrix.mH for g, matrix in reads.items())
            self._add_own(a, number)
            if row.group is None:
                yield a
            else:
                yield torch.addcmul(below[:, :, lanes[row.group]], a, row.centre, value=-1.0)
                yield a[:, len(row.index) :]

    def _add_own(self, a: Tensor, number: int) -> None:
        """What V adds to the columns of a stage that reads a diagonal entry."""
        own = self.own_of(number)
        if own is None:
            return
        start = self.layout.places[number]
        for later in range(number, len(self.block.rows)):
            row = self.block.rows[later]
            if 0 not in row.reads:
                continue
            part, count = row.reads[0].matrix @ own, len(row.index)
            place = self.layout.places[later] - start
            if row.group is not None:
                a[:, place : place + count] -= row.centre[:, None] * part
                place += count
            a[:, place : place + count] += part

    def own_of(self, number: int) -> Tensor | None:
        """``V Aᴴ`` for a stage that reads a diagonal entry by A."""
        reads = self.block.rows[number].reads
        if not self.layout.skipped or 0 not in reads:
            return None
        return times(self.Y.own[0], reads[0].matrix.mH)

    def of_entry(self) -> Tensor:
        """``Y Fᴴ`` on the rows of a diagonal entry, ``(B, n_0, rows)``."""
        behind = [self.FY[:, :, self.layout.lanes[g]] for g in self.Y.below[0]]
        found = self.Y.across[0] @ torch.cat(behind, dim=2).mH
        for number, row in enumerate(self.block.rows):
            own = self.own_of(number)
            if own is None:
                continue
            place, count = self.layout.places[number], len(row.index)
            if row.group is not None:
                found[:, :, place : place + count] -= own * row.centre
                place += count
            found[:, :, place : place + count] += own
        return found


def _add_entry(H: Tensor, block: FourierBlock, of_Z: _Forms, of_X: _Forms) -> None:
    """Half of what the rows of a diagonal entry add, among themselves and with all others."""
    n, heads = block.sizes[0], block.head_index
    squares = _real_inner(of_Z.of_entry(), of_X.of_entry()) * block.signs[n:]
    half = squares.new_zeros(len(H), squares.shape[1]).index_add_(0, heads, squares)
    H.index_add_(1, block.places[n:], half)
    distinct, group_of = torch.unique(heads, return_inverse=True)
    own = 0.5 * _entry_squares(of_Z.Y, of_X.Y, group_of, len(distinct))
    H[distinct[:, None], distinct] += own


def _entry_squares(Z: SparseInverse, X: SparseInverse, group_of: Tensor, count: int) -> Tensor:
    """``Σ_ω Σ_ij Re Z_ij · conj(X_ij)`` over the entry's coordinates i, j by group.

    With ``Z_ij = V_i δ_ij + u_i Z_bb u_jᴴ``, and X alike with W and t.
    """
    whole = Z.own[0] * X.blocks[0, 0] + (Z.blocks[0, 0] - Z.own[0]) * X.own[0]
    found = torch.diag(whole.new_zeros(count).index_add_(0, group_of, whole.sum(0)))
    n, b = Z.across[0].shape[1:]
    pairs = _pairs_as_they_are if n * n <= count * count * b else _pairs_apart
    return found + pairs(Z, X, group_of, count)


def _pairs_as_they_are(Z: SparseInverse, X: SparseInverse, group_of: Tensor, count: int) -> Tensor:
    """``Σ_ij Re (u_i Z_bb u_jᴴ) conj(t_i X_bb t_jᴴ)`` by group."""
    parts = [Y.across[0] @ square(Y.blocks, Y.below[0]) @ Y.across[0].mH for Y in (Z, X)]
    pairs = _real_inner(*parts)
    half = pairs.new_zeros(count, len(pairs)).index_add_(0, group_of, pairs)
    return pairs.new_zeros(count, count).index_add_(1, group_of, half)


def _pairs_apart(Z: SparseInverse, X: SparseInverse, group_of: Tensor, count: int) -> Tensor:
    """The same by ``K_g = Σ_i u_iᵀ conj(t_i)``, without a matrix of all pairs of coordinates."""
    U, T = Z.across[0], X.across[0]
    K = torch.stack([U[:, group_of == g].mT @ T[:, group_of == g].conj() for g in range(count)], 1)
    left, right = (square(Y.blocks, Y.below[0])[:, None] for Y in (Z, X))
    return torch.einsum("bgpr,bhpr->gh", K, left @ K.conj() @ right).real


def _real_inner(left: Tensor, right: Tensor) -> Tensor:
    """``Re Σ_ω left · conj(right)``, elementwise."""
    if not left.is_complex():
        return (left * right).sum(0)
    found = torch.view_as_real(left) * torch.view_as_real(right)
    whole = found.sum(0) if len(found) > 1 else found[0]
    return whole[..., 0] + whole[..., 1]
