"""The privacy of a result of ``lipcert sensitivity``, read from its JSON and checked."""

from __future__ import annotations

from dataclasses import dataclass

from lipcert.reports.html.spot import Spot

KEYS = ("epsilon", "noise_multiplier", "accounting")
"""What a result has where privacy was asked for: all of them, or none."""


@dataclass(frozen=True)
class NoiseRow:
    """A group of parameters that gets the same noise, on its summed and on its mean gradient."""

    name: str
    delta: float
    parameters: int
    deviation: float
    deviation_of_mean: float


@dataclass(frozen=True)
class Privacy:
    """(ε, δ)-differential privacy of a run, the noise that gives it, and what must be upheld.

    ``target`` is the ε that was asked for, None where the noise was given.
    """

    epsilon: float
    delta: float
    multiplier: float
    sensitivity: float
    sampling_rate: float
    steps: int
    batch_size: int
    dataset_size: int
    adjacency: str
    accountant: str
    allocation: str
    target: float | None
    groups: tuple[NoiseRow, ...]
    assumptions: tuple[str, ...]

    @classmethod
    def of(cls, root: Spot) -> Privacy | None:
        """What a result says of privacy, None where nothing was asked for."""
        if not any(key in root for key in KEYS):
            return None
        account = root["accounting"]
        size = account["dataset_size"].count()
        return cls(
            root["epsilon"].finite(),
            _share(account["delta"]),
            _positive(root["noise_multiplier"]),
            account["sensitivity"].finite(),
            _share(account["sampling_rate"]),
            account["steps"].count(),
            account["batch_size"].count(size),
            size,
            account["adjacency"].text(),
            account["accountant"].text(),
            account["allocation"].text(),
            account["target_epsilon"].maybe(Spot.finite),
            tuple(_noise(row) for row in account["layers"].rows()),
            tuple(row.text() for row in account["assumptions"].rows()),
        )


def _noise(spot: Spot) -> NoiseRow:
    return NoiseRow(
        spot["name"].text(),
        spot["delta"].finite(),
        spot["parameters"].count(),
        spot["standard_deviation"].finite(),
        spot["standard_deviation_of_mean"].finite(),
    )


def _share(spot: Spot) -> float:
    found = _positive(spot)
    if found > 1.0:
        spot.refuse("a number of at most 1")
    return found


def _positive(spot: Spot) -> float:
    found = spot.finite()
    if found == 0.0:
        spot.refuse("a positive number")
    return found
