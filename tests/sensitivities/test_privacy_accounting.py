"""ε against dp-accounting called directly, against exact Gaussians, and its inverse."""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import replace
from typing import Any

import mpmath
import pytest

from lipcert.errors import InputError
from lipcert.sensitivities.privacy import (
    ACCOUNTANTS,
    PrivacySettings,
    epsilon,
    noise_multiplier_for,
)
from lipcert.sensitivities.privacy.accountants import (
    INTERVAL,
    MOST_POINTS,
    ORDERS,
    interval,
    rdp_above,
    rounding_of_delta,
)

dp: Any = pytest.importorskip("dp_accounting")

GRID = list(itertools.product((0.8, 4.0), (0.001, 0.01, 0.2), (1, 100, 3000)))
DELTAS = (1e-5, 1e-6)
LIMIT = 40.0
"""Above this ε the grid's direct calculation takes seconds and nobody asks."""


def settings(**changes: Any) -> PrivacySettings:
    usual: dict[str, Any] = {
        "batch_size": 100,
        "dataset_size": 10_000,
        "delta": 1e-5,
        "steps": 1000,
        "noise_multiplier": 1.0,
    }
    return PrivacySettings(**{**usual, **changes})


def sampled(sigma: float, q: float, steps: int) -> Any:
    return dp.SelfComposedDpEvent(dp.PoissonSampledDpEvent(q, dp.GaussianDpEvent(sigma)), steps)


def direct(accountant: Any, event: Any, delta: float) -> float:
    return float(accountant.compose(event).get_epsilon(delta))


def gaussian_delta(mu: float, eps: float) -> mpmath.mpf:
    """The exact δ of a Gaussian mechanism whose shift is μ standard deviations."""
    with mpmath.workdps(40):
        mu, eps = mpmath.mpf(mu), mpmath.mpf(eps)
        above, below = mu / 2 - eps / mu, -mu / 2 - eps / mu
        return mpmath.ncdf(above) - mpmath.exp(eps) * mpmath.ncdf(below)


def test_rdp_of_order_two() -> None:
    assert rdp_above(1.0, 0.01, 1)[ORDERS.index(2)] == pytest.approx(1.718134e-4, abs=5e-11)
    exact = math.log1p(0.01**2 * math.expm1(1.0))
    assert rdp_above(1.0, 0.01, 1)[0] >= exact


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2.107753),
        ({"batch_size": 200, "steps": 500, "noise_multiplier": 2.0}, 1.015258),
        ({"batch_size": 10_000, "steps": 1, "noise_multiplier": 4.0}, 1.012551),
    ],
)
def test_rdp_cases_of_the_design(changes: dict[str, Any], expected: float) -> None:
    assert epsilon(settings(accountant="rdp", **changes)) == pytest.approx(expected, abs=1e-6)


def test_four_layers_of_the_design_compose_before_they_are_sampled() -> None:
    four = settings(batch_size=200, steps=500, noise_multiplier=2.0, accountant="rdp")
    assert epsilon(four, noise_multiplier=2.0 / math.sqrt(4)) == pytest.approx(3.145759, abs=1e-6)
    layers = dp.ComposedDpEvent([dp.GaussianDpEvent(2.0)] * 4)
    event = dp.SelfComposedDpEvent(dp.PoissonSampledDpEvent(0.02, layers), 500)
    composed = direct(dp.rdp.RdpAccountant(ORDERS), event, 1e-5)
    assert epsilon(four, noise_multiplier=1.0) == pytest.approx(composed, abs=1e-6)


@pytest.mark.parametrize(("sigma", "q", "steps"), GRID)
def test_equal_to_dp_accounting(sigma: float, q: float, steps: int) -> None:
    moments = dp.rdp.RdpAccountant(ORDERS).compose(sampled(sigma, q, steps))
    loss = None
    for delta in DELTAS:
        asked = settings(
            batch_size=round(q * 10_000), steps=steps, delta=delta, noise_multiplier=sigma
        )
        by_moments = epsilon(replace(asked, accountant="rdp"))
        assert 0 <= by_moments - moments.get_epsilon(delta) <= 1e-6
        if by_moments < LIMIT:
            loss = loss or dp.pld.PLDAccountant().compose(sampled(sigma, q, steps))
            by_loss = epsilon(asked)
            assert 0 <= by_loss - loss.get_epsilon(delta) <= 1e-6
            assert by_loss <= by_moments


@pytest.mark.parametrize("adjacency", ["add-remove", "replace-one"])
@pytest.mark.parametrize("accountant", ["rdp", "pld"])
@pytest.mark.parametrize(("sigma", "steps"), [(1.0, 1), (20.0, 50)])
@pytest.mark.parametrize("delta", [1e-3, 1e-9])
def test_without_sampling_never_below_the_exact_gaussian(
    sigma: float, steps: int, delta: float, accountant: str, adjacency: str
) -> None:
    asked = settings(
        batch_size=10_000,
        steps=steps,
        delta=delta,
        noise_multiplier=sigma,
        accountant=accountant,
        adjacency=adjacency,
    )
    moved = (2.0 if adjacency == "replace-one" else 1.0) * math.sqrt(steps) / sigma
    found = epsilon(asked)
    assert gaussian_delta(moved, found) <= delta
    if accountant == "pld":
        assert gaussian_delta(moved, found * 0.999) >= delta


@pytest.mark.parametrize(("mu", "steps"), [(1.1, 3000), (2.5, 3000), (2.5, 30_000)])
def test_allowance_covers_the_rounding_of_convolved_losses(mu: float, steps: int) -> None:
    """dp-accounting's own δ is too small there; what is allowed for it is enough."""
    accountant = dp.pld.PLDAccountant()
    accountant.compose(sampled(math.sqrt(steps) / mu, 1.0, steps))
    for delta in (1e-9, 1e-10, 1e-11, 1e-12):
        if delta > 4 * rounding_of_delta(steps):
            found = accountant.get_epsilon(delta - rounding_of_delta(steps))
            assert gaussian_delta(mu, found) <= delta
    if steps == 3000 and mu == 2.5:
        assert gaussian_delta(mu, accountant.get_epsilon(1e-12)) > 1e-12


def test_rdp_is_above_its_exact_value() -> None:
    """Binomial sum of the integer moments in 60 digits; tiny moments too, where logs cancel."""
    for sigma, q in ((0.4, 0.3), (1.0, 0.01), (40.0, 1e-3), (3e3, 1e-4), (1e6, 1e-6), (20.0, 1e-9)):
        bounds = rdp_above(sigma, q, 1)
        for order in (2, 3, 17, 256, 1024):
            with mpmath.workdps(60):
                rate, width = mpmath.mpf(q), 2 * mpmath.mpf(sigma) ** 2
                moment = mpmath.fsum(
                    mpmath.binomial(order, k)
                    * rate**k
                    * (1 - rate) ** (order - k)
                    * mpmath.exp((k * k - k) / width)
                    for k in range(order + 1)
                )
                exact = mpmath.log(moment) / (order - 1)
            bound = bounds[ORDERS.index(order)]
            assert exact <= bound <= exact * (1 + 1e-10) + 2e-12


def test_epsilon_is_never_zero_because_a_moment_cancels() -> None:
    """Millions of steps with next to no loss each: dp-accounting may see a moment below zero."""
    asked = settings(
        batch_size=1, dataset_size=10**9, steps=10**7, noise_multiplier=50.0, accountant="rdp"
    )
    assert epsilon(asked) >= 0.0
    assert all(r > 0.0 for r in rdp_above(50.0, 1e-9, 10**7))


@pytest.mark.parametrize("accountant", ["rdp", "pld"])
def test_monotone(accountant: str) -> None:
    def spent(**changes: Any) -> float:
        return epsilon(settings(accountant=accountant, **{"noise_multiplier": 2.0, **changes}))

    base = spent()
    assert spent(noise_multiplier=2.2) < base < spent(noise_multiplier=1.9)
    assert spent(batch_size=80) < base < spent(batch_size=120)
    assert spent(steps=800) < base < spent(steps=1200)
    assert spent(delta=1e-4) < base < spent(delta=1e-6)


def test_replacing_an_example_costs_more_and_both_accountants_say_so() -> None:
    assert epsilon(settings(adjacency="replace-one")) > epsilon(settings())
    whole = {"batch_size": 10_000, "steps": 2, "noise_multiplier": 20.0}
    for accountant in ACCOUNTANTS:
        replaced = settings(**whole, accountant=accountant, adjacency="replace-one")
        halved = settings(**{**whole, "noise_multiplier": 10.0}, accountant=accountant)
        assert epsilon(replaced) == pytest.approx(epsilon(halved), rel=1e-6)
    relation = dp.NeighboringRelation.REPLACE_ONE
    expected = direct(dp.pld.PLDAccountant(relation), sampled(1.0, 0.01, 1000), 1e-5)
    found = epsilon(settings(adjacency="replace-one"))
    assert expected <= found <= expected + 1e-6


def test_moments_refuse_sampling_with_replaced_examples() -> None:
    with pytest.raises(InputError, match="Poisson sampling.*--accountant pld"):
        epsilon(settings(accountant="rdp", adjacency="replace-one"))


@pytest.mark.parametrize(
    ("accountant", "adjacency", "target"),
    [
        ("rdp", "add-remove", 0.1),
        ("rdp", "add-remove", 50.0),
        ("pld", "add-remove", 0.5),
        ("pld", "replace-one", 0.5),
    ],
)
def test_noise_for_a_target(accountant: str, adjacency: str, target: float) -> None:
    asked = settings(accountant=accountant, adjacency=adjacency)
    sigma = noise_multiplier_for(asked, target)
    assert target * (1 - 1e-4) <= epsilon(asked, noise_multiplier=sigma) <= target
    assert epsilon(asked, noise_multiplier=sigma * (1 - 1e-4)) > target


def test_noise_for_an_epsilon_gives_the_noise_back() -> None:
    for accountant in ACCOUNTANTS:
        asked = settings(accountant=accountant, noise_multiplier=3.0, steps=30)
        assert noise_multiplier_for(asked, epsilon(asked)) == pytest.approx(3.0, rel=1e-4)


def test_noise_for_a_target_where_delta_covers_everything_is_still_enough() -> None:
    asked = settings(batch_size=1, dataset_size=10**6, steps=3, delta=1e-5, accountant="rdp")
    sigma = noise_multiplier_for(asked, 1e-3)
    assert epsilon(asked, noise_multiplier=sigma) <= 1e-3


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf, 1e-9, 1e12])
def test_targets_that_are_refused(target: float) -> None:
    asked = settings(accountant="rdp", batch_size=10_000)
    with pytest.raises(InputError, match="--target-epsilon"):
        noise_multiplier_for(asked, target)


def test_hardly_any_noise_is_refused() -> None:
    with pytest.raises(InputError, match="too little noise"):
        epsilon(settings(), noise_multiplier=1e-9)
    with pytest.raises(InputError, match="too little noise for --accountant pld"):
        epsilon(settings(batch_size=10_000, steps=10**6), noise_multiplier=1e-3)


def test_delta_lost_in_rounding_is_refused_by_the_loss_distribution_only() -> None:
    with pytest.raises(InputError, match="--accountant rdp"):
        epsilon(settings(delta=1e-13))
    assert epsilon(settings(delta=1e-13, accountant="rdp")) > epsilon(settings(accountant="rdp"))


def test_grid_is_that_of_dp_accounting_until_it_grows_too_large() -> None:
    assert interval(1.0, 0.01, 1000) == INTERVAL
    coarse = interval(0.01, 1.0, 1)
    assert coarse > INTERVAL and (20 / 0.01 + 1e4) / coarse <= MOST_POINTS
    asked = settings(batch_size=10_000, steps=1, noise_multiplier=0.01)
    found = epsilon(asked)
    assert gaussian_delta(100.0, found) <= 1e-5 <= gaussian_delta(100.0, found * 0.999)


def test_without_dp_accounting_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(InputError, match=r"needs dp-accounting; pip install 'lipcert\[privacy\]'"):
        epsilon(settings())


def test_settings_are_json() -> None:
    assert json.loads(json.dumps(vars(settings())))["delta"] == 1e-5
