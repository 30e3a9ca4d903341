"""ε from the noise, and the noise for an ε."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from lipcert.errors import InputError
from lipcert.sensitivities.privacy.accountants import (
    ACCOUNTANTS,
    LEAST_MULTIPLIER,
    MOST_MULTIPLIER,
)
from lipcert.sensitivities.privacy.settings import PrivacySettings

WIDTH = 5e-5
"""Largest relative distance of ε from its target, and of σ from one that misses the target."""

STEP = 1e-5
MOST_STEPS = 200


def epsilon(settings: PrivacySettings, *, noise_multiplier: float | None = None) -> float:
    """Upper bound of ε at δ of one Gaussian mechanism, sampled and composed as ``settings`` say.

    ``noise_multiplier`` is the effective σ_eff of all layers together; by default the settings'
    own σ, which is σ_eff for the allocations "global" and "optimal".  Raises InputError.
    """
    sigma = settings.noise_multiplier if noise_multiplier is None else noise_multiplier
    if sigma is None or not sigma > 0.0:
        raise InputError("--noise-multiplier", f"{sigma!r} is not positive", "give more than 0")
    accountant = ACCOUNTANTS[settings.accountant]
    rate, steps = settings.sampling_rate, settings.total_steps
    return accountant(sigma, rate, steps, settings.delta, settings.replaces)


def noise_multiplier_for(settings: PrivacySettings, target_epsilon: float) -> float:
    """The least σ_eff found with ``epsilon(σ_eff) <= target_epsilon``, never on the other side.

    ε is within 1e-4 of the target (relative), except where ε jumps in σ (to zero, when δ alone
    covers the loss).  Raises InputError for a target that no noise or hardly any noise reaches.
    """
    if not (math.isfinite(target_epsilon) and target_epsilon > 0.0):
        raise InputError("--target-epsilon", f"{target_epsilon!r} is not positive", "give more")

    def spent(sigma: float) -> float:
        return epsilon(settings, noise_multiplier=sigma)

    low, high = _bracket(spent, target_epsilon, _first_guess(settings, target_epsilon))
    return _narrowed(spent, target_epsilon, low, high)


def _first_guess(settings: PrivacySettings, target: float) -> float:
    """Where to begin: Rényi moments are quick, and the privacy loss never asks for more noise."""
    if settings.accountant == "rdp":
        return 1.0
    quick = replace(settings, accountant="rdp", adjacency="add-remove")
    try:
        guess = noise_multiplier_for(quick, target)
    except InputError:
        return 1.0
    return 2.0 * guess if settings.replaces else guess


Point = tuple[float, float]
"""σ and its ε."""


def _bracket(spent: Callable[[float], float], target: float, guess: float) -> tuple[Point, Point]:
    """A σ that spends more than the target, and one that does not."""
    sigma = min(max(guess, LEAST_MULTIPLIER), MOST_MULTIPLIER)
    value = spent(sigma)
    point = sigma, value
    if value > target:
        while value > target:
            if sigma >= MOST_MULTIPLIER:
                raise InputError(
                    "--target-epsilon",
                    f"{target!r} is not reached with any noise up to {MOST_MULTIPLIER:g}",
                    "give a larger one, fewer steps, or a larger delta",
                )
            point = sigma, value
            sigma = min(sigma * 1.5, MOST_MULTIPLIER)
            value = spent(sigma)
        return point, (sigma, value)
    while value <= target:
        if sigma <= LEAST_MULTIPLIER:
            raise InputError(
                "--target-epsilon",
                f"{target!r} is spent with hardly any noise and promises nothing",
                "give a smaller one",
            )
        point = sigma, value
        sigma = max(sigma / 1.25, LEAST_MULTIPLIER)
        value = spent(sigma)
    return (sigma, value), point


def _narrowed(spent: Callable[[float], float], target: float, low: Point, high: Point) -> float:
    """The upper end of the bracket, after secants in log σ and log ε, and halvings."""
    for step in range(MOST_STEPS):
        width = high[0] / low[0] - 1.0
        near = high[1] >= target * (1.0 - WIDTH) and width <= WIDTH
        if near or width <= 1e-9:
            break
        sigma = _halved(low, high) if step % 3 == 2 else _secant(target, low, high)
        value = spent(sigma)
        if value > target:
            low, other = (sigma, value), sigma * (1.0 + STEP)
        else:
            high, other = (sigma, value), sigma * (1.0 - STEP)
        if low[0] < other < high[0] and step % 3 != 2:
            value = spent(other)
            if value > target:
                low = other, value
            else:
                high = other, value
    return high[0]


def _halved(low: Point, high: Point) -> float:
    return low[0] * math.sqrt(high[0] / low[0])


def _secant(target: float, low: Point, high: Point) -> float:
    """Where the line through both points meets the target; the middle if outside of them."""
    if high[1] <= 0.0 or not math.isfinite(low[1]):
        return _halved(low, high)
    share = math.log(low[1] / target) / math.log(low[1] / high[1])
    sigma = low[0] * (high[0] / low[0]) ** share
    return sigma if low[0] < sigma < high[0] else _halved(low, high)
