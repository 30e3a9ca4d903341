"""How norms are asked for, and what the answer is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch

from lipcert.operators import LinearOperator
from lipcert.spectral.explicit import explicit_work, smaller_side
from lipcert.spectral.starts import Starts

SLOW_RATE = 1e10
"""Operations per second that even a busy processor reaches."""


@dataclass(frozen=True)
class NormBound:
    """A proven upper bound of an operator norm and the way it was found."""

    value: float
    how: str


@dataclass(frozen=True)
class NormSettings:
    """How norms are found.  Every choice gives a proven bound.

    Parameters
    ----------
    spectral : "svd" (eigenvalues, then a Cholesky proof), "gram" (Gram iteration), or "auto".
    max_side : largest side of an explicit Gram matrix.
    max_work : most floating-point operations spent on one explicit operator.
    deadline : ``time.monotonic()`` after which no explicit operator is started.
    device : where the linear algebra runs.
    starts : eigenvectors of the last run, to begin estimates at.
    """

    spectral: str = "auto"
    max_side: int = 4096
    max_work: float = 2e11
    deadline: float = math.inf
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    starts: Starts | None = field(default=None, compare=False)

    def affords(self, operator: LinearOperator) -> bool:
        """Whether the explicit operator is within these limits (the same on every device)."""
        work = explicit_work(operator)
        fits = smaller_side(operator) <= self.max_side and work <= self.max_work
        return fits and self.leaves_time_for(work)

    def leaves_time_for(self, work: float) -> bool:
        """Whether so many operations are likely to end before the deadline."""
        return time.monotonic() + work / SLOW_RATE < self.deadline
