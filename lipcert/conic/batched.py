"""One family of blocks inside the batched primal-dual iteration: its iterates and its algebra.

S and X enter by their blocks on the pattern of the chain alone: of X only those count, and they
stand for its completion of largest determinant.  All but the Schur complement is linear in depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.blockwise import BlockFactor, Blocks, cholesky, times
from lipcert.conic.completion import (
    Cliques,
    SparseInverse,
    completed,
    inverse_of,
    remainder_of_entry,
    stacked,
)
from lipcert.conic.fourier import FourierBlock
from lipcert.conic.fourier_schur import schur_complement
from lipcert.conic.products import (
    Reduced,
    hermitian,
    mirrored,
    product,
    reduced,
    swapped,
    triple,
)

LANCZOS_STEPS = 6
"""For a step that is taken; half as many tell how far a predictor would go."""
FARTHEST = 1.25
"""A step beyond 1 is not taken; how far one could go is not asked beyond this."""
HALVINGS = 8


@dataclass(frozen=True, eq=False)
class Primal:
    """X by its completion, and the factors of its cliques."""

    completion: SparseInverse
    cliques: list[Cliques]

    @property
    def blocks(self) -> Blocks:
        """X on the pattern."""
        return self.completion.blocks


@dataclass(frozen=True, eq=False)
class Move:
    """A direction: the changes of S and of X by blocks, and ``X dS S⁻¹``."""

    S: Blocks
    X: Blocks
    reduced: Reduced
    product: Blocks


class Member:
    """Some frequencies of a family with their S and X.

    Parameters
    ----------
    block : the inequality at these frequencies.
    primal : X.
    factor : of S at the present multipliers.
    """

    def __init__(self, block: FourierBlock, primal: Primal, factor: BlockFactor) -> None:
        self.block, self.primal, self.factor = block, primal, factor

    @classmethod
    def at(cls, block: FourierBlock, X: Blocks, y: Tensor) -> Member | None:
        """With these X and multipliers; None where either is not positive definite."""
        primal, factor = _completed(block, X), _factor(block, y)
        return None if primal is None or factor is None else cls(block, primal, factor)

    def prepare(self) -> None:
        """What both directions of an iteration need."""
        self.Z = inverse_of(self.factor, self.block.below)

    def values(self, Y: Blocks, count: int) -> Tensor:
        """``Σ_ω tr(M_k Y)`` for Hermitian Y on the pattern."""
        own = self.block.traces(Y).sum(0)
        return own.new_zeros(count).index_add_(0, self.block.multipliers, own)

    def schur(self, count: int) -> Tensor:
        """``Σ_ω Re tr(M_k S⁻¹ M_l X)``."""
        return schur_complement(self.block, self.Z, self.primal.completion, count)

    def direction(self, dy: Tensor, target: float, second: Blocks | None) -> Move:
        """``dX = target·S⁻¹ − X − sym(X dS S⁻¹) − second``."""
        dS = _on_pattern(self.block, self.block.linear_part(dy))
        both = mirrored(dS)
        own = reduced(self.primal.completion, both, self.Z)
        XSZ = product(self.primal.completion, own, self.Z)
        dX = {}
        for place, part in hermitian(XSZ).items():
            dX[place] = part.neg_().sub_(self.primal.blocks[place])
            if target:
                dX[place].add_(self.Z.blocks[place], alpha=target)
            if second is not None:
                dX[place].sub_(second[place])
        return Move(dS, dX, own, XSZ)

    def second_order(self, move: Move) -> Blocks:
        """``sym(dX dS S⁻¹)`` for the ``dX = −X − sym(X dS S⁻¹)`` of a predictor.

        That is ``−sym(X dS Z + X dS Z dS Z / 2 + Z dS X dS Z / 2)``, Z the inverse of S.
        """
        X, Z, XSZ = self.primal.completion, self.Z, move.product
        between = reduced(Z, mirrored(move.S), Z)
        ZSZ = product(Z, between, Z)
        outer = triple(X, move.reduced, Z, between, Z, XSZ, ZSZ)
        inner = triple(Z, move.reduced.swapped, X, move.reduced, Z, swapped(XSZ), XSZ)
        return hermitian({p: XSZ[p].add(outer[p] + inner[p], alpha=0.5).neg_() for p in XSZ})

    def inner(self, X: Blocks, S: Blocks) -> Tensor:
        """``⟨X, S⟩`` summed over the batch."""
        total = S[0, 0].new_zeros((), dtype=torch.float64)
        for (i, j), part in S.items():
            product = (X[i, j].conj() * part).real.sum()
            total = total + (product if i == j else 2.0 * product)
        return total

    def complementarity(self, y: Tensor) -> Tensor:
        """``⟨X, S(y)⟩``."""
        return self.inner(self.primal.blocks, self.block.matrices(y))

    def longest_dual(self, move: Move, steps: int = LANCZOS_STEPS) -> float:
        """About how far S can go."""

        def along(v: Tensor) -> Tensor:
            return self.factor.forward(self._sparse_times(move.S, self.factor.backward(v)))

        last = self.factor.inverse[-1]
        return _longest(along, (len(last), self.block.side), last, steps)

    def _sparse_times(self, sparse: Blocks, v: Tensor) -> Tensor:
        found, own = torch.zeros_like(v), self.block.coordinates
        for (i, j), part in sparse.items():
            found[:, own[i]] += times(part, v[:, own[j]])
            if i != j:
                found[:, own[j]] += part.mH @ v[:, own[i]]
        return found

    def longest_primal(self, move: Move, steps: int = LANCZOS_STEPS) -> float:
        """About how far X can go: each of its cliques."""
        cliques = self.primal.cliques
        longest = min((self._longest_clique(move, own, steps) for own in cliques), default=math.inf)
        if self.block.entry_is_diagonal:
            longest = self._longest_entry(move, min(longest, FARTHEST))
        return longest

    def _longest_clique(self, move: Move, own: Cliques, steps: int) -> float:
        dX = stacked(move.X, self.block.below, own.members).flatten(0, 1)
        lower = own.lower.flatten(0, 1)

        def along(v: Tensor) -> Tensor:
            v = torch.linalg.solve_triangular(lower.mH, v, upper=True)
            found: Tensor = torch.linalg.solve_triangular(lower, dX @ v, upper=False)
            return found

        return _longest(along, dX.shape[:2], dX, steps)

    def _longest_entry(self, move: Move, most: float) -> float:
        """The same for coordinates of a diagonal entry, each a clique with what is behind it.

        By halving the interval; ``most`` is not exceeded.
        """
        groups = (0, *self.block.below[0])
        places = [(i, j) for i in groups for j in groups if i >= j]
        reached, tried = 0.0, most
        for _ in range(HALVINGS):
            X = {p: torch.add(self.primal.blocks[p], move.X[p], alpha=tried) for p in places}
            left = remainder_of_entry(X, self.block.below)
            if left is not None and bool((left >= 0.0).all()):
                reached = tried
            else:
                most = tried
            if most - reached <= 0.05 * reached:
                break
            tried = 0.5 * (reached + most)
        return reached

    def primal_at(self, move: Move, step: float) -> Primal | None:
        """X after a step; None where it is not positive definite."""
        X = {p: torch.add(part, move.X[p], alpha=step) for p, part in self.primal.blocks.items()}
        return _completed(self.block, X)

    def dual_at(self, y: Tensor) -> BlockFactor | None:
        """The factor of S(y); None where it is not positive definite."""
        return _factor(self.block, y)


def _completed(block: FourierBlock, X: Blocks) -> Primal | None:
    found = completed(X, block.sizes, block.below)
    return None if found is None else Primal(*found)


def inverse_at(block: FourierBlock, y: Tensor) -> Blocks:
    """``S(y)⁻¹`` on the pattern, where S is positive definite."""
    return inverse_of(_cholesky(block, y), block.below).blocks


def _factor(block: FourierBlock, y: Tensor) -> BlockFactor | None:
    factor = _cholesky(block, y)
    return factor if bool(factor.good.all()) else None


def _cholesky(block: FourierBlock, y: Tensor) -> BlockFactor:
    return cholesky(_on_pattern(block, block.matrices(y)), block.sizes)


def _on_pattern(block: FourierBlock, S: Blocks) -> Blocks:
    """With zeros where elimination fills in."""
    for j, below in enumerate(block.below):
        for i in below:
            if (i, j) not in S:
                shape = block.frequencies, block.sizes[i], block.sizes[j]
                S[i, j] = S[i, i].new_zeros(shape)
    return S


def _longest(
    along: Callable[[Tensor], Tensor], shape: tuple[int, ...], like: Tensor, most: int
) -> float:
    """``−1/λ_min`` over a batch of Hermitian maps, by Lanczos: an estimate, to be tried."""
    batch, side = shape
    generator = torch.Generator().manual_seed(0)  # on the CPU: the same start on every device
    v = torch.randn(1, side, 1, dtype=torch.float64, generator=generator, device="cpu")
    v = v.to(like.device, like.dtype)
    v = (v / v.norm()).expand(batch, -1, -1)
    steps = min(most, side)
    basis = like.new_empty(batch, side, steps)
    alphas, betas = [], []
    for step in range(steps):
        basis[:, :, step : step + 1] = v
        w = along(v)
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
