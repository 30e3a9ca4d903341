"""One predictor-corrector iteration with the HKM direction.

Helmberg, Rendl, Vanderbei & Wolkowicz 1996; Kojima, Shindoh & Hara 1997; Monteiro 1997 for the
direction, Mehrotra 1992 for predictor and corrector, Toh, Todd & Tütüncü 1999 for the centring
exponent and the step fractions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.conic.cliques import CliqueFactor
from lipcert.conic.iterates import Iterate
from lipcert.conic.problem import Block, ScaledProblem
from lipcert.conic.schur import (
    LocalIndex,
    constraint_values,
    inner_products,
    quadratic_forms,
    schur_complement,
    times_linear_part,
)
from lipcert.conic.steps import longest_step

SHORTEST_STEP = 1e-5
"""Step below which an iteration has got nowhere."""


class State:
    """The iterate, its factors, and one iteration."""

    def __init__(self, scaled: ScaledProblem, start: Iterate) -> None:
        problem = scaled.problem
        self.blocks: tuple[Block, ...] = problem.blocks
        self.locals = [LocalIndex(block) for block in self.blocks]
        self.costs = [block.output.T @ block.output for block in self.blocks]
        self.b = torch.zeros_like(problem.start)
        self.b[0] = 1.0
        self.y, self.X, self.x = start.y, start.X, start.x
        self.dimension = problem.side + self.x.numel()
        self.S = self._slacks(self.y)
        self.factors = _cholesky(self.S)
        self.primal_factors = _cholesky(self.X)
        if self.factors is None or self.primal_factors is None:
            raise ValueError("the start is not strictly feasible")

    @property
    def iterate(self) -> Iterate:
        """Where the iteration is."""
        return Iterate(self.y, self.X, self.x)

    def lower_bound(self) -> float:
        """A number that the optimum is not below: ``⟨CᵀC, X⟩`` less what infeasibility can make up.

        ``y_0 + Σ_k y_k r_k ≥ ⟨CᵀC, X⟩`` for feasible y and the residuals r of X; the optimal y are
        taken to be no larger than a few times the present ones.
        """
        found = [
            constraint_values(block, local, quadratic_forms(block, primal))
            for block, local, primal in zip(self.blocks, self.locals, self.X, strict=True)
        ]
        residuals = (self._gathered(found, self.x) - self.b).abs()
        pairs = zip(self.costs, self.X, strict=True)
        value = sum(float((cost * primal).sum()) for cost, primal in pairs)
        return value - 4.0 * float(residuals @ self.y)

    def _slacks(self, y: Tensor) -> list[Tensor]:
        pairs = zip(self.blocks, self.costs, strict=True)
        return [block.linear_part(y).sub_(cost) for block, cost in pairs]

    def _gathered(self, parts: list[Tensor], signs: Tensor) -> Tensor:
        """Values over each block's multipliers, and those of the signs, added up over all."""
        total = torch.zeros_like(self.b)
        for local, part in zip(self.locals, parts, strict=True):
            total.index_add_(0, local.multipliers, part)
        if signs.numel():
            total[1:] += signs
        return total

    def advance(self) -> bool:
        """One predictor-corrector iteration; False when it gets nowhere."""
        assert self.factors is not None and self.primal_factors is not None
        blocks, X, S = self.blocks, self.X, self.S
        Z = [torch.cholesky_inverse(factor) for factor in self.factors]
        s, x = self.y[1:] if self.x.numel() else self.y[:0], self.x
        mu = (_dot(X, S) + float(x @ s)) / self.dimension

        H, AZ, in_Z = [], [], []
        for block, local, inverse, primal in zip(blocks, self.locals, Z, X, strict=True):
            of_Z, product = inner_products(block, inverse)
            of_X, _ = inner_products(block, primal)
            H.append(schur_complement(block, local, of_Z, of_X))
            AZ.append(product)
            in_Z.append(constraint_values(block, local, of_Z.diagonals))
        if x.numel():
            self._add_signs(H, x / s)
        factor = CliqueFactor([local.multipliers for local in self.locals], H)
        if not factor.succeeded:
            return False

        # predictor: towards S X = 0
        dy = factor.solve(-self.b[:, None])[:, 0]
        dS = [block.linear_part(dy) for block in blocks]
        dSZ = [
            times_linear_part(block, dy, inverse, product)
            for block, inverse, product in zip(blocks, Z, AZ, strict=True)
        ]
        dX = [
            _symmetric(primal @ move).neg_().sub_(primal)
            for primal, move in zip(X, dSZ, strict=True)
        ]
        ds = dy[1:] if x.numel() else dy[:0]
        dx = -x - x * ds / s
        along = min(1.0, 0.95 * self._longest(self.factors, dS, s, ds))
        primal_along = min(1.0, 0.95 * self._longest(self.primal_factors, dX, x, dx))
        reached = (
            _dot(X, S)
            + primal_along * _dot(dX, S)
            + along * _dot(X, dS)
            + along * primal_along * _dot(dX, dS)
            + float((x + primal_along * dx) @ (s + along * ds))
        ) / self.dimension
        exponent = max(1.0, 3.0 * min(along, primal_along) ** 2)
        sigma = min(1.0, max(reached / mu, 1e-12) ** exponent)

        # corrector: towards S X = σμ I, with the predictor's second-order term
        second = [_symmetric(move @ part) for move, part in zip(dX, dSZ, strict=True)]
        second_signs = dx * ds / s
        crossing = [
            constraint_values(block, local, quadratic_forms(block, part))
            for block, local, part in zip(blocks, self.locals, second, strict=True)
        ]
        target = sigma * mu
        inverse_signs = 1.0 / s
        wanted = self._gathered(
            [target * of_Z - other for of_Z, other in zip(in_Z, crossing, strict=True)],
            target * inverse_signs - second_signs,
        )
        dy = factor.solve((wanted - self.b)[:, None])[:, 0]
        dX = []
        for block, primal, inverse, product, part in zip(blocks, X, Z, AZ, second, strict=True):
            move = _symmetric(primal @ times_linear_part(block, dy, inverse, product)).neg_()
            dX.append(move.sub_(primal).sub_(part).add_(inverse, alpha=target))
        dS = [block.linear_part(dy) for block in blocks]
        ds = dy[1:] if x.numel() else dy[:0]
        dx = target * inverse_signs - x - x * ds / s - second_signs
        fraction = 0.9 + 0.08 * min(along, primal_along)
        moved = self._move_dual(dy, fraction * self._longest(self.factors, dS, s, ds))
        primal_moved = self._move_primal(
            dX, dx, fraction * self._longest(self.primal_factors, dX, x, dx)
        )
        return moved > SHORTEST_STEP or primal_moved > SHORTEST_STEP

    def _add_signs(self, H: list[Tensor], values: Tensor) -> None:
        """Add the signs' part of H, each in the first block that has its multiplier."""
        pending = torch.ones_like(self.b, dtype=torch.bool)
        pending[0] = False
        everything = torch.cat((values[:1] * 0.0, values))
        for local, part in zip(self.locals, H, strict=True):
            here = pending[local.multipliers]
            part.diagonal().add_(torch.where(here, everything[local.multipliers], 0.0))
            pending[local.multipliers] = False

    def _longest(
        self, factors: list[Tensor], moves: list[Tensor], signs: Tensor, sign_moves: Tensor
    ) -> float:
        steps = [longest_step(L, move) for L, move in zip(factors, moves, strict=True)]
        if signs.numel():
            falling = float((sign_moves / signs).min())
            steps.append(-1.0 / falling if falling < 0.0 else math.inf)
        return min(steps)

    def _move_dual(self, dy: Tensor, step: float) -> float:
        step = min(1.0, step)
        while step > SHORTEST_STEP / 10.0:
            y = self.y + step * dy
            S = self._slacks(y)
            factors = _cholesky(S)
            if factors is not None and (not self.x.numel() or bool((y[1:] > 0.0).all())):
                self.y, self.S, self.factors = y, S, factors
                return step
            step *= 0.7
        return 0.0

    def _move_primal(self, dX: list[Tensor], dx: Tensor, step: float) -> float:
        step = min(1.0, step)
        while step > SHORTEST_STEP / 10.0:
            X = [
                torch.add(primal, move, alpha=step) for primal, move in zip(self.X, dX, strict=True)
            ]
            factors = _cholesky(X)
            if factors is not None:
                self.X, self.primal_factors = X, factors
                self.x = self.x + step * dx
                return step
            step *= 0.7
        return 0.0


def _cholesky(matrices: list[Tensor]) -> list[Tensor] | None:
    """Cholesky factors, None where one matrix is not positive definite."""
    factors = []
    for matrix in matrices:
        factor, info = torch.linalg.cholesky_ex(matrix)
        if int(info) != 0 or not bool(torch.isfinite(factor.diagonal()).all()):
            return None
        factors.append(factor)
    return factors


def _dot(left: list[Tensor], right: list[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(left, right, strict=True))


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T).mul_(0.5)
