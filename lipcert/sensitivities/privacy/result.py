"""The privacy that noise on gradients of known sensitivity buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lipcert.errors import InputError
from lipcert.rounding import div_up, hypot_up, mul_up, up
from lipcert.sensitivities.privacy.accountants import ORDERS, interval
from lipcert.sensitivities.privacy.allocations import (
    NoiseGroup,
    effective_below,
    standard_deviations,
)
from lipcert.sensitivities.privacy.assumptions import assumptions
from lipcert.sensitivities.privacy.calibration import epsilon, noise_multiplier_for
from lipcert.sensitivities.privacy.settings import PrivacySettings


@dataclass(frozen=True)
class LayerNoise:
    """The noise of one layer.

    Parameters
    ----------
    standard_deviation : s of the noise on each number of the layer's *summed* gradient.
    standard_deviation_of_mean : s/b, for the sum divided by the fixed, public batch size b.
    """

    name: str
    delta: float
    parameters: int
    standard_deviation: float
    standard_deviation_of_mean: float


@dataclass(frozen=True)
class PrivacyResult:
    """(ε, δ)-differential privacy of a training run, and the noise that gives it.

    Parameters
    ----------
    noise_multiplier : σ, as given or found; see the allocation for what it multiplies.
    effective_multiplier : σ_eff of all layers together, of which ε is computed: noise/Δ, with Δ
        the sensitivity of one example for either adjacency.
    sensitivity : how far one step's summed gradient moves between neighbours, at most: √ΣΔ_d²,
        doubled for replace-one.
    orders : the Rényi orders; empty for the accountant "pld".
    interval : grid of the privacy loss; None for the accountant "rdp".
    relation : the neighbouring relation, in dp-accounting's name.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    effective_multiplier: float
    sensitivity: float
    sampling_rate: float
    steps: int
    batch_size: int
    dataset_size: int
    adjacency: str
    accountant: str
    allocation: str
    target_epsilon: float | None
    layers: tuple[LayerNoise, ...]
    assumptions: tuple[str, ...]
    orders: tuple[int, ...]
    interval: float | None
    relation: str

    @property
    def standard_deviations(self) -> dict[str, float]:
        """s by layer name, for summed gradients."""
        return {layer.name: layer.standard_deviation for layer in self.layers}

    def record(self) -> dict[str, Any]:
        """Everything, in JSON's types."""
        return asdict(self)


def account(settings: PrivacySettings, layers: Sequence[NoiseGroup]) -> PrivacyResult:
    """ε, or the noise for a target ε, and the standard deviation for each layer.

    Raises InputError for sensitivities that no noise hides and targets that are not reached.
    """
    sigma = settings.noise_multiplier
    if sigma is None:
        assert settings.target_epsilon is not None
        least = noise_multiplier_for(settings, settings.target_epsilon)
        sigma = _multiplier_reaching(layers, settings.allocation, least)
    deviations = standard_deviations(layers, settings.allocation, sigma)
    effective = effective_below(layers, deviations)
    value = epsilon(settings, noise_multiplier=effective)
    if settings.target_epsilon is not None and value > settings.target_epsilon:
        raise InputError(
            "--target-epsilon", f"{settings.target_epsilon!r} is missed", "give a larger one"
        )
    moved = mul_up(2.0 if settings.replaces else 1.0, hypot_up(*(x.delta for x in layers)))
    rdp = settings.accountant == "rdp"
    rate, steps = settings.sampling_rate, settings.total_steps
    return PrivacyResult(
        epsilon=value,
        delta=settings.delta,
        noise_multiplier=sigma,
        effective_multiplier=effective,
        sensitivity=moved,
        sampling_rate=rate,
        steps=steps,
        batch_size=settings.batch_size,
        dataset_size=settings.dataset_size,
        adjacency=settings.adjacency,
        accountant=settings.accountant,
        allocation=settings.allocation,
        target_epsilon=settings.target_epsilon,
        layers=tuple(
            _noise(layer, deviation, settings.batch_size)
            for layer, deviation in zip(layers, deviations, strict=True)
        ),
        assumptions=(*assumptions(settings), *_silent(layers)),
        orders=ORDERS if rdp else (),
        interval=None if rdp else interval(effective, rate, steps),
        relation="REPLACE_ONE" if settings.replaces else "ADD_OR_REMOVE_ONE",
    )


def _multiplier_reaching(layers: Sequence[NoiseGroup], allocation: str, least: float) -> float:
    """A σ, hardly above the least one, for which σ_eff is proved to be at least ``least``."""
    sigma = least
    while True:
        effective = effective_below(layers, standard_deviations(layers, allocation, sigma))
        if effective >= least:
            return sigma
        sigma = up(mul_up(sigma, div_up(least, effective)))


def _noise(layer: NoiseGroup, deviation: float, batch_size: int) -> LayerNoise:
    mean = div_up(deviation, float(batch_size))
    return LayerNoise(layer.name, layer.delta, layer.parameters, deviation, mean)


def _silent(layers: Sequence[NoiseGroup]) -> tuple[str, ...]:
    """What to do with layers that no example moves."""
    names = ", ".join(layer.name for layer in layers if layer.delta == 0.0)
    if not names:
        return ()
    return (
        f"The gradient of {names} is zero on every example of this checkpoint: it gets no noise, "
        "and must not be updated from the data by other means.",
    )
