"""One predictor-corrector iteration with the HKM direction.

Helmberg, Rendl, Vanderbei & Wolkowicz 1996; Kojima, Shindoh & Hara 1997; Monteiro 1997 for the
direction, Mehrotra 1992 for predictor and corrector, Toh, Todd & Tütüncü 1999 for the centring
exponent and the step fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.cliques import CliqueFactor
from lipcert.conic.iterates import Iterate
from lipcert.conic.problem import Block, ScaledProblem
from lipcert.conic.schur import (
    Inner,
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
STALE = 0.1
"""Part of its largest size since it was formed below which a slack is formed anew."""


@dataclass(frozen=True, eq=False)
class System:
    """What the two directions of an iteration share.

    Parameters
    ----------
    Z, AZ : ``S⁻¹`` of each block, and the rows of the block times it.
    values : ``tr(M_k S⁻¹)`` over the multipliers of each block.
    factor : of the Schur complement.
    mu : ``⟨X, S⟩`` per dimension.
    """

    Z: list[Tensor]
    AZ: list[Tensor]
    values: list[Tensor]
    factor: CliqueFactor
    mu: float


@dataclass(frozen=True, eq=False)
class Direction:
    """Changes of the multipliers, of S (and that times ``S⁻¹``), of the signs, and of X and x."""

    y: Tensor
    S: list[Tensor]
    SZ: list[Tensor]
    s: Tensor
    X: list[Tensor]
    x: Tensor


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """``sym(dX dS S⁻¹)`` of a predictor, and the same for the signs."""

    X: list[Tensor]
    x: Tensor


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
        factors, primal_factors = _cholesky(self.S), _cholesky(self.X)
        if factors is None or primal_factors is None:
            raise ValueError("the start is not strictly feasible")
        self.factors, self.primal_factors = factors, primal_factors
        self.largest = [0.0] * len(self.S)
        self.inner: list[Inner] | None = None

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
            constraint_values(block, local, of_X.diagonals)
            for block, local, of_X in zip(self.blocks, self.locals, self._inner(), strict=True)
        ]
        residuals = (self._gathered(found, self.x) - self.b).abs()
        pairs = zip(self.costs, self.X, strict=True)
        value = sum(float((cost * primal).sum()) for cost, primal in pairs)
        return value - 4.0 * float(residuals @ self.y)

    def _inner(self) -> list[Inner]:
        """Inner products in X: the bound from below and the next system both want them."""
        if self.inner is None:
            pairs = zip(self.blocks, self.X, strict=True)
            self.inner = [inner_products(block, primal)[0] for block, primal in pairs]
        return self.inner

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
        system = self._system()
        if system is None:
            return False
        predictor = self._direction(system)
        dual, primal = (min(1.0, 0.95 * step) for step in self._longest_steps(predictor))
        reached = self._complementarity_after(predictor, dual, primal)
        exponent = max(1.0, 3.0 * min(dual, primal) ** 2)
        sigma = min(1.0, max(reached / system.mu, 1e-12) ** exponent)
        second = SecondOrder(
            [_symmetric(move @ part) for move, part in zip(predictor.X, predictor.SZ, strict=True)],
            predictor.x * predictor.s / self.signs,
        )
        corrector = self._direction(system, sigma * system.mu, second)
        fraction = 0.9 + 0.08 * min(dual, primal)
        dual, primal = self._longest_steps(corrector)
        moved = self._move_dual(corrector, fraction * dual)
        primal_moved = self._move_primal(corrector.X, corrector.x, fraction * primal)
        return max(moved, primal_moved) > SHORTEST_STEP

    @property
    def signs(self) -> Tensor:
        """The multipliers whose sign is a constraint of its own: all but y_0, or none."""
        return self.y[1:] if self.x.numel() else self.y[:0]

    def _system(self) -> System | None:
        """The linear system of this iterate, factored; None where that fails."""
        Z = [_inverse(factor) for factor in self.factors]
        H, AZ, values = [], [], []
        for block, local, inverse, of_X in zip(
            self.blocks, self.locals, Z, self._inner(), strict=True
        ):
            of_Z, product = inner_products(block, inverse)
            H.append(schur_complement(block, local, of_Z, of_X))
            AZ.append(product)
            values.append(constraint_values(block, local, of_Z.diagonals))
        self.inner = None  # X is about to move, and they are large
        if self.x.numel():
            self._add_signs(H, self.x / self.signs)
        factor = CliqueFactor([local.multipliers for local in self.locals], H)
        mu = (_dot(self.X, self.S) + float(self.x @ self.signs)) / self.dimension
        return System(Z, AZ, values, factor, mu) if factor.succeeded else None

    def _direction(
        self, system: System, target: float = 0.0, second: SecondOrder | None = None
    ) -> Direction:
        """The direction towards ``S X = target · I``, with or without second-order terms."""
        values, signs = system.values, target / self.signs
        values = [target * of_Z for of_Z in values]
        if second is not None:
            for block, local, value, part in zip(
                self.blocks, self.locals, values, second.X, strict=True
            ):
                value -= constraint_values(block, local, quadratic_forms(block, part))
            signs = signs - second.x
        dy = system.factor.solve((self._gathered(values, signs) - self.b)[:, None])[:, 0]
        dS, dSZ, dX = [], [], []
        for b, (block, primal, inverse) in enumerate(
            zip(self.blocks, self.X, system.Z, strict=True)
        ):
            dS.append(block.linear_part(dy))
            dSZ.append(times_linear_part(block, dy, inverse, system.AZ[b]))
            move = _symmetric(primal @ dSZ[b]).neg_().sub_(primal)
            if second is not None:
                move.sub_(second.X[b]).add_(inverse, alpha=target)
            dX.append(move)
        ds = dy[1:] if self.x.numel() else dy[:0]
        return Direction(dy, dS, dSZ, ds, dX, signs - self.x - self.x * ds / self.signs)

    def _complementarity_after(self, move: Direction, dual: float, primal: float) -> float:
        """``⟨X, S⟩`` after steps along a direction, per dimension."""
        inner = (
            _dot(self.X, self.S)
            + primal * _dot(move.X, self.S)
            + dual * _dot(self.X, move.S)
            + dual * primal * _dot(move.X, move.S)
        )
        signs = float((self.x + primal * move.x) @ (self.signs + dual * move.s))
        return (inner + signs) / self.dimension

    def _add_signs(self, H: list[Tensor], values: Tensor) -> None:
        """Add the signs' part of H, each in the first block that has its multiplier."""
        pending = torch.ones_like(self.b, dtype=torch.bool)
        pending[0] = False
        everything = torch.cat((values[:1] * 0.0, values))
        for local, part in zip(self.locals, H, strict=True):
            here = pending[local.multipliers]
            part.diagonal().add_(torch.where(here, everything[local.multipliers], 0.0))
            pending[local.multipliers] = False

    def _longest_steps(self, move: Direction) -> tuple[float, float]:
        """How far y and X can go."""
        dual = [longest_step(L, part) for L, part in zip(self.factors, move.S, strict=True)]
        primal = [
            longest_step(L, part) for L, part in zip(self.primal_factors, move.X, strict=True)
        ]
        return (
            min(*dual, _longest_of_signs(self.signs, move.s)),
            min(*primal, _longest_of_signs(self.x, move.x)),
        )

    def _move_dual(self, move: Direction, step: float) -> float:
        step = min(1.0, step)
        while step > SHORTEST_STEP / 10.0:
            y = self.y + step * move.y
            S = [torch.add(P, dP, alpha=step) for P, dP in zip(self.S, move.S, strict=True)]
            factors = _cholesky(S)
            if factors is not None and (not self.x.numel() or bool((y[1:] > 0.0).all())):
                self.y, self.S, self.factors = y, S, factors
                self._refresh()
                return step
            step *= 0.7
        return 0.0

    def _refresh(self) -> None:
        """Form S anew where it has fallen far: what was rounded while it was large stays in it."""
        sizes = [float(P.diagonal().max()) for P in self.S]
        self.largest = [max(pair) for pair in zip(self.largest, sizes, strict=True)]
        if all(size >= STALE * most for size, most in zip(sizes, self.largest, strict=True)):
            return
        S = self._slacks(self.y)
        factors = _cholesky(S)
        if factors is not None:
            self.S, self.factors, self.largest = S, factors, sizes

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


def _longest_of_signs(values: Tensor, moves: Tensor) -> float:
    falling = float((moves / values).min()) if values.numel() else 0.0
    return -1.0 / falling if falling < 0.0 else math.inf


def _cholesky(matrices: list[Tensor]) -> list[Tensor] | None:
    """Cholesky factors, None where one matrix is not positive definite."""
    factors = []
    for matrix in matrices:
        factor, info = torch.linalg.cholesky_ex(matrix)
        if int(info) != 0 or not bool(torch.isfinite(factor.diagonal()).all()):
            return None
        factors.append(factor)
    return factors


def _inverse(factor: Tensor) -> Tensor:
    """``(L Lᵀ)⁻¹`` by two triangular solves: LAPACK's own inverse scales badly over threads."""
    unit = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return torch.cholesky_solve(unit, factor)


def _dot(left: list[Tensor], right: list[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(left, right, strict=True))


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T).mul_(0.5)
