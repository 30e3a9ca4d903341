"""The matrix inequality of LipSDP, for any DAG, as data.

Minimise ``ρ = y_0`` such that every block is positive semidefinite:

    P(y) = diag(head) + Σ_k ω_k y_{m(k)} w_k w_kᵀ − Σ_j ν_j y_{m(j)} a_j a_jᵀ − CᵀC ≽ 0

on coordinates (inputs of the block | activations).  ``a_j`` is the row that gives pre-activation j,
``w_k = e_k − c_k a_k`` the row of the remainder ``z_k − c_k v_k``; an activation with slopes in
``[c − r, c + r]`` satisfies ``(w_k z)² ≤ r² (a_k z)²``, so its multiplier enters once with
``ω = 1`` and once with ``ν = r²``.  A joint map that is ℓ-Lipschitz on groups shares one multiplier
among the outputs (ω = 1) and inputs (ν = ℓ²) of a group.  ``head`` holds ``y_0`` on every input of
the first block, and a coupling of its own on every input of a later one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lipcert.conic.rows import PieceRows


@dataclass(frozen=True, eq=False)
class Block:
    """One diagonal block.

    Parameters
    ----------
    inputs : number n of input coordinates; they come first.
    rows : the rows a_j, shape ``(J, n + N)``.
    centre : c_k of each activation, ``(N,)``.
    partner : the row a_j that c_k multiplies, ``(N,)``; None when row k is that of activation k.
    head_weight, activation_weight, row_weight : ``(n,)``, ``(N,)`` and ``(J,)``: 1, ω and ν.
    head_index, activation_index, row_index : the multiplier of each, as an index into y.
    output : C, ``(K, n + N)``; no rows when the block ends in a coupling.
    output_error : bound of the spectral distance of C to the true one.
    """

    inputs: int
    rows: PieceRows
    centre: Tensor
    partner: Tensor | None
    head_weight: Tensor
    head_index: Tensor
    activation_weight: Tensor
    activation_index: Tensor
    row_weight: Tensor
    row_index: Tensor
    output: Tensor
    output_error: float = 0.0

    @property
    def side(self) -> int:
        """Side D of the block."""
        return self.rows.side

    @property
    def activations(self) -> int:
        """Number N of activation coordinates."""
        return self.side - self.inputs

    def partners(self, rows: Tensor) -> Tensor:
        """The row belonging to each activation, along the first axis."""
        return rows[: self.activations] if self.partner is None else rows[self.partner]

    def onto_partners(self, values: Tensor) -> Tensor:
        """The transpose of :meth:`partners`: activations' values added up by row."""
        total = values.new_zeros(self.rows.count, *values.shape[1:])
        if self.partner is None:
            total[: self.activations] = values
            return total
        return total.index_add_(0, self.partner, values)

    def linear_part(self, y: Tensor) -> Tensor:
        """``P(y) + CᵀC``, linear in y, of shape ``(D, D)``."""
        n = self.inputs
        head = self.head_weight * y[self.head_index]
        weight = self.activation_weight * y[self.activation_index]
        below = self.row_weight * y[self.row_index]
        squares = self.onto_partners(weight * self.centre.square()) - below
        P = self.rows.weighted_gram(squares)
        crossing = self.onto_partners_rows(weight * self.centre)
        P[n:] -= crossing
        P[:, n:] -= crossing.T
        P.diagonal().add_(torch.cat((head, weight)))
        return P

    def onto_partners_rows(self, weights: Tensor) -> Tensor:
        """``weights_k a_k`` for every activation, ``(N, D)``."""
        crossing = weights.new_zeros(self.activations, self.side)
        if self.partner is not None:
            return weights[:, None] * self.rows.dense()[self.partner]
        for piece in self.rows.pieces:
            stop = min(piece.rows.stop, self.activations)
            part = slice(piece.row, stop)
            if stop > piece.row:
                rows = piece.matrix[: stop - piece.row]
                crossing[part, piece.columns] += weights[part, None] * rows
        return crossing

    def slack(self, y: Tensor) -> Tensor:
        """``P(y)``."""
        return self.linear_part(y) - self.output.T @ self.output

    def largest_terms(self, y: Tensor) -> Tensor:
        """About the diagonal of ``P(y)`` with every term made positive, ``(D,)``."""
        weight = self.activation_weight * y[self.activation_index]
        squares = self.onto_partners(weight * self.centre.square())
        squares += self.row_weight * y[self.row_index]
        total = self.rows.square_sums(squares) + self.output.square().sum(0)
        head = self.head_weight * y[self.head_index]
        return total + torch.cat((head, weight))

    def with_output(self, output: Tensor, error: float) -> Block:
        """The same block before another output."""
        return replace(self, output=output, output_error=error)

    def to(self, device: torch.device) -> Block:
        """The same block on ``device``."""
        moved: dict[str, Any] = {"rows": self.rows.to(device)}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device)
        return replace(self, **moved)


@dataclass(frozen=True, eq=False)
class Problem:
    """Blocks that share the multipliers y; block b shares some only with b − 1 and b + 1.

    Parameters
    ----------
    blocks : in order from the model's input to its output.
    start : strictly feasible multipliers, ``(m,)``; y_0 is the objective.
    signed : whether the matrices alone do not keep the multipliers from being negative.
    """

    blocks: tuple[Block, ...]
    start: Tensor
    signed: bool = False

    @property
    def side(self) -> int:
        """Sum of the sides of all blocks."""
        return sum(block.side for block in self.blocks)

    def with_output(self, output: Tensor, error: float = 0.0) -> Problem:
        """The same network before another output."""
        last = self.blocks[-1].with_output(output, error)
        return replace(self, blocks=(*self.blocks[:-1], last))

    def to(self, device: torch.device) -> Problem:
        """The same problem on ``device``."""
        blocks = tuple(block.to(device) for block in self.blocks)
        return replace(self, blocks=blocks, start=self.start.to(device))

    def scaled(self, y: Tensor) -> ScaledProblem:
        """The equivalent problem in which y is about 1 and every ``P(y)`` has about unit diagonal.

        All scales are powers of two, so the two problems are equal without rounding.
        """
        return self._in_units(y, [block.slack(y).diagonal() for block in self.blocks])

    def balanced(self, y: Tensor) -> ScaledProblem:
        """The same with no term of any ``P(y)`` far above 1, where terms may cancel.

        Rounding is relative to the terms: where little is left of a diagonal element, to scale it
        up to 1 would scale the errors up with it.
        """
        return self._in_units(y, [block.largest_terms(y) for block in self.blocks])

    def _in_units(self, y: Tensor, diagonals: list[Tensor]) -> ScaledProblem:
        unit = power_of_two(y)
        scales = [power_of_two(diagonal.clamp(min=1e-300).rsqrt()) for diagonal in diagonals]
        pairs = zip(self.blocks, scales, strict=True)
        blocks = tuple(_scaled(block, scale, unit) for block, scale in pairs)
        return ScaledProblem(replace(self, blocks=blocks, start=y / unit), unit, scales)


@dataclass(frozen=True, eq=False)
class ScaledProblem:
    """A problem in scaled multipliers: those of the original are ``unit · y``.

    ``scales[b]`` are the factors of the coordinates of block b.
    """

    problem: Problem
    unit: Tensor
    scales: list[Tensor]

    def with_scaled_output(self, output: Tensor, error: float, start: Tensor) -> ScaledProblem:
        """The same network before another output in scaled coordinates, with another start."""
        changed = self.problem.with_output(output, error)
        return replace(self, problem=replace(changed, start=start))


def power_of_two(values: Tensor) -> Tensor:
    """The power of two nearest to each positive value, on a logarithmic scale."""
    return torch.exp2(values.log2().round().clamp(-1000.0, 1000.0))


def _scaled(block: Block, scale: Tensor, unit: Tensor) -> Block:
    inputs, activations = scale[: block.inputs], scale[block.inputs :]
    return replace(
        block,
        rows=block.rows.scaled_columns(scale),
        centre=block.centre / activations,
        head_weight=block.head_weight * inputs.square() * unit[block.head_index],
        activation_weight=block.activation_weight
        * activations.square()
        * unit[block.activation_index],
        row_weight=block.row_weight * unit[block.row_index],
        output=block.output * scale,
        output_error=block.output_error * float(scale.max()) * (1.0 + 1e-15),
    )
