"""Solvers of a LipSDP inequality by name; none is trusted, a proof follows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lipcert.conic.hkm import Report, solve
from lipcert.conic.iterates import Iterate
from lipcert.conic.problem import ScaledProblem
from lipcert.conic.reference import reference_solution
from lipcert.registry import Registry


@dataclass(frozen=True, eq=False)
class Solution:
    """Multipliers that a solver ended with.

    Parameters
    ----------
    y : scaled multipliers, feasible or not.
    lower : number below which the scaled optimum of y_0 is not; −∞ if the solver gives none.
    iterations, ending, solver : how it went.
    halfway : an iterate from which changed problems can start, None if the solver keeps none.
    """

    y: Tensor
    lower: float
    iterations: int
    ending: str
    solver: str
    halfway: Iterate | None = None


Solver = Callable[[ScaledProblem, float, Report], Solution]

SOLVERS: Registry[Solver] = Registry("solver")
"""``SOLVERS[name](scaled, deadline, report)``."""


@SOLVERS.register("hkm")
def structured_solution(scaled: ScaledProblem, deadline: float, report: Report) -> Solution:
    """The structured primal-dual solver of this package."""
    found = solve(scaled, deadline=deadline, report=report)
    return Solution(found.y, found.lower, found.iterations, found.ending, "hkm", found.halfway)


@SOLVERS.register("scs")
def scs_solution(scaled: ScaledProblem, deadline: float, report: Report) -> Solution:
    """SCS through cvxpy, tolerance 1e-5; Control-C ends it without an answer."""
    return _reference(scaled, "scs", 1e-5, deadline)


@SOLVERS.register("clarabel")
def clarabel_solution(scaled: ScaledProblem, deadline: float, report: Report) -> Solution:
    """Clarabel through cvxpy, tolerance 1e-8; Control-C ends it without an answer."""
    return _reference(scaled, "clarabel", 1e-8, deadline)


def _reference(scaled: ScaledProblem, solver: str, eps: float, deadline: float) -> Solution:
    limit = max(0.1, deadline - time.monotonic())
    found = reference_solution(scaled.problem, solver=solver, eps=eps, time_limit=limit)
    ending = "optimal" if found.status == "optimal" else "stopped"
    return Solution(found.y, -math.inf, found.iterations, ending, solver)
