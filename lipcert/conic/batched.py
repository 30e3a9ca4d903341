"""One family of blocks inside the batched primal-dual iteration: its iterates and its algebra."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.blockwise import BlockFactor, Blocks, cholesky
from lipcert.conic.fourier import FourierBlock

LANCZOS_STEPS = 6
"""For a step that is taken; half as many tell how far a predictor would go."""


@dataclass(frozen=True, eq=False)
class Move:
    """A direction: the change of S times ``S⁻¹``, of S by blocks, and of X."""

    SZ: Tensor
    S: Blocks
    X: Tensor


class Member:
    """Some frequencies of a family with their S and X.

    Parameters
    ----------
    block : the inequality at these frequencies.
    X : primal matrices ``(B, D, D)``.
    factor : of S at the present multipliers.
    """

    def __init__(self, block: FourierBlock, X: Tensor, factor: BlockFactor) -> None:
        self.block = block
        self.factor = factor
        self.set_primal(X, torch.linalg.cholesky_ex(X)[0])

    def set_primal(self, X: Tensor, lower: Tensor) -> None:
        """Another X with its Cholesky factor."""
        self.X, self.lower = X, lower

    def prepare(self) -> None:
        """What both directions of an iteration need."""
        self.Z = self.factor.full_inverse()

    def values(self, Y: Tensor, count: int) -> Tensor:
        """``Σ_ω Re tr(M_k Y)``."""
        own = self.block.forms(Y).sum(0) * self.block.signs
        return own.new_zeros(count).index_add_(0, self.block.places, own)

    def schur(self, count: int) -> Tensor:
        """``Σ_ω Re tr(M_k S⁻¹ M_l X)``."""
        block, place = self.block, 0
        H = block.signs.new_zeros(count, count)
        of_Z, of_X = block.times_rows(self.Z), block.times_rows(self.X)
        columns = zip(block.times_later_rows(of_Z), block.times_later_rows(of_X), strict=True)
        for Z, X in columns:
            width = Z.shape[2]
            squares = _real_inner(Z, X)
            squares[:width] *= 0.5  # whole, while what is below stands for its mirror image too
            squares *= block.signs[place:, None] * block.signs[place : place + width]
            half = squares.new_zeros(count, width).index_add_(0, block.places[place:], squares)
            H.index_add_(1, block.places[place : place + width], half)
            place += width
        return H + H.T

    def direction(self, dy: Tensor, target: float, second: Tensor | None) -> Move:
        """``dX = target·S⁻¹ − X − sym(X dS S⁻¹ + second)``."""
        dS = self.block.linear_part(dy)
        SZ = self._sparse_times(dS, self.Z)
        product = self.X @ SZ
        if second is not None:
            product += second
        dX = _hermitian(product).add_(self.X).neg_()
        if target:
            dX.add_(self.Z, alpha=target)
        return Move(SZ, dS, dX)

    def second_order(self, move: Move) -> Tensor:
        """``dX dS S⁻¹``, of which the Hermitian part counts."""
        return move.X @ move.SZ

    def _sparse_times(self, sparse: Blocks, Y: Tensor) -> Tensor:
        product, own = torch.zeros_like(Y), self.block.coordinates
        for (i, j), part in sparse.items():
            product[:, own[i]] += part @ Y[:, own[j]]
            if i != j:
                product[:, own[j]] += part.mH @ Y[:, own[i]]
        return product

    def complementarity(self, y: Tensor) -> Tensor:
        """``⟨X, S(y)⟩``; with a direction of y, ``⟨X, dS⟩``."""
        return self.inner(self.X, self.block.matrices(y))

    def inner(self, X: Tensor, S: Blocks) -> Tensor:
        """``⟨X, S⟩`` summed over the batch."""
        own = self.block.coordinates
        total = X.new_zeros((), dtype=torch.float64)
        for (i, j), part in S.items():
            product = (X[:, own[i], own[j]].conj() * part).real.sum()
            total = total + (product if i == j else 2.0 * product)
        return total

    def longest_dual(self, move: Move, steps: int = LANCZOS_STEPS) -> float:
        """About how far S can go."""

        def times(v: Tensor) -> Tensor:
            return self.factor.forward(self._sparse_times(move.S, self.factor.backward(v)))

        return _longest(times, self.X, steps)

    def longest_primal(self, move: Move, steps: int = LANCZOS_STEPS) -> float:
        """About how far X can go."""

        def times(v: Tensor) -> Tensor:
            v = torch.linalg.solve_triangular(self.lower.mH, v, upper=True)
            found: Tensor = torch.linalg.solve_triangular(self.lower, move.X @ v, upper=False)
            return found

        return _longest(times, self.X, steps)

    def primal_at(self, move: Move, step: float) -> tuple[Tensor, Tensor] | None:
        """X after a step and its factor; None where it is not positive definite."""
        X = self.X + step * move.X
        lower, info = torch.linalg.cholesky_ex(X)
        return None if bool((info != 0).any()) else (X, lower)

    def dual_at(self, y: Tensor) -> BlockFactor | None:
        """The factor of S(y); None where it is not positive definite."""
        factor = cholesky(self.block.matrices(y), self.block.sizes)
        return factor if bool(factor.good.all()) else None


def _longest(times: Callable[[Tensor], Tensor], like: Tensor, most: int) -> float:
    """``−1/λ_min`` over a batch of Hermitian maps, by Lanczos: an estimate, to be tried."""
    batch, side = like.shape[:2]
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(1, side, 1, dtype=torch.float64, generator=generator)
    v = v.to(like.device, like.dtype)
    v = (v / v.norm()).expand(batch, -1, -1)
    steps = min(most, side)
    basis = like.new_empty(batch, side, steps)
    alphas, betas = [], []
    for step in range(steps):
        basis[:, :, step : step + 1] = v
        w = times(v)
        alphas.append((v.conj() * w).real.sum((-2, -1)))
        Q = basis[:, :, : step + 1]
        w = w - Q @ (Q.mH @ w)
        w = w - Q @ (Q.mH @ w)
        beta = w.norm(dim=1, keepdim=True).real
        betas.append(beta[:, 0, 0])
        v = w / beta.clamp(min=1e-300)
    tridiagonal = torch.diag_embed(torch.stack(alphas, 1))
    if steps > 1:
        inner = torch.stack(betas[:-1], 1)
        tridiagonal = tridiagonal + torch.diag_embed(inner, 1) + torch.diag_embed(inner, -1)
    if not bool(torch.isfinite(tridiagonal).all()):
        return 0.0
    values, vectors = torch.linalg.eigh(tridiagonal)
    residual = betas[-1] * vectors[:, -1, 0].abs()
    smallest = float((values[:, 0] - 0.5 * residual).min())
    return math.inf if smallest >= 0.0 else -1.0 / smallest


def _real_inner(left: Tensor, right: Tensor) -> Tensor:
    """``Re Σ_ω left · conj(right)``, elementwise."""
    if not left.is_complex():
        return (left * right).sum(0)
    return torch.view_as_real(left).mul(torch.view_as_real(right)).sum(0).sum(-1)


def _hermitian(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mH).mul_(0.5)
