"""placeholder"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AttackSettings:
    """How an attack is run.

    Parameters
    ----------
    steps : gradient steps of one restart.
    restarts : random starts for each sample and ε.
    seed : of the random starts; the same seed gives the same result.
    """

    steps: int = 50
    restarts: int = 3
    seed: int = 0
    name: str = "pgd"
