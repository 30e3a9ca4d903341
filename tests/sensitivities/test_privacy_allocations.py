"""Noise among layers, settings, and the result."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.errors import InputError
from lipcert.sensitivities.privacy import (
    ALLOCATIONS,
    NoiseGroup,
    PrivacySettings,
    account,
    assumptions,
    effective_below,
    epsilon,
)
from lipcert.sensitivities.privacy.allocations import standard_deviations

CHAIN = (NoiseGroup("first", 10.0, 1), NoiseGroup("second", 15.0, 1))

SOME_LAYERS = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
        st.integers(1, 10**9),
    ),
    min_size=1,
    max_size=12,
).filter(lambda pairs: any(delta for delta, _ in pairs))
MULTIPLIERS = st.floats(1e-2, 1e3)


def named(pairs: list[tuple[float, int]]) -> list[NoiseGroup]:
    return [NoiseGroup(f"layer {i}", d, p) for i, (d, p) in enumerate(pairs)]


def leak(layers: list[NoiseGroup], deviations: tuple[float, ...]) -> Fraction:
    """Σ Δ²/s², without rounding."""
    return sum(
        (
            (Fraction(x.delta) / Fraction(s)) ** 2
            for x, s in zip(layers, deviations, strict=True)
            if x.delta
        ),
        Fraction(0),
    )


def energy(layers: list[NoiseGroup], deviations: tuple[float, ...]) -> Fraction:
    return sum(
        (x.parameters * Fraction(s) ** 2 for x, s in zip(layers, deviations, strict=True)),
        Fraction(0),
    )


def settings(**changes: Any) -> PrivacySettings:
    usual: dict[str, Any] = {
        "batch_size": 200,
        "dataset_size": 10_000,
        "delta": 1e-5,
        "steps": 500,
        "noise_multiplier": 2.0,
        "accountant": "rdp",
    }
    return PrivacySettings(**{**usual, **changes})


@given(SOME_LAYERS, MULTIPLIERS)
def test_guarantee_of_each_allocation(pairs: list[tuple[float, int]], sigma: float) -> None:
    """In exact arithmetic: never more leaks than promised, and no noise is wasted."""
    layers = named(pairs)
    noisy = sum(1 for x in layers if x.delta)
    for allocation in ALLOCATIONS:
        deviations = standard_deviations(layers, allocation, sigma)
        promised = Fraction(sigma) ** -2 * (noisy if allocation == "per-layer" else 1)
        leaked = leak(layers, deviations)
        assert promised * (1 - Fraction(1, 10**12)) <= leaked <= promised
        effective = Fraction(effective_below(layers, deviations))
        assert (1 - Fraction(1, 10**12)) <= effective**2 * leaked <= 1


@given(SOME_LAYERS, MULTIPLIERS)
def test_optimal_spends_the_least_energy(pairs: list[tuple[float, int]], sigma: float) -> None:
    layers = named(pairs)
    noisy = sum(1 for x in layers if x.delta)
    least = energy(layers, standard_deviations(layers, "optimal", sigma))
    alike = energy(layers, standard_deviations(layers, "global", sigma))
    fair = sigma * math.sqrt(noisy)
    apart = energy(layers, standard_deviations(layers, "per-layer", fair))
    slack = 1 + Fraction(1, 10**12)
    assert least <= alike * slack and least <= apart * slack
    closed = sigma * sum(x.delta * math.sqrt(x.parameters) for x in layers)
    assert float(least) == pytest.approx(closed**2, rel=1e-9)


@given(SOME_LAYERS, st.lists(st.floats(1e-3, 1e3), min_size=12, max_size=12), MULTIPLIERS)
def test_no_other_noise_of_the_same_guarantee_spends_less(
    pairs: list[tuple[float, int]], others: list[float], sigma: float
) -> None:
    layers = [x for x in named(pairs) if x.delta]
    other = tuple(others[: len(layers)])
    scale = leak(layers, other) * Fraction(sigma) ** 2
    least = energy(layers, standard_deviations(layers, "optimal", sigma))
    assert least <= energy(layers, other) * scale * (1 + Fraction(1, 10**12))


def test_chain_of_the_design() -> None:
    deviations = standard_deviations(CHAIN, "global", 1.0)
    assert deviations == pytest.approx((math.sqrt(325.0),) * 2)
    result = account(settings(batch_size=10, noise_multiplier=1.0), CHAIN)
    assert result.sensitivity == pytest.approx(math.sqrt(325.0))
    assert result.layers[0].standard_deviation_of_mean == pytest.approx(1.802776, abs=5e-7)
    replaced = settings(batch_size=10, adjacency="replace-one", accountant="pld")
    assert account(replaced, CHAIN).sensitivity / 10 == pytest.approx(3.605551, abs=5e-7)


def test_four_layers_of_the_design() -> None:
    layers = [NoiseGroup(name, 3.0, 10) for name in "abcd"]
    apart = account(settings(allocation="per-layer"), layers)
    assert apart.epsilon == pytest.approx(3.145759, abs=1e-6)
    assert apart.effective_multiplier == pytest.approx(1.0, rel=1e-12)
    assert apart.standard_deviations == pytest.approx(dict.fromkeys("abcd", 6.0))
    together = account(settings(allocation="global"), layers)
    assert together.epsilon == pytest.approx(1.015258, abs=1e-6)
    assert together.standard_deviations == pytest.approx(dict.fromkeys("abcd", 12.0))
    assert account(settings(allocation="optimal"), layers).epsilon == pytest.approx(
        together.epsilon, rel=1e-9
    )


def test_unequal_multipliers_compose_harmonically() -> None:
    layers = named([(2.0, 1), (5.0, 1), (0.5, 1)])
    multipliers = (1.0, 3.0, 0.7)
    found = effective_below(layers, [m * x.delta for m, x in zip(multipliers, layers, strict=True)])
    assert found == pytest.approx(sum(m**-2 for m in multipliers) ** -0.5)
    with pytest.raises(InputError, match="would get no noise"):
        effective_below(layers, [1.0, 0.0, 1.0])


@pytest.mark.parametrize("allocation", list(ALLOCATIONS))
def test_target_is_kept_by_the_result(allocation: str) -> None:
    layers = named([(0.3, 7), (1e-4, 90_000), (0.0, 5), (17.0, 3)])
    asked = settings(
        batch_size=10_000, noise_multiplier=None, target_epsilon=2.0, allocation=allocation
    )
    result = account(asked, layers)
    assert 2.0 * (1 - 1e-4) <= result.epsilon <= 2.0 == result.target_epsilon
    assert result.epsilon == epsilon(asked, noise_multiplier=result.effective_multiplier)
    if allocation == "per-layer":
        expected = result.effective_multiplier * math.sqrt(3.0)
        assert result.noise_multiplier == pytest.approx(expected, rel=1e-12)


def test_layer_that_no_example_moves_gets_no_noise_and_says_so() -> None:
    layers = [*CHAIN, NoiseGroup("dead", 0.0, 100)]
    for allocation in ALLOCATIONS:
        result = account(settings(allocation=allocation), layers)
        without = account(settings(allocation=allocation), CHAIN)
        assert result.standard_deviations["dead"] == 0.0
        assert result.epsilon == without.epsilon
        assert any("dead is zero on every example" in line for line in result.assumptions)


@pytest.mark.parametrize("delta", [math.inf, math.nan, -1.0])
def test_sensitivities_that_no_noise_hides(delta: float) -> None:
    with pytest.raises(InputError, match="'bad'.*cannot be hidden"):
        account(settings(), [*CHAIN, NoiseGroup("bad", delta, 1)])


def test_layers_that_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to make private"):
        account(settings(), [NoiseGroup("dead", 0.0, 1)])
    with pytest.raises(InputError, match="nothing to make private"):
        account(settings(), [])
    with pytest.raises(InputError, match="named twice"):
        account(settings(), [CHAIN[0], CHAIN[0]])
    with pytest.raises(InputError, match="0 parameters"):
        account(settings(), [NoiseGroup("empty", 1.0, 0)])
    with pytest.raises(InputError, match="overflows"):
        account(settings(), [NoiseGroup("huge", 1.7e308, 1)])


def test_tiny_and_huge_sensitivities_keep_the_guarantee() -> None:
    layers = named([(1e-300, 10), (1e150, 10**6), (5e-324, 1), (1e300, 2)])
    for allocation in ALLOCATIONS:
        deviations = standard_deviations(layers, allocation, 2.0)
        promised = Fraction(1, 4) * (4 if allocation == "per-layer" else 1)
        assert leak(layers, deviations) <= promised


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"delta": 0.0}, "--delta"),
        ({"delta": 1.0}, "--delta"),
        ({"delta": math.nan}, "--delta"),
        ({"batch_size": 10_001}, "--batch-size"),
        ({"batch_size": 0}, "--batch-size"),
        ({"dataset_size": 0}, "--dataset-size"),
        ({"noise_multiplier": 0.0}, "--noise-multiplier"),
        ({"noise_multiplier": -1.0}, "--noise-multiplier"),
        ({"noise_multiplier": math.inf}, "--noise-multiplier"),
        ({"noise_multiplier": None}, "--noise-multiplier, --target-epsilon"),
        ({"target_epsilon": 1.0}, "--noise-multiplier, --target-epsilon"),
        ({"noise_multiplier": None, "target_epsilon": 0.0}, "--target-epsilon"),
        ({"noise_multiplier": None, "target_epsilon": math.nan}, "--target-epsilon"),
        ({"steps": None}, "--epochs, --steps"),
        ({"epochs": 1.0}, "--epochs, --steps"),
        ({"steps": 0}, "--steps"),
        ({"steps": None, "epochs": 0.0}, "--epochs"),
        ({"steps": None, "epochs": math.nan}, "--epochs"),
        ({"adjacency": "swap"}, "adjacency 'swap'"),
        ({"accountant": "gdp"}, "accountant 'gdp'"),
        ({"allocation": "even"}, "allocation 'even'"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError) as caught:
        settings(**changes)
    assert caught.value.place == place and caught.value.remedy


def test_epochs_are_counted_as_they_read() -> None:
    def steps(epochs: float, batch: int, size: int) -> int:
        return settings(steps=None, epochs=epochs, batch_size=batch, dataset_size=size).total_steps

    assert steps(0.1, 10, 1000) == 10
    assert steps(3, 64, 1000) == 47
    assert steps(1e-9, 1, 10) == 1


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_sampling_rate_is_not_rounded_down(a: int, b: int) -> None:
    rate = settings(batch_size=min(a, b), dataset_size=max(a, b)).sampling_rate
    exact = Fraction(min(a, b), max(a, b))
    assert exact <= Fraction(rate) <= exact * (1 + Fraction(1, 2**51)) and rate <= 1.0


def test_assumptions_say_what_must_be_upheld() -> None:
    said = " ".join(assumptions(settings()))
    for words in (
        "Poisson sample",
        "Shuffling",
        "public batch size 200",
        "projected after each step",
        "this checkpoint only",
        "added or removed",
        "float noise",
    ):
        assert words in said
    assert "Warning" not in said
    assert "Poisson" not in " ".join(assumptions(settings(batch_size=10_000)))
    assert "replaced by another" in " ".join(assumptions(settings(adjacency="replace-one")))
    assert "Warning: delta 0.0001 is not below 1/10000" in " ".join(
        assumptions(settings(delta=1e-4))
    )


def test_result_is_ready_for_json() -> None:
    for accountant in ("rdp", "pld"):
        result = account(settings(accountant=accountant), CHAIN)
        record = json.loads(json.dumps(result.record(), allow_nan=False))
        assert record["epsilon"] == result.epsilon and record["steps"] == 500
        assert record["layers"][1]["name"] == "second"
        assert record["sampling_rate"] == 0.02 and record["relation"] == "ADD_OR_REMOVE_ONE"
        assert bool(record["orders"]) == (accountant == "rdp") == (record["interval"] is None)
