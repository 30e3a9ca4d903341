"""The HKM iteration for many Hermitian blocks, of which few bind.

As :mod:`lipcert.conic.hkm`, but in batches, and with a working set: of a family of frequencies
only some have a primal matrix.  The multipliers must hold at all of them: a step that a frequency
outside forbids is shortened, and that frequency joins with an X along ``S⁻¹``.  So every iterate is
a bound of all frequencies, and the primal values of some of them bound the optimum from below.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipcert.conic.batched import LANCZOS_STEPS, Member, Move, inverse_at
from lipcert.conic.cliques import CliqueFactor
from lipcert.conic.fourier import FourierBlock, all_holding, holding
from lipcert.conic.hkm import Report

MOST_ITERATIONS = 100
FIRST = 3
"""Frequencies of a family in the working set from the beginning."""
MOST_AT_ONCE = 4
"""Frequencies of a family that join at once."""
MOST_MASS = 0.03
"""Part of ``Σ_k y_k tr(M_k X)`` that a frequency may have when it joins: the sum of all is y_0."""
RETREAT = 0.8
"""Part of a step that frequencies outside the working set allow and that is taken."""
HALFWAY = 0.3
"""Relative gap down to which an iterate is kept as one well inside."""
SHORTEST_STEP = 1e-6


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
    stretches : of depth that were solved one after another; then ``looked`` is the most of one.
    """

    y: Tensor
    inside: Tensor
    lower: float = -math.inf
    iterations: int = 0
    ending: str = "stalled"
    looked: int = 0
    frequencies: int = 0
    stretches: int = 1
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
    if not all_holding(families, start):
        raise ValueError("the start is not strictly feasible")
    outcome = TorusOutcome(start, start)
    run = _Run.started(families, start)
    if run is None:
        return outcome
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
    outcome.looked = sum(len(held) for held in run.held)
    outcome.frequencies = sum(family.frequencies for family in families)
    return outcome


class _Run:
    """The iterate over all families."""

    def __init__(
        self,
        families: list[FourierBlock],
        start: Tensor,
        held: list[Tensor],
        members: list[Member],
    ) -> None:
        self.families, self.y = families, start
        self.held, self.members = held, members
        self.lower = -math.inf
        self.b = torch.zeros_like(start)
        self.b[0] = 1.0
        self._measure()

    @classmethod
    def started(cls, families: list[FourierBlock], start: Tensor) -> _Run | None:
        """From ``X ∝ S⁻¹`` at a few frequencies of each; None where rounding forbids that."""
        held = []
        for family in families:
            count, last = min(FIRST, family.frequencies), family.frequencies - 1
            held.append(torch.linspace(0, last, count, device=start.device).round().long())
        chosen = [family.select(own) for family, own in zip(families, held, strict=True)]
        inverses = [inverse_at(block, start) for block in chosen]
        traces = (block.entry_trace(Z, 0) for block, Z in zip(chosen, inverses, strict=True))
        weight = sum(float(trace) for trace in traces)
        members = []
        for block, Z in zip(chosen, inverses, strict=True):
            X = {place: part / weight for place, part in Z.items()}
            member = Member.at(block, X, start)
            if member is None:
                return None
            members.append(member)
        return cls(families, start, held, members)

    def _measure(self) -> None:
        self.order = sum(m.block.frequencies * m.block.side for m in self.members)
        self.mu = sum(float(m.complementarity(self.y)) for m in self.members) / self.order

    def advance(self) -> bool:
        """One predictor-corrector iteration; False when it gets nowhere."""
        count = len(self.y)
        H = self.y.new_zeros(count, count)
        of_Z, of_X = torch.zeros_like(self.y), torch.zeros_like(self.y)
        for member in self.members:
            member.prepare()
            H += member.schur(count)
            of_Z += member.values(member.Z.blocks, count)
            of_X += member.values(member.primal.blocks, count)
        residual = float((of_X - self.b).abs() @ self.y)
        duality = self.mu * self.order
        self.lower = float(self.y[0]) - duality - 4.0 * residual
        factor = CliqueFactor([torch.arange(count, device=H.device)], [H])
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
            right -= member.values(part, count)
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
            total += dual * float(member.inner(member.primal.blocks, move.S))
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
                for member, after in zip(self.members, found, strict=True):
                    member.primal = after
                return step
            step *= 0.8
        return 0.0

    def _move_dual(self, dy: Tensor, step: float) -> float:
        """As far as all frequencies allow; those outside that shorten the step join.

        The step is feasible at 0, so what forbids a shorter one also forbids the longer.  Where one
        is shortened it ends short of what allows it: what joins must not be nearly singular.
        """
        before, levels = self.y, list[list[Tensor]]()
        while step > SHORTEST_STEP:
            y = before + step * dy
            if bool((y > 0.0).all()):
                forbid = self._violated(y, levels[-1] if levels else None)
                if not any(len(part) for part in forbid):
                    step *= RETREAT if levels else 1.0
                    if self._factored_at(before + step * dy):
                        break
                levels.append(forbid)
            step *= 0.8
        else:
            step = 0.0
        if levels:
            self._widen(levels)
        return step

    def _factored_at(self, y: Tensor) -> bool:
        """Whether all blocks with a primal matrix can be factored; then y is where we are."""
        factors = [member.dual_at(y) for member in self.members]
        known = [factor for factor in factors if factor is not None]
        if len(known) < len(factors):
            return False
        for member, factor in zip(self.members, known, strict=True):
            member.factor = factor
        self.y = y
        return True

    def _violated(self, y: Tensor, among: list[Tensor] | None) -> list[Tensor]:
        """The frequencies of each family, or those of them in question, that forbid y."""
        if among is None:
            return [(~holding(family, y)).nonzero()[:, 0] for family in self.families]
        return [
            part[~holding(family.select(part), y)] if len(part) else part
            for family, part in zip(self.families, among, strict=True)
        ]

    def _widen(self, levels: list[list[Tensor]]) -> None:
        """Frequencies that shorten the step join: first those that forbid even the shortest."""
        for place, (family, held) in enumerate(zip(self.families, self.held, strict=True)):
            room, joining = MOST_AT_ONCE, held[:0]
            for level in reversed(levels):
                fresh = level[place][~torch.isin(level[place], torch.cat((held, joining)))]
                if len(fresh) > room:
                    steps = torch.arange(room, device=fresh.device) + 0.5
                    fresh = fresh[(steps * (len(fresh) / max(1, room))).long()]
                joining = torch.cat((joining, fresh))
                room -= len(fresh)
            if len(joining):
                self._join(place, family, joining)

    def _join(self, place: int, family: FourierBlock, joining: Tensor) -> None:
        """Frequencies of a family with an X along ``S⁻¹``; not those that rounding forbids."""
        block = family.select(joining)
        Z = inverse_at(block, self.y)
        mass = self.mu * (block.traces(Z) @ self.y[block.multipliers])
        size = self.mu * (MOST_MASS * self.y[0] / mass).clamp(max=1.0)
        primal = self.members[place].primal.blocks
        X = {p: torch.cat((part, _scaled(Z[p], size))) for p, part in primal.items()}
        held = torch.cat((self.held[place], joining))
        member = Member.at(family.select(held), X, self.y)
        if member is not None:
            self.held[place], self.members[place] = held, member


def _scaled(blocks: Tensor, factors: Tensor) -> Tensor:
    """Each of a batch times its own factor."""
    return blocks * factors.reshape(-1, *(1,) * (blocks.dim() - 1))
