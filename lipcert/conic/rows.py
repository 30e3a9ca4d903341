"""A sparse matrix of dense pieces: the rows that give every pre-activation from all coordinates."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.rounding import UNIT_ROUNDOFF, add_up, mul_up, sqrt_up
from lipcert.spectral.tensors import square_sums_up


@dataclass(frozen=True, eq=False)
class Piece:
    """``matrix`` at ``(row, column)``; ``error`` bounds its spectral distance to the true one."""

    row: int
    column: int
    matrix: Tensor
    error: float = 0.0

    @property
    def rows(self) -> slice:
        """Where it lies among the rows."""
        return slice(self.row, self.row + self.matrix.shape[0])

    @property
    def columns(self) -> slice:
        """Where it lies among the columns."""
        return slice(self.column, self.column + self.matrix.shape[1])


@dataclass(frozen=True, eq=False)
class PieceRows:
    """``A`` of shape ``(count, side)`` as the sum of its pieces, no two of which overlap."""

    count: int
    side: int
    pieces: tuple[Piece, ...]

    def times(self, Y: Tensor) -> Tensor:
        """``A Y`` for Y of shape ``(side, m)``."""
        product = Y.new_zeros(self.count, Y.shape[1])
        for piece in self.pieces:
            product[piece.rows].addmm_(piece.matrix, Y[piece.columns])
        return product

    def times_from_right(self, Y: Tensor) -> Tensor:
        """``Y Aᵀ`` for Y of shape ``(m, side)``."""
        product = Y.new_zeros(Y.shape[0], self.count)
        for piece in self.pieces:
            product[:, piece.rows].addmm_(Y[:, piece.columns], piece.matrix.T)
        return product

    def transposed_times(self, Y: Tensor) -> Tensor:
        """``Aᵀ Y`` for Y of shape ``(count, m)``."""
        product = Y.new_zeros(self.side, Y.shape[1])
        for piece in self.pieces:
            product[piece.columns].addmm_(piece.matrix.T, Y[piece.rows])
        return product

    def diagonal_of(self, Y: Tensor) -> Tensor:
        """``(A_i · Y_i)`` for every row i, Y of shape ``(count, side)``."""
        sums = Y.new_zeros(self.count)
        for piece in self.pieces:
            sums[piece.rows] += (piece.matrix * Y[piece.rows, piece.columns]).sum(1)
        return sums

    def weighted_gram(self, weights: Tensor) -> Tensor:
        """``Aᵀ diag(weights) A`` of shape ``(side, side)``."""
        gram = weights.new_zeros(self.side, self.side)
        ordered = sorted(self.pieces, key=lambda piece: piece.row)
        for place, left in enumerate(ordered):
            part = weights[left.rows]
            if not bool(part.any()):
                continue
            scaled = (part[:, None] * left.matrix).T
            gram[left.columns, left.columns] += scaled @ left.matrix
            for right in itertools.islice(ordered, place + 1, None):
                if right.row >= left.rows.stop:
                    break
                stop = min(left.rows.stop, right.rows.stop)
                shared = scaled[:, right.row - left.row : stop - left.row]
                crossing = shared @ right.matrix[: stop - right.row]
                gram[left.columns, right.columns] += crossing
                gram[right.columns, left.columns] += crossing.T
        return gram

    def square_sums(self, weights: Tensor) -> Tensor:
        """``Σ_j weights_j a_ji²`` for every column i, ``(side,)``."""
        sums = weights.new_zeros(self.side)
        for piece in self.pieces:
            sums[piece.columns] += weights[piece.rows] @ piece.matrix.square()
        return sums

    def variances(self, x: Tensor) -> Tensor:
        """``Σ_i a_ji² x_i`` for every row j, ``(count,)``."""
        sums = x.new_zeros(self.count)
        for piece in self.pieces:
            sums[piece.rows] += piece.matrix.square() @ x[piece.columns]
        return sums

    def dense(self) -> Tensor:
        """The matrix itself."""
        like = self.pieces[0].matrix if self.pieces else torch.zeros(0, dtype=torch.float64)
        matrix = like.new_zeros(self.count, self.side)
        for piece in self.pieces:
            matrix[piece.rows, piece.columns] += piece.matrix
        return matrix

    def scaled_columns(self, scale: Tensor) -> PieceRows:
        """``A diag(scale)``; exact for powers of two."""
        pieces = []
        for piece in self.pieces:
            part = scale[piece.columns]
            error = mul_up(piece.error, float(part.max())) if part.numel() else 0.0
            pieces.append(replace(piece, matrix=piece.matrix * part, error=error))
        return PieceRows(self.count, self.side, tuple(pieces))

    def absolute(self) -> PieceRows:
        """``|A|``."""
        pieces = (replace(piece, matrix=piece.matrix.abs()) for piece in self.pieces)
        return PieceRows(self.count, self.side, tuple(pieces))

    def error_of_scaled(self, weights: Tensor) -> float:
        """Bound of ``‖diag(weights) (A − A_true)‖`` for non-negative weights."""
        parts = [
            mul_up(piece.error, float(weights[piece.rows].max()))
            for piece in self.pieces
            if piece.error > 0.0 and piece.matrix.numel()
        ]
        return add_up(*parts)

    def norm_of_scaled(self, weights: Tensor) -> float:
        """Bound of ``‖diag(weights) A‖`` for non-negative weights: its Frobenius norm."""
        squares = [
            float(square_sums_up((weights[piece.rows, None] * piece.matrix)[None]))
            for piece in self.pieces
        ]
        return mul_up(sqrt_up(add_up(*squares)), 1.0 + 8.0 * UNIT_ROUNDOFF)

    def to(self, device: torch.device) -> PieceRows:
        """The same rows on ``device``."""
        pieces = (replace(piece, matrix=piece.matrix.to(device)) for piece in self.pieces)
        return PieceRows(self.count, self.side, tuple(pieces))
