"""Float32 evaluations in many orders stay within the bounds that the checker has for them."""

from __future__ import annotations

import numpy as np
import pytest
from making import model, node
from proofs import KINDS
from summing import ORDERS, evaluated, numbers

from lipcert.checker import float32
from lipcert.checker.float32 import rounding
from lipcert.checker.importing import network_of
from lipcert.checker.network import Network
from lipcert.checker.proof import Checker
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read

REACHES = (0.0, 1e-7, 1e-4, 0.05)


def near(x: np.ndarray, reach: float, rng: np.random.Generator) -> np.ndarray:
    """A float32 sample within reach, the float32 sample itself where there is no other."""
    step = rng.normal(size=x.shape)
    step *= reach * rng.choice([0.5, 0.99]) / np.linalg.norm(step)
    found = (x + step).astype(np.float32)
    return found if np.linalg.norm(found.astype(float) - x) <= reach else x


def shares(
    network: Network, x: np.ndarray, reach: float, rng: np.random.Generator, tries: int = 8
) -> np.ndarray:
    """Of what the checker says that rounding costs, what evaluations within reach show of it."""
    checker = Checker(network)
    checker.run([])
    logits = numbers(forward(network, rows_of(x))[network.logits])
    best = int(logits[0].argmax())
    cost, off = rounding(network, rows_of(x), checker.known, np.full(1, reach), np.array([best]))
    assert np.isfinite(cost).all() and np.isfinite(off).all()
    found = []
    for k in range(tries):
        point = near(x, reach, rng)
        rows = forward(network, rows_of(point))[network.logits]
        run = evaluated(network, point, rng, ORDERS[k % len(ORDERS)], fused=bool(k % 3 == 0))
        wrong = run[network.logits].astype(float) - numbers(rows)[0]
        slack = 2.0 * float(rows.radius[0])
        assert (np.abs(wrong) <= off + slack).all()
        apart = np.abs(wrong - wrong[best]) if len(wrong) > 1 else np.abs(wrong)
        found.append(np.maximum(apart - slack, 0.0) / cost[0])
    return np.array(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reach", REACHES)
def test_no_order_goes_beyond_the_bound(kind: str, reach: float) -> None:
    worst = 0.0
    for seed in range(4):
        rng = np.random.default_rng([seed, *kind.encode()])
        network = network_of(read(KINDS[kind](rng), None))
        x = (3.0 * rng.normal(size=(1, *network.input_shape[1:]))).astype(np.float32)
        worst = max(worst, float(shares(network, x, reach, rng).max()))
    assert worst <= 1.0
    assert worst > 1e-3 or reach > 1e-3  # a bound that nothing comes near would show nothing


def undecided(kind: str, seed: int, **given: float) -> tuple[Network, np.ndarray]:
    """Hidden neurons that are all just above zero at the sample, by the rounding of a bias."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, 30)).astype(np.float32)
    first, second = rng.normal(size=(30, 12)), rng.normal(size=(12, 4))
    first, second = first.astype(np.float32), second.astype(np.float32)
    bias = -(x.astype(float) @ first.astype(float))[0]
    above = np.nextafter(bias.astype(np.float32), np.float32(np.inf))
    weights = {"a": first, "b": above, "c": second}
    nodes = [
        node("Gemm", ["x", "a", "b"], ["v"]),
        node(kind, ["v"], ["h"], **given),
        node("MatMul", ["h", "c"], ["y"]),
    ]
    return network_of(read(model(nodes, weights, ["n", 30]), None)), x


KINKS = (("Relu", {}), ("LeakyRelu", {"alpha": 0.25}), ("LeakyRelu", {"alpha": -2.0}), ("Abs", {}))


@pytest.mark.parametrize(("kind", "given"), KINKS)
@pytest.mark.parametrize("reach", [0.0, 1e-6, 1e-5])
def test_neurons_that_rounding_decides(kind: str, given: dict[str, float], reach: float) -> None:
    worst = 0.0
    for seed in range(6):
        network, x = undecided(kind, seed, **given)
        rng = np.random.default_rng([seed, 1])
        worst = max(worst, float(shares(network, x, reach, rng, 12).max()))
    assert 0.01 < worst <= 1.0


def test_neurons_taken_for_decided_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above notice slopes of the sample alone, where float32 may be beyond a kink."""
    slopes = float32.slopes
    monkeypatch.setattr(float32, "slopes", lambda m, low, high: slopes(m, high, high))
    with pytest.raises(AssertionError):
        for seed in range(6):
            network, x = undecided("LeakyRelu", seed, alpha=-1000.0)
            assert shares(network, x, 0.0, np.random.default_rng(seed), 12).max() <= 1.0
