"""Rounding planted in every value, as large as it may be there, stays within the checker's bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from making import f32, model, node
from proofs import KINDS
from summing import numbers

from lipcert.checker import float32
from lipcert.checker.float32 import CURVE, Surroundings, rounding
from lipcert.checker.importing import network_of
from lipcert.checker.maps import identity
from lipcert.checker.network import Affine, Network, Stage
from lipcert.checker.proof import Checker
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read

CURVES = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Abs": np.abs,
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}
SLACK = 1e-9
"""What float64 is off by here, relatively."""

Matrices = Mapping[str, list[tuple[str, np.ndarray]]]


def matrices(network: Network) -> Matrices:
    """The matrices of each sum, by what they are of."""
    found = {}
    for name, maker in network.makers.items():
        if not isinstance(maker, Affine):
            continue
        found[name] = []
        for source, maps in maker.summands:
            rows = identity(network.sizes[name])
            for one in reversed(maps):
                rows = one.pull(rows)
            found[name].append((source, numbers(rows)))
    return found


def bent(maker: Stage, x: np.ndarray) -> np.ndarray:
    if maker.kind in CURVES:
        return np.asarray(CURVES[maker.kind](x))
    if maker.kind == "LeakyRelu":
        return np.where(x >= 0.0, x, maker.below * x)
    if maker.kind == "MaxPool":
        assert maker.windows is not None
        return np.where(maker.windows >= 0, x[np.maximum(maker.windows, 0)], -np.inf).max(-1)
    assert maker.kind == "Sort"
    first, second = np.split(x, 2)
    return np.concatenate([np.maximum(first, second), np.minimum(first, second)])


def run(
    network: Network, by: Matrices, x: np.ndarray, planted: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """All values up to the logits in float64, with what is planted added to each."""
    values = {network.input: x}
    for name, maker in network.makers.items():
        if network.logits in values:
            break
        if isinstance(maker, Stage):
            made = bent(maker, values[maker.source])
        else:
            made = np.asarray(sum(matrix @ values[source] for source, matrix in by[name]))
            if maker.bias is not None:
                own = maker.bias.mantissa.reshape(-1).astype(float)
                made = made + np.ldexp(own, maker.bias.exponent)
        values[name] = made + planted.get(name, 0.0)
    return values


def share(content: bytes, rng: np.random.Generator, reach: float) -> float:
    """Of the cost of the logits, the most that planted rounding makes of it."""
    network = network_of(read(content, None))
    checker, by = Checker(network), matrices(network)
    checker.run([])
    x = rng.normal(size=(1, *network.input_shape[1:]))
    held = forward(network, rows_of(x))
    best = numbers(held[network.logits])[0].argmax()
    told = network, rows_of(x), checker.known, np.full(1, reach), np.array([best])
    cost = rounding(*told)[0][0]
    assert np.isfinite(cost).all()
    around = Surroundings(network, checker.known, np.full(1, reach), np.zeros(1, dtype=bool))
    around.look(held)
    size = {}
    for name, maker in network.makers.items():
        if name in around.near and isinstance(maker, Affine):
            size[name] = around.near[name].own[0]
        elif name in around.near and maker.kind in ("Sigmoid", "Tanh"):
            size[name] = np.full(network.sizes[name], CURVE)
    worst = 0.0
    for k in range(8):
        step = rng.normal(size=x.size)
        point = x.reshape(-1) + step * (reach * 0.999 / np.linalg.norm(step))
        plain = run(network, by, point, {})
        signs = {name: rng.choice([-1.0, 1.0], len(own)) for name, own in size.items()}
        rival = int(rng.integers(len(cost)))
        if k % 2:  # every sign in turn as it takes the rival nearer
            for name, own in size.items():
                for place in range(min(len(own), 12)):
                    gaps = []
                    for signs[name][place] in (-1.0, 1.0):
                        all_ = {other: signs[other] * size[other] for other in size}
                        out = run(network, by, point, all_)[network.logits]
                        gaps.append(out[best] - out[rival] if len(out) > 1 else out[0])
                    signs[name][place] = -1.0 if gaps[0] < gaps[1] else 1.0
        rounded = run(network, by, point, {name: signs[name] * size[name] for name in size})
        for name, near in around.near.items():
            wrong = np.abs(rounded[name] - plain[name])
            loose = SLACK * (1.0 + np.abs(plain[name]))
            assert (wrong <= near.wrong[0] + loose).all()
            assert (np.abs(plain[name] - near.centre[0]) <= near.moved[0] + loose).all()
        wrong = rounded[network.logits] - plain[network.logits]
        apart = np.abs(wrong - wrong[best]) if len(wrong) > 1 else np.abs(wrong)
        assert (apart <= cost * (1.0 + SLACK) + 1e-12).all()
        worst = max(worst, float((apart / cost).max()))
    return worst


def tied(rng: np.random.Generator) -> bytes:
    """Maxima over equal numbers, and of two equal signals: rounding tells which is the largest."""
    plain, swollen = np.repeat(rng.normal(size=(6, 2)), 4, 1), 100.0 * rng.normal(size=(6, 8))
    swollen[:, ::4] = 0.0  # what cancels has rounding of its own
    weights = {
        "a": f32(np.concatenate([f32(plain), 0.0 * plain]) + np.concatenate([swollen, -swollen])),
        "b": f32(rng.normal(size=(2, 3))),
        "sides": np.array([1, 2, 2, 2]),
    }
    nodes = [
        node("Concat", ["x", "x"], ["w"], axis=1),
        node("MatMul", ["w", "a"], ["v"]),
        node("Reshape", ["v", "sides"], ["i"]),
        node("MaxPool", ["i"], ["m"], kernel_shape=[2, 2]),
        node("Flatten", ["m"], ["f"]),
        node("MatMul", ["f", "b"], ["s"]),
        node("MatMul", ["f", "b"], ["t"]),
        node("Max", ["s", "t"], ["y"]),
    ]
    return model(nodes, weights, [1, 6])


@pytest.mark.parametrize("kind", [*KINDS, "tied"])
@pytest.mark.parametrize(("unit", "reach"), [(2.0**-20, 1e-6), (2.0**-12, 0.0), (2.0**-12, 0.1)])
def test_planted_rounding_stays_within_the_bound(
    kind: str, unit: float, reach: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coarser unit takes values past kinks that float32 rarely reaches."""
    monkeypatch.setattr(float32, "UNIT", unit)
    worst = 0.0
    for seed in (0, 1):
        rng = np.random.default_rng([seed, *kind.encode()])
        worst = max(worst, share((tied if kind == "tied" else KINDS[kind])(rng), rng, reach))
    assert 0.01 < worst <= 1.0 + SLACK


def test_departures_left_out_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above notices winners taken for settled, and slopes of the sample alone."""
    monkeypatch.setattr(float32, "UNIT", 2.0**-12)
    settled, slopes = Surroundings._chosen, float32.slopes

    def chosen(self: Surroundings, name: str, maker: Stage) -> tuple[np.ndarray, ...]:
        *kept, apart = settled(self, name, maker)
        return (*kept, 0.0 * apart)

    with monkeypatch.context() as patch, pytest.raises(AssertionError):
        patch.setattr(Surroundings, "_chosen", chosen)
        for seed in range(6):
            share(tied(np.random.default_rng(seed)), np.random.default_rng(seed), 0.0)
    with monkeypatch.context() as patch, pytest.raises(AssertionError):
        patch.setattr(float32, "slopes", lambda m, low, high: slopes(m, *[(low + high) / 2] * 2))
        for seed in range(6):
            rng = np.random.default_rng(seed)
            share(KINDS["relu"](rng), rng, 0.1)
