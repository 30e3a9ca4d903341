"""ε of a subsampled Gaussian mechanism, composed: dp-accounting, rounded upward.

Accountants take σ = noise/Δ with Δ the sensitivity of one example, for either adjacency, and the
bound holds for add/remove (shift Δ) or replace-one (shift up to 2Δ) as asked.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

from lipcert.errors import InputError
from lipcert.registry import Registry
from lipcert.rounding import down, mul_up, up

INSTALL = "pip install 'lipcert[privacy]'"

LEAST_MULTIPLIER = 1e-3
MOST_MULTIPLIER = 1e6
"""Less noise than the least protects nothing; more than the most is counted as the most."""

ORDERS = (*range(2, 257), 512, 1024)
"""Rényi orders: integers, for which the moment of a sampled Gaussian is a finite sum."""

INTERVAL = 1e-4
COARSEST = 1.0
MOST_POINTS = 2.0**21
"""Grid of the privacy loss, as dp-accounting's; made coarser where it would have more points."""

Accountant = Callable[[float, float, int, float, bool], float]

ACCOUNTANTS: Registry[Accountant] = Registry("accountant")
"""From σ, sampling rate q, steps T, δ and whether neighbours replace an example, to ε."""


def dp_accounting() -> Any:
    """The package dp-accounting, imported when first needed (two seconds).  Raises InputError."""
    try:
        return importlib.import_module("dp_accounting")
    except ImportError:
        raise InputError("privacy accounting", "needs dp-accounting", INSTALL) from None


def rdp_above(sigma: float, q: float, steps: int) -> list[float]:
    """Upper bounds of T·RDP(α) of the Poisson-sampled Gaussian, at each of ``ORDERS``.

    Mironov, Talwar, Zhang 2019 (arXiv 1908.10530), integer orders, add/remove.  dp-accounting sums
    logarithms: terms up to α·log(1/q), log Γ(α+1) and r·(α−1), each off by a few units of
    roundoff, divided by α−1.  That is within 2^-44·log(e/q) per step and 2^-44 of the value.
    Without it a moment that cancels to less than zero would count as ε = 0.
    """
    dp = dp_accounting()
    accountant = dp.rdp.RdpAccountant(ORDERS)
    accountant.compose(_sampled(dp, sigma, q), steps)
    slack = 2.0**-44
    floor = 0.0 if q == 1.0 else mul_up(float(steps), slack, 2.0 - math.log(q))
    return [up(mul_up(max(0.0, float(r)), 1.0 + slack) + floor) for r in accountant.rdp]


@ACCOUNTANTS.register("rdp")
def rdp_epsilon(sigma: float, q: float, steps: int, delta: float, replaces: bool) -> float:
    """ε by Rényi moments, with the conversion of Canonne, Kamath, Steinke 2020, Prop. 12.

    Replace-one shifts by 2Δ: noise/(2Δ) is what the moments take.  That is right without sampling
    only; with Poisson sampling neighbours are two mixtures, for which this formula is not proved.
    """
    sigma = _checked(sigma)
    if replaces and q < 1.0:
        raise InputError(
            "--accountant rdp",
            "has no proof for Poisson sampling when an example is replaced",
            "use --accountant pld, or --adjacency add-remove",
        )
    moments = rdp_above(sigma / 2.0 if replaces else sigma, q, steps)
    value = float(dp_accounting().rdp.compute_epsilon(ORDERS, moments, delta)[0])
    return _rounded_up(value)


@ACCOUNTANTS.register("pld")
def pld_epsilon(sigma: float, q: float, steps: int, delta: float, replaces: bool) -> float:
    """ε by the distribution of the privacy loss (pessimistic grid: Doroshenko et al. 2022).

    The grid bounds from above, its arithmetic does not: masses are rounded and convolved by FFT.
    Measured against the exact δ of Gaussians (q = 1, T to 200 000), the δ computed is too small by
    up to T·2^-54 + 1e-14; :func:`rounding_of_delta`, four times that, is taken off δ beforehand.
    Replace-one: dp-accounting takes the pair (1−q)N(0) + qN(±Δ), noise/Δ, for the worst.
    """
    sigma = _checked(sigma)
    rounding = rounding_of_delta(steps)
    if delta < 4.0 * rounding:
        raise InputError(
            "--delta",
            f"{delta!r} is lost in the rounding errors of --accountant pld",
            f"use --accountant rdp, or a delta above {4.0 * rounding:.1e}",
        )
    step = interval(sigma, q, steps)
    if step > COARSEST:
        raise InputError(
            "noise multiplier",
            f"{sigma!r} at {steps} steps is too little noise for --accountant pld",
            "use more noise: an ε this large promises nothing",
        )
    dp = dp_accounting()
    relation = dp.NeighboringRelation
    accountant = dp.pld.PLDAccountant(
        relation.REPLACE_ONE if replaces else relation.ADD_OR_REMOVE_ONE,
        value_discretization_interval=step,
    )
    accountant.compose(_sampled(dp, sigma, q), steps)
    return _rounded_up(float(accountant.get_epsilon(down(delta - rounding))))


def rounding_of_delta(steps: int) -> float:
    """What the rounding of a privacy loss distribution is taken to change in δ, at most."""
    return (steps + 256) * 2.0**-52


def interval(sigma: float, q: float, steps: int) -> float:
    """Step of the grid: 1e-4, doubled until no distribution has over ``MOST_POINTS`` points.

    One step's loss spans about 20/σ + 1/σ² (Gaussian tails cut at 1e-22), T steps' T times that,
    and not much more than 2ε at δ = 1e-15: guesses, as any step gives an upper bound of ε.
    """
    if q == 1.0:
        sigma, steps = sigma / math.sqrt(steps), 1
    single = 20.0 / sigma + 1.0 / sigma**2
    reach = steps * single
    if reach > INTERVAL * MOST_POINTS:
        dp = dp_accounting()
        tail = dp.rdp.compute_epsilon(ORDERS, rdp_above(sigma, q, steps), 1e-15)[0]
        reach = max(min(reach, 2.0 * tail), single)
    step = INTERVAL
    while reach > step * MOST_POINTS:
        step *= 2.0
    return step


def _sampled(dp: Any, sigma: float, q: float) -> Any:
    gaussian = dp.GaussianDpEvent(sigma)
    return gaussian if q == 1.0 else dp.PoissonSampledDpEvent(q, gaussian)


def _checked(sigma: float) -> float:
    """σ to account with: never more than given.  Raises InputError for hardly any noise."""
    if not sigma >= LEAST_MULTIPLIER:
        raise InputError(
            "noise multiplier",
            f"{sigma!r} for all layers together is too little noise to account for",
            f"give at least {LEAST_MULTIPLIER}",
        )
    return min(sigma, MOST_MULTIPLIER)


def _rounded_up(value: float) -> float:
    """ε, up by 2^-40 of itself for the logarithms it is made of; infinite where not a number."""
    return math.inf if math.isnan(value) else mul_up(max(0.0, value), 1.0 + 2.0**-40)
