"""The Schur complement of the HKM direction, from Hadamard products.

For constraint matrices that are sums of signed squares of rows, ``M_k = Σ_f s_f f fᵀ``, the entry
``tr(M_k S⁻¹ M_l X)`` is ``Σ_f Σ_g s_f s_g (f S⁻¹ g)(f X g)``: two tables of inner products and one
elementwise product, where a generic conic solver multiplies matrices (Fujisawa, Kojima & Nakata
1997 exploit the same for low rank).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.problem import Block


@dataclass(frozen=True, eq=False)
class Gathering:
    """Adds up values by index; contiguous and constant indices need no gathering."""

    index: Tensor
    size: int
    start: int | None
    constant: bool

    @staticmethod
    def of(index: Tensor, size: int) -> Gathering:
        """The gathering along ``index``, whose values lie in ``[0, size)``."""
        count = index.numel()
        first = int(index[0]) if count else 0
        along = torch.arange(first, first + count, device=index.device)
        start = first if bool((index == along).all()) else None
        return Gathering(index, size, start, bool((index == first).all()))

    def add(self, total: Tensor, values: Tensor) -> None:
        """``total[index] += values`` along the first axis."""
        if self.start is not None:
            total[self.start : self.start + values.shape[0]] += values
        elif self.constant and values.shape[0]:
            total[int(self.index[0])] += values.sum(0)
        else:
            total.index_add_(0, self.index, values)

    def add_table(self, total: Tensor, values: Tensor, columns: Gathering) -> None:
        """``total[index, columns.index] += values``."""
        if self.start is not None and columns.start is not None:
            block = total[self.start : self.start + values.shape[0]]
            block[:, columns.start : columns.start + values.shape[1]] += values
            return
        partial = values.new_zeros(columns.size, values.shape[0])
        columns.add(partial, values.T)
        self.add(total, partial.T)


@dataclass(frozen=True, eq=False)
class Inner:
    """Inner products of all rows of a block in one symmetric matrix Y.

    Heads are the first coordinates (e), remainders the rows w, and pre-activations the rows a.
    """

    head: Tensor
    head_remainder: Tensor
    head_row: Tensor
    remainder: Tensor
    remainder_row: Tensor
    row: Tensor

    @property
    def diagonals(self) -> tuple[Tensor, Tensor, Tensor]:
        """``e Y e``, ``w Y w`` and ``a Y a``."""
        return self.head.diagonal(), self.remainder.diagonal(), self.row.diagonal()


def inner_products(block: Block, Y: Tensor) -> tuple[Inner, Tensor]:
    """All inner products in Y, and ``A Y``."""
    n, c = block.inputs, block.centre
    AY = block.rows.times(Y)
    row = block.rows.times_from_right(AY)
    partner_row = block.partners(row)  # a_k Y a_j, (N, J)
    partner_AY = block.partners(AY)  # a_k Y, (N, D)
    crossing = partner_AY[:, n:] * c[:, None]  # c_k a_k Y e_l
    remainder = Y[n:, n:] - crossing
    remainder -= crossing.T
    remainder += block.partners(partner_row.T) * torch.outer(c, c)
    remainder_row = AY[:, n:].T - partner_row * c[:, None]
    head_remainder = Y[:n, n:] - (partner_AY[:, :n] * c[:, None]).T
    return Inner(Y[:n, :n], head_remainder, AY[:, :n].T, remainder, remainder_row, row), AY


class LocalIndex:
    """The multipliers of one block, renumbered from 0 in increasing order."""

    def __init__(self, block: Block) -> None:
        everything = torch.cat((block.head_index, block.activation_index, block.row_index))
        self.multipliers = torch.unique(everything)
        self.size = self.multipliers.numel()
        self.head = self._gathering(block.head_index)
        self.activation = self._gathering(block.activation_index)
        self.row = self._gathering(block.row_index)

    def _gathering(self, index: Tensor) -> Gathering:
        return Gathering.of(torch.searchsorted(self.multipliers, index.contiguous()), self.size)


def schur_complement(block: Block, local: LocalIndex, Z: Inner, X: Inner) -> Tensor:
    """``H_kl = tr(M_k S⁻¹ M_l X)`` over the block's multipliers, from inner products in both."""
    head, above, below = block.head_weight, block.activation_weight, block.row_weight
    H = Z.row.new_zeros(local.size, local.size)

    def add(
        rows: Gathering, columns: Gathering, table: Tensor, left: Tensor, right: Tensor
    ) -> None:
        table *= left[:, None]
        table *= right
        rows.add_table(H, table, columns)
        if rows is not columns:
            columns.add_table(H, table.T, rows)

    add(local.activation, local.activation, Z.remainder * X.remainder, above, above)
    add(local.activation, local.row, Z.remainder_row * X.remainder_row, above, -below)
    add(local.row, local.row, Z.row * X.row, below, below)
    add(local.head, local.head, Z.head * X.head, head, head)
    add(local.head, local.activation, Z.head_remainder * X.head_remainder, head, above)
    add(local.head, local.row, Z.head_row * X.head_row, head, -below)
    return H


def constraint_values(
    block: Block, local: LocalIndex, diagonals: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """``tr(M_k Y)`` over the block's multipliers, from the quadratic forms of all rows in Y."""
    values = diagonals[2].new_zeros(local.size)
    head, remainder, row = diagonals
    local.head.add(values, block.head_weight * head)
    local.activation.add(values, block.activation_weight * remainder)
    local.row.add(values, -block.row_weight * row)
    return values


def quadratic_forms(block: Block, Y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``e Y e``, ``w Y w`` and ``a Y a`` for a symmetric matrix Y."""
    n, c = block.inputs, block.centre
    AY = block.rows.times(Y)
    row = block.rows.diagonal_of(AY)
    places = torch.arange(n, block.side, device=Y.device)
    crossing = block.partners(AY).gather(1, places[:, None])[:, 0]  # a_k Y e_k
    diagonal = Y.diagonal()
    remainder = diagonal[n:] - 2.0 * c * crossing + c.square() * block.partners(row)
    return diagonal[:n], remainder, row


def times_linear_part(block: Block, dy: Tensor, Y: Tensor, AY: Tensor) -> Tensor:
    """``(Σ_k dy_k M_k) Y`` without forming the sum, from ``A Y``."""
    n = block.inputs
    weight = (block.activation_weight * dy[block.activation_index])[:, None]
    remainder = Y[n:] - block.centre[:, None] * block.partners(AY)
    remainder *= weight
    inner = block.onto_partners(-block.centre[:, None] * remainder)
    inner -= (block.row_weight * dy[block.row_index])[:, None] * AY
    product = block.rows.transposed_times(inner)
    product[n:] += remainder
    product[:n] += (block.head_weight * dy[block.head_index])[:, None] * Y[:n]
    return product
