"""The HKM iteration for many Hermitian blocks, of which few bind.

As :mod:`lipcert.conic.hkm`, but in batches, and with a working set: of a family of frequencies
only some have a primal matrix.  The multipliers must hold at all of them: a step that a frequency
outside forbids is shortened, and that frequency joins with ``X = μ S⁻¹``.  So every iterate is a
bound of all frequencies, and the primal values of some of them bound the optimum from below.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipcert.conic.batched import LANCZOS_STEPS, Member, Move
from lipcert.conic.blockwise import cholesky
from lipcert.conic.cliques import CliqueFactor
from lipcert.conic.fourier import FourierBlock, holding

MOST_ITERATIONS = 100
FIRST = 3
"""Frequencies of a family in the working set from the beginning."""
MOST_AT_ONCE = 3
"""Frequencies of a family that join at once."""
TABLE_ELEMENTS = 1 << 22
"""Complex elements of the tables of one member."""
HALFWAY = 0.3
"""Relative gap down to which an iterate is kept as one well inside."""
SHORTEST_STEP = 1e-6

Report = Callable[[int, float, float], None]
"""Called after each iteration with its number, the objective and the relative gap."""


@dataclass
class TorusOutcome:
    """Where an iteration ended.

    Parameters
    ----------
    y : the best multipliers, at which all blocks are positive definite, up to rounding.
    inside : others, farther inside.
    lower : a number below which the optimum is not, up to rounding; −∞ if unknown.
    iterations : how many were made; ``looked`` of ``frequencies`` had a primal matrix.
    ending : "optimal", "stopped", "interrupted" or "stalled".
    """

    y: Tensor
    inside: Tensor
    lower: float = -math.inf
    iterations: int = 0
    ending: str = "stalled"
    looked: int = 0
    frequencies: int = 0
    history: list[tuple[float, float]] = field(default_factory=list)

    @property
    def gap(self) -> float:
        """Relative distance of the objective to the bound from below."""
        rho = float(self.y[0])
        if not math.isfinite(self.lower):
            return math.inf
        return max(0.0, (rho - self.lower) / rho)


@torch.inference_mode()
def solve_families(
    families: list[FourierBlock],
    start: Tensor,
    *,
    tolerance: float = 1e-6,
    deadline: float = math.inf,
    report: Report | None = None,
) -> TorusOutcome:
    """Minimise y_0 over multipliers that all families share, from strictly feasible ones.

    Raises ValueError where ``start`` is not strictly feasible.
    """
    run = _Run(families, start)
    outcome = TorusOutcome(start, start)
    lasted = 0.0
    try:
        for _ in range(MOST_ITERATIONS):
            began = time.monotonic()
            if began + lasted > deadline:
                outcome.ending = "stopped"
                break
            moved = run.advance()
            lasted = time.monotonic() - began
            outcome.iterations += 1
            if float(run.y[0]) < float(outcome.y[0]):
                outcome.y = run.y
            outcome.lower = max(outcome.lower, run.lower)
            if outcome.gap > HALFWAY:
                outcome.inside = run.y
            outcome.history.append((float(outcome.y[0]), outcome.gap))
            if report is not None:
                report(outcome.iterations, *outcome.history[-1])
            if outcome.gap <= tolerance:
                outcome.ending = "optimal"
                break
            if not moved:
                break
    except KeyboardInterrupt:
        outcome.ending = "interrupted"
    outcome.looked = sum(int(looked.sum()) for looked in run.looked)
    outcome.frequencies = sum(family.frequencies for family in families)
    return outcome


@dataclass(frozen=True, eq=False)
class _Held:
    """The frequencies of a member."""

    frequencies: Tensor
    member: Member


class _Run:
    """The iterate over all families."""

    def __init__(self, families: list[FourierBlock], start: Tensor) -> None:
        self.families = families
        self.y = start
        self.lower = -math.inf
        self.looked: list[Tensor] = []
        chosen = []
        for family in families:
            count = family.frequencies
            steps = torch.linspace(0, count - 1, min(FIRST, count)).round().long()
            looked = torch.zeros(count, dtype=torch.bool, device=start.device)
            looked[steps] = True
            self.looked.append(looked)
            chosen.append(family.select(looked.nonzero()[:, 0]))
            if not bool(holding(family, start).all()):
                raise ValueError("the start is not strictly feasible")
        self.b = torch.zeros_like(start)
        self.b[0] = 1.0
        factors = (cholesky(block.matrices(start), block.sizes) for block in chosen)
        starts = [factor.full_inverse()[0] for factor in factors]
        weight = sum(
            float(block.entry_trace(Z, 0)) for block, Z in zip(chosen, starts, strict=True)
        )
        self.held: list[list[_Held]] = [[] for _ in families]
        for place, (looked, Z) in enumerate(zip(self.looked, starts, strict=True)):
            self._join(place, looked.nonzero()[:, 0], Z / weight)
        self._measure()

    def _join(self, place: int, joining: Tensor, X: Tensor) -> None:
        """Frequencies of a family with their primal matrices, beside those of its last member."""
        held, family = self.held[place], self.families[place]
        most = _most(family)
        if held and len(held[-1].frequencies) < most:
            last = held.pop()
            joining = torch.cat((last.frequencies, joining))
            X = torch.cat((last.member.X, X))
        for part in torch.split(torch.arange(len(joining), device=joining.device), most):
            block = family.select(joining[part])
            factor = cholesky(block.matrices(self.y), block.sizes)
            held.append(_Held(joining[part], Member(block, X[part], factor)))
        self.members = [one.member for of_family in self.held for one in of_family]

    def _measure(self) -> None:
        self.order = sum(len(m.X) * m.block.side for m in self.members)
        self.mu = sum(float(m.complementarity(self.y)) for m in self.members) / self.order

    def advance(self) -> bool:
        """One predictor-corrector iteration; False when it gets nowhere."""
        count = len(self.y)
        H = self.y.new_zeros(count, count)
        of_Z, of_X = torch.zeros_like(self.y), torch.zeros_like(self.y)
        for member in self.members:
            member.prepare()
            H += member.schur(count)
            of_Z += member.values(member.table_Z, count)
            of_X += member.values(member.table_X, count)
        residual = float((of_X - self.b).abs() @ self.y)
        duality = self.mu * self.order
        self.lower = float(self.y[0]) - duality - 4.0 * residual
        factor = CliqueFactor([torch.arange(count, device=H.device)], [(H + H.T) / 2.0])
        if not factor.succeeded:
            return False
        dy = factor.solve(-self.b[:, None])[:, 0]
        moves = [member.direction(dy, 0.0, None) for member in self.members]
        dual, primal = self._longest(dy, moves, LANCZOS_STEPS // 2)
        dual, primal = min(1.0, 0.95 * dual), min(1.0, 0.95 * primal)
        reached = self._complementarity_after(dy, moves, dual, primal)
        exponent = max(1.0, 3.0 * min(dual, primal) ** 2)
        sigma = min(1.0, max(reached / self.mu, 1e-12) ** exponent)
        target = sigma * self.mu
        second = [
            member.second_order(move) for member, move in zip(self.members, moves, strict=True)
        ]
        right = target * of_Z - self.b
        for member, part in zip(self.members, second, strict=True):
            right -= member.values_of(part, count)
        dy = factor.solve(right[:, None])[:, 0]
        moves = [
            member.direction(dy, target, part)
            for member, part in zip(self.members, second, strict=True)
        ]
        fraction = 0.9 + 0.08 * min(dual, primal)
        dual, primal = self._longest(dy, moves, LANCZOS_STEPS)
        primal = self._move_primal(moves, min(1.0, fraction * primal))
        dual = self._move_dual(dy, min(1.0, fraction * dual))
        self._measure()
        return max(dual, primal) > SHORTEST_STEP

    def _longest(self, dy: Tensor, moves: list[Move], steps: int) -> tuple[float, float]:
        falling = float((dy / self.y).min())
        dual = -1.0 / falling if falling < 0.0 else math.inf
        primal = math.inf
        for member, move in zip(self.members, moves, strict=True):
            dual = min(dual, member.longest_dual(move, steps))
            primal = min(primal, member.longest_primal(move, steps))
        return dual, primal

    def _complementarity_after(
        self, dy: Tensor, moves: list[Move], dual: float, primal: float
    ) -> float:
        total = self.mu * self.order
        for member, move in zip(self.members, moves, strict=True):
            total += dual * float(member.inner(member.X, move.S))
            total += primal * float(member.inner(move.X, member.block.matrices(self.y)))
            total += dual * primal * float(member.inner(move.X, move.S))
        return total / self.order

    def _move_primal(self, moves: list[Move], step: float) -> float:
        while step > SHORTEST_STEP:
            found = []
            for member, move in zip(self.members, moves, strict=True):
                after = member.primal_at(move, step)
                if after is None:
                    break
                found.append(after)
            else:
                for member, (X, lower) in zip(self.members, found, strict=True):
                    member.set_primal(X, lower)
                return step
            step *= 0.8
        return 0.0

    def _move_dual(self, dy: Tensor, step: float) -> float:
        """As far as all frequencies allow; those outside that shorten the step join."""
        binding: list[Tensor] | None = None
        while step > SHORTEST_STEP:
            y = self.y + step * dy
            if bool((y > 0.0).all()):
                factors = [member.dual_at(y) for member in self.members]
                if all(factor is not None for factor in factors):
                    violated = self._violated(y, binding)
                    if violated is None:
                        for member, factor in zip(self.members, factors, strict=True):
                            assert factor is not None
                            member.factor = factor
                        self.y = y
                        break
                    binding = violated
            step *= 0.8
        else:
            step = 0.0
        if binding is not None:
            self._widen(binding)
        return step

    def _violated(self, y: Tensor, first: list[Tensor] | None) -> list[Tensor] | None:
        """The frequencies of each family that forbid y, those of ``first`` before all others."""
        for chosen in ([first] if first else []) + [None]:
            found = []
            for place, family in enumerate(self.families):
                if chosen is None:
                    found.append((~holding(family, y)).nonzero()[:, 0])
                elif len(chosen[place]):
                    bad = ~holding(family.select(chosen[place]), y)
                    found.append(chosen[place][bad])
                else:
                    found.append(chosen[place])
            if any(len(part) for part in found):
                return found
        return None

    def _widen(self, violated: list[Tensor]) -> None:
        for place, (family, looked, bad) in enumerate(
            zip(self.families, self.looked, violated, strict=True)
        ):
            joining = bad[~looked[bad]]
            if len(joining) > MOST_AT_ONCE:
                places = (torch.arange(MOST_AT_ONCE) + 0.5) * (len(joining) / MOST_AT_ONCE)
                places = places.long()
                joining = joining[places]
            if not len(joining):
                continue
            looked[joining] = True
            block = family.select(joining)
            inverse, _ = cholesky(block.matrices(self.y), block.sizes).full_inverse()
            self._join(place, joining, self.mu * inverse)


def _most(block: FourierBlock) -> int:
    """Frequencies in one member."""
    return max(1, TABLE_ELEMENTS // max(1, len(block.places) ** 2))
