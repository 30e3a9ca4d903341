"""Primal-dual interior-point iteration with the HKM direction, from strictly feasible multipliers.

The dual problem is ``min y_0`` such that ``S_b = P_b(y) ≽ 0`` for every block; the primal variable
is a matrix X_b per block with ``Σ_b tr(M_k X_b) = δ_{k0}``.  The multipliers start strictly
feasible and stay so: every iterate is a bound, whenever the iteration is stopped.  X becomes
feasible on the way, from when on ``Σ_b ‖C_b X_b^{1/2}‖²`` bounds the optimum from below.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipcert.conic.iterates import Frame, Iterate, cold_start
from lipcert.conic.problem import ScaledProblem
from lipcert.conic.state import State

MOST_ITERATIONS = 100
FALLEN = 1e-3
"""Scaled objective below which the scales are chosen anew."""
HALFWAY = 0.5
"""Relative gap down to which an iterate is kept for warm starts: later ones are too cornered."""

Report = Callable[[int, float, float], None]
"""Called after each iteration with its number, the objective and the relative gap."""


@dataclass
class Outcome:
    """Where an iteration ended.

    Parameters
    ----------
    y : the best multipliers found, scaled; strictly feasible up to rounding.
    lower : a number below which the optimum of y_0 is not, up to rounding; −∞ if unknown.
    iterations : how many were made.
    ending : "optimal", "stopped", "interrupted" or "stalled".
    halfway : an iterate well inside, from which a changed problem can start.
    """

    y: Tensor
    lower: float
    iterations: int
    ending: str
    halfway: Iterate
    history: list[tuple[float, float]] = field(default_factory=list)


@torch.inference_mode()
def solve(
    scaled: ScaledProblem,
    *,
    start: Iterate | None = None,
    tolerance: float = 1e-6,
    deadline: float = math.inf,
    report: Report | None = None,
) -> Outcome:
    """Minimise y_0.

    Parameters
    ----------
    tolerance : relative gap at which to end.
    deadline : ``time.monotonic()`` after which no iteration is started that would pass it.

    Raises ValueError where ``start`` is not strictly feasible.
    """
    run = _Run(scaled, start or cold_start(scaled))
    ending = "stalled"
    lasted = 0.0
    try:
        for _ in range(MOST_ITERATIONS):
            began = time.monotonic()
            if began + lasted > deadline:
                ending = "stopped"
                break
            moved = run.advance()
            lasted = time.monotonic() - began
            if report is not None:
                report(len(run.history), *run.history[-1])
            if run.gap <= tolerance:
                ending = "optimal"
                break
            if not moved:
                break
    except KeyboardInterrupt:
        ending = "interrupted"
    return Outcome(run.best, run.lower, len(run.history), ending, run.halfway, run.history)


class _Run:
    """Iterations in changing scales; what it tells is in those that the solver was given."""

    def __init__(self, scaled: ScaledProblem, start: Iterate) -> None:
        self.frame = Frame.of(scaled)
        self.state = State(scaled, start)
        self.best = start.y
        self.lower = -math.inf
        self.halfway = start
        self.history: list[tuple[float, float]] = []

    @property
    def gap(self) -> float:
        """Relative distance of the best objective to the best lower bound; infinite if unknown."""
        rho = float(self.best[0])
        if not rho > 0.0 or not math.isfinite(self.lower):
            return math.inf
        return max(0.0, (rho - self.lower) / rho)

    def advance(self) -> bool:
        """One iteration, and a change of scale where the objective has fallen far."""
        state, unit = self.state, float(self.frame.unit[0])
        moved = state.advance()
        if float(state.y[0]) * unit < float(self.best[0]):
            self.best = self.frame.unit * state.y
        lower = state.lower_bound()
        if lower <= float(state.y[0]):
            self.lower = max(self.lower, unit * lower)
        self.history.append((float(self.best[0]), self.gap))
        if self.gap > HALFWAY:
            self.halfway = self.frame.given(state.iterate)
        if float(state.y[0]) < FALLEN:
            self.frame, iterate = self.frame.moved_to(state.iterate)
            self.state = State(self.frame.scaled, iterate)
        return moved
