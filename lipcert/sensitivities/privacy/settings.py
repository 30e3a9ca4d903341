"""What a private training run does, as far as its privacy depends on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from lipcert.errors import InputError
from lipcert.sensitivities.privacy.accountants import ACCOUNTANTS
from lipcert.sensitivities.privacy.allocations import ALLOCATIONS

ADJACENCIES = ("add-remove", "replace-one")


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """A run of noisy gradient steps on Poisson samples; checked when made.

    Parameters
    ----------
    batch_size, dataset_size : expected size b of a batch, and size N of the data set: each example
        is in each batch with probability b/N, independently.
    epochs, steps : how long it trains, one of both: steps = ⌈epochs·N/b⌉.
    delta : the δ of (ε, δ)-differential privacy.
    noise_multiplier, target_epsilon : one of both: σ, the standard deviation of the noise divided
        by the sensitivity Δ of *one* example (for either adjacency, with the allocation "global";
        the others say in :mod:`~lipcert.sensitivities.privacy.allocations`), or the ε to reach.
    adjacency : "add-remove": data sets that differ by one example more or less, shift Δ;
        "replace-one": by one example exchanged, shift up to 2Δ.
    accountant, allocation : names in ``ACCOUNTANTS`` and ``ALLOCATIONS``.

    Raises InputError for what cannot be accounted for.
    """

    batch_size: int
    dataset_size: int
    delta: float
    epochs: float | None = None
    steps: int | None = None
    noise_multiplier: float | None = None
    target_epsilon: float | None = None
    adjacency: str = "add-remove"
    accountant: str = "pld"
    allocation: str = "global"

    def __post_init__(self) -> None:
        """Check every field; nothing is changed."""
        _check_sizes(self.batch_size, self.dataset_size)
        if not 0.0 < self.delta < 1.0:
            raise InputError(
                "--delta", f"{self.delta!r} is not between 0 and 1", "give less than 1/dataset size"
            )
        _check_length(self.epochs, self.steps)
        _check_aim(self.noise_multiplier, self.target_epsilon)
        if self.adjacency not in ADJACENCIES:
            raise InputError(
                f"adjacency {self.adjacency!r}",
                "is not known",
                f"choose one of: {', '.join(ADJACENCIES)}",
            )
        _ = ACCOUNTANTS[self.accountant], ALLOCATIONS[self.allocation]

    @property
    def sampling_rate(self) -> float:
        """An upper bound of q = b/N, equal to it but for rounding."""
        rate = self.batch_size / self.dataset_size
        below = Fraction(rate) < Fraction(self.batch_size, self.dataset_size)
        return min(1.0, math.nextafter(rate, 2.0)) if below else rate

    @property
    def total_steps(self) -> int:
        """The number of noisy steps; epochs mean what they read in decimals."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return math.ceil(Fraction(repr(float(self.epochs))) * self.dataset_size / self.batch_size)

    @property
    def replaces(self) -> bool:
        """Whether neighbouring data sets differ by an exchanged example."""
        return self.adjacency == "replace-one"


def _check_sizes(batch_size: int, dataset_size: int) -> None:
    for option, size in (("--batch-size", batch_size), ("--dataset-size", dataset_size)):
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(option, f"{size!r} is not a number of examples", "give 1 or more")
    if batch_size > dataset_size:
        raise InputError(
            "--batch-size",
            f"{batch_size} is more than the data set's {dataset_size}",
            "give at most --dataset-size",
        )


def _check_length(epochs: float | None, steps: int | None) -> None:
    if (epochs is None) == (steps is None):
        raise InputError("--epochs, --steps", "exactly one is needed", "say how long it trains")
    if epochs is not None and not (math.isfinite(epochs) and epochs > 0):
        raise InputError("--epochs", f"{epochs!r} is not a length of training", "give more than 0")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise InputError("--steps", f"{steps!r} is not a number of steps", "give 1 or more")


def _check_aim(noise_multiplier: float | None, target_epsilon: float | None) -> None:
    if (noise_multiplier is None) == (target_epsilon is None):
        raise InputError(
            "--noise-multiplier, --target-epsilon",
            "exactly one is needed",
            "give the noise to learn ε, or ε to learn the noise",
        )
    aims = (("--noise-multiplier", noise_multiplier), ("--target-epsilon", target_epsilon))
    for option, value in aims:
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(option, f"{value!r} is not positive and finite", "give more than 0")
