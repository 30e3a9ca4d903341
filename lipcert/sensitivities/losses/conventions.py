"""Conventions that change a constant, by name: where a temperature stands, how outputs reduce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lipcert.errors import InputError
from lipcert.registry import Registry
from lipcert.rounding import div_up, mul_up, sqrt_up


def root_of(count: int) -> float:
    """Upper bound of √count, exact for 1."""
    return 1.0 if count == 1 else sqrt_up(float(count))


def inverse_of(count: int) -> float:
    """Upper bound of 1/count, exact for 1."""
    return 1.0 if count == 1 else div_up(1.0, float(count))


@dataclass(frozen=True)
class Temperature:
    """Where τ stands in a loss f of logits z.

    Attributes
    ----------
    formula : such as ``f(τz)``, with ``{}`` for the name of f.
    slope_up : upper bound of the factor on z, from τ.
    gain_up : upper bound of the factor on f's gradient at the scaled logits, from τ.
    inside : logits and τ to the argument of f.
    outside : value of f and τ to the loss.
    """

    formula: str
    slope_up: Callable[[float], float]
    gain_up: Callable[[float], float]
    inside: Callable[[Tensor, float], Tensor]
    outside: Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class OutputReduction:
    """How terms ``(N, K)``, each of its own output, become losses ``(N,)``.

    Attributes
    ----------
    weight_up : upper bound of the weight of each term, from K.
    reduce : terms to losses.
    """

    weight_up: Callable[[int], float]
    reduce: Callable[[Tensor], Tensor]

    def constant_up(self, count: int, slope: float) -> float:
        """Upper bound of the l2 norm of K weighted slopes of at most ``slope``."""
        return mul_up(slope, self.weight_up(count), root_of(count))


TEMPERATURES: Registry[Temperature] = Registry("--loss temperature")
OUTPUT_REDUCTIONS: Registry[OutputReduction] = Registry("--loss reduction")

TEMPERATURES.register("multiplies")(
    Temperature(
        "{}(τz)",
        slope_up=lambda tau: tau,
        gain_up=lambda tau: tau,
        inside=lambda z, tau: z * tau,
        outside=lambda value, tau: value,
    )
)
TEMPERATURES.register("divides")(
    Temperature(
        "{}(z/τ)",
        slope_up=lambda tau: div_up(1.0, tau),
        gain_up=lambda tau: div_up(1.0, tau),
        inside=lambda z, tau: z / tau,
        outside=lambda value, tau: value,
    )
)
TEMPERATURES.register("multiplies-normalised")(
    Temperature(
        "{}(τz)/τ",
        slope_up=lambda tau: tau,
        gain_up=lambda tau: 1.0,
        inside=lambda z, tau: z * tau,
        outside=lambda value, tau: value / tau,
    )
)
OUTPUT_REDUCTIONS.register("sum")(OutputReduction(lambda count: 1.0, lambda terms: terms.sum(1)))
OUTPUT_REDUCTIONS.register("mean")(OutputReduction(inverse_of, lambda terms: terms.mean(1)))


def temperature_named(temperature: str, tau: float, place: str) -> Temperature:
    """The convention of that name; only at τ = 1, where all agree, may it be left empty.

    Raises InputError.
    """
    if temperature or tau == 1.0:
        return TEMPERATURES[temperature or "multiplies"]
    raise InputError(
        place,
        f"tau = {tau:g} is given without saying where it stands",
        f"add temperature= one of: {', '.join(TEMPERATURES)}",
    )
