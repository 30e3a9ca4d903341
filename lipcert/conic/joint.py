"""A part and the dense stages behind it in one problem: Newton steps along the central path.

Few multipliers are shared by many frequencies, so a step on ``τ y_0`` and the barrier of
:mod:`lipcert.conic.arrow` is cheap, and each of its points is a bound.  Nothing here has to be
exact: what is found is proved elsewhere.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.arrow import Barrier, Joint, Point
from lipcert.conic.hkm import Report

MOST_ITERATIONS = 80
FASTER = 3.0
"""Factor on τ from one point near the central path to the next."""
MOST_GROWTH = 100.0
"""How many times as large as at the start a multiplier may become."""
NEAR = 6.0
"""Newton decrement below which a point counts as near."""
SHORTEST_STEP = 1e-8


@dataclass
class JointOutcome:
    """The best multipliers found, and the relative gap that the path promises."""

    y: Tensor
    gap: float = math.inf
    iterations: int = 0
    ending: str = "stalled"


@torch.inference_mode()
def solve_joint(
    joint: Joint,
    start: Tensor,
    *,
    tolerance: float = 1e-3,
    deadline: float = math.inf,
    report: Report | None = None,
) -> JointOutcome:
    """Minimise y_0 from strictly feasible multipliers, by Newton steps along the central path.

    Raises ValueError where ``start`` is not strictly feasible.
    """
    run = Barrier(joint, MOST_GROWTH * start)
    point = run.at(start)
    if point is None:
        raise ValueError("the start is not strictly feasible")
    outcome = JointOutcome(start)
    try:
        _follow(run, point, outcome, tolerance, deadline, report)
    except KeyboardInterrupt:
        outcome.ending = "interrupted"
    return outcome


def _follow(
    run: Barrier,
    point: Point,
    outcome: JointOutcome,
    tolerance: float,
    deadline: float,
    report: Report | None,
) -> None:
    tau, lasted = 0.0, 0.0
    for _ in range(MOST_ITERATIONS):
        began = time.monotonic()
        if began + lasted > deadline:
            outcome.ending = "stopped"
            return
        g, H = run.derivatives(point)
        newton = _Newton.of(g, H, point.y, tau)
        if newton is not None and newton.decrement < NEAR:
            outcome.gap = run.order / (newton.tau * float(point.y[0]))
            if outcome.gap <= tolerance:
                outcome.ending = "optimal"
                return
            newton = _Newton.of(g, H, point.y, FASTER * newton.tau)
        moved = None if newton is None else _moved(run, point, newton)
        if newton is None or moved is None:
            return
        point, tau = moved, newton.tau
        lasted = time.monotonic() - began
        outcome.iterations += 1
        if float(point.y[0]) < float(outcome.y[0]):
            outcome.y = point.y
        if report is not None:
            report(outcome.iterations, float(outcome.y[0]), outcome.gap)


def _moved(run: Barrier, point: Point, newton: _Newton) -> Point | None:
    """The lowest point found along a step; None where there is none of enough decrease."""
    lowest = newton.tau * float(point.y[0]) + point.barrier
    enough, best = 0.1 * newton.decrement**2, None
    length = min(1.0, 0.9 / max(1e-300, -float(newton.step.min())))
    while length > SHORTEST_STEP:
        found = run.at(point.y * (1.0 + length * newton.step))
        if found is not None:
            now = newton.tau * float(found.y[0]) + found.barrier
            if best is not None and now >= lowest:
                break
            if best is not None or now <= lowest - length * enough:
                best, lowest = found, now
        length *= 0.5
    return best


@dataclass
class _Newton:
    """A step relative to y, for ``τ y_0`` and the barrier; its length in the Hessian's norm."""

    tau: float
    step: Tensor
    decrement: float

    @classmethod
    def of(cls, g: Tensor, H: Tensor, y: Tensor, tau: float) -> _Newton | None:
        """From the barrier's derivatives; with τ = 0, for one near which y is.

        None where the Hessian has no factor.
        """
        objective = torch.zeros_like(y)
        objective[0] = y[0]
        gradient = y * g
        solved = _solve(y[:, None] * H * y, torch.stack((objective, gradient), 1))
        if solved is None:
            return None
        along = float(solved[0, 0])
        if not tau:
            tau = max(1e-3, -FASTER * float(solved[0, 1]) / along) if along > 0.0 else 1.0
        step = -(tau * solved[:, 0] + solved[:, 1])
        square = -float((tau * objective + gradient) @ step)
        return cls(tau, step, math.sqrt(max(square, 0.0)))


def _solve(H: Tensor, right: Tensor) -> Tensor | None:
    H.diagonal().add_(1e-13 * H.diagonal().max())
    factor, info = torch.linalg.cholesky_ex(H)
    return None if int(info) else torch.cholesky_solve(right, factor)
