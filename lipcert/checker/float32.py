"""How far a float32 evaluation of a model can be from real arithmetic, near a sample.

For every IEEE-754 float32 evaluation, node by node, in any order of summation, with or without
fused multiply-add: a sum of n products is off by at most ``γ_n Σ|w||x|`` with
``γ_n = nu/(1 − nu)``, u = 2^-24, and by n times the smallest number where it underflows (Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).  Each value's own rounding then
moves the logits by at most the constant of all that follows it.

Bounds are pairs (a, b): ``a + b·r`` for all float32 inputs within r of the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Rows, Weight, add, lengths, mul, root
from .maps import Dense, Gather, Map, Scale
from .network import Affine, Network, Stage
from .samples import forward

UNIT = 2.0**-24
SMALLEST = 2.0**-148
"""More than what one operation that underflows is off by."""
LARGEST = 2.0**126
"""Values below it do not overflow."""
FARTHEST = 2.0**40
"""Radii are cut there."""
CURVE = 2.0**-20
"""What one sigmoid or tanh of a runtime is taken to be off by at most: no standard fixes it."""
DECIDED = 2.0**-16
"""How far apart two logits must be for a softmax or sigmoid behind them to keep their order."""

Bound = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Surroundings:
    """What is known around values: ``prefix`` bounds ``‖Δvalue‖/‖Δx‖``, ``suffix``
    ``‖Δlogits‖/‖Δvalue‖``."""

    prefix: dict[str, float]
    suffix: dict[str, float]


def rounding(network: Network, x: Rows, known: Surroundings) -> Bound:
    """Bounds (a, b), each ``(N,)``, of the l2 distance of float32 logits from the real ones.

    Raises CheckError where a value could overflow, or the model computes one of its constants.
    """
    if network.computed:
        raise CheckError(f"the constant {network.computed!r} is computed in the model")
    count = len(x.mantissa)
    zero = np.zeros(count)
    values = forward(network, x)
    errors: dict[str, Bound] = {network.input: (zero, zero)}
    total: Bound = (zero, zero)
    for name, maker in network.makers.items():
        own = _own(network, name, maker, values, errors, known)
        carried = [(mul(gain, a), mul(gain, b)) for gain, (a, b) in _carried(maker, errors)]
        errors[name] = _sum(own, *carried)
        part = known.suffix[name]
        total = _sum(total, (mul(part, own[0]), mul(part, own[1])))
        if name == network.logits:
            break
    if network.output != network.logits:
        total = _sum(total, (zero + DECIDED, zero))
    return total


def _sum(*bounds: Bound) -> Bound:
    return add(*(a for a, _ in bounds)), add(*(b for _, b in bounds))


def _carried(maker: Affine | Stage, errors: dict[str, Bound]) -> list[tuple[float, Bound]]:
    if isinstance(maker, Stage):
        return [(maker.constant, errors[maker.source])]
    found = []
    for source, maps in maker.summands:
        gain = 1.0
        for one in maps:
            gain = float(mul(gain, one.gain))
        found.append((gain, errors[source]))
    return found


def _own(
    network: Network,
    name: str,
    maker: Affine | Stage,
    values: dict[str, Rows],
    errors: dict[str, Bound],
    known: Surroundings,
) -> Bound:
    """What computing one value adds of its own."""
    zero = np.zeros(len(values[network.input].mantissa))
    if isinstance(maker, Stage):
        size = math.sqrt(network.sizes[name])
        if maker.kind in ("Sigmoid", "Tanh"):
            return zero + mul(size, CURVE), zero
        if maker.kind != "LeakyRelu":
            return zero, zero
        a, b = _reach(values[maker.source], maker.source, errors, known)
        factor = mul(2.0 * UNIT, abs(maker.parameters[0]))
        return add(mul(factor, a), mul(size, SMALLEST)), mul(factor, b)
    if _is_move(maker):
        return zero, zero
    terms = len(maker.summands) + 4 + maker.operations
    bulk: list[Bound] = []
    parts: list[Rows] = []
    for source, maps in maker.summands:
        rows = values[source]
        magnitude = Rows(np.abs(rows.mantissa), rows.exponent, rows.radius)
        gain = 1.0
        for one in maps:
            terms += _terms(one)
            larger = absolute(one)
            magnitude = larger.push(magnitude)
            gain = float(mul(gain, larger.gain))
        parts.append(magnitude)
        a, b = _around(source, errors, known)
        bulk.append((mul(gain, a), mul(gain, b)))
    for part in parts:
        own = add(lengths(part.mantissa, part.exponent), part.radius)
        bulk.append((own, zero))
    bulk.append((zero + maker.loudness, zero))
    a, b = _sum(*bulk)
    if not bool((add(a, mul(b, FARTHEST)) < LARGEST).all()):
        raise CheckError(f"the value {name!r} may overflow in float32")
    gamma = mul(terms * UNIT, 1.0 / (1.0 - terms * UNIT), 1.0 + 2.0**-40)
    under = mul(terms, SMALLEST, root(float(network.sizes[name])))
    return add(mul(gamma, a), under), mul(gamma, b)


def _is_move(maker: Affine) -> bool:
    maps = [one for _, chain in maker.summands for one in chain]
    alone = len(maker.summands) == 1 or _apart(maker)
    return alone and maker.bias is None and all(isinstance(one, Gather) for one in maps)


def _apart(maker: Affine) -> bool:
    chains = [chain for _, chain in maker.summands]
    if any(len(chain) != 1 or not isinstance(chain[0], Gather) for chain in chains):
        return False
    written = [chain[0].index >= 0 for chain in chains if isinstance(chain[0], Gather)]
    return bool((np.sum(written, axis=0) <= 1).all())


def _around(source: str, errors: dict[str, Bound], known: Surroundings) -> Bound:
    """How far a float32 value can be from that of the sample in real arithmetic."""
    a, b = errors[source]
    return a, add(b, known.prefix[source])


def _reach(rows: Rows, source: str, errors: dict[str, Bound], known: Surroundings) -> Bound:
    a, b = _around(source, errors, known)
    return add(lengths(rows.mantissa, rows.exponent), rows.radius, a), b


def _terms(one: Map) -> int:
    """Roundings on the way to one element of the result, its inputs exact."""
    if isinstance(one, Gather):
        return 0
    if isinstance(one, Scale):
        return 2
    if isinstance(one, Dense):
        return int(one.weight.mantissa.shape[1]) + 2
    return math.prod(one.weight.mantissa.shape[1:]) + 2


@cache
def absolute(one: Map) -> Map:
    """The map with the absolute values of its coefficients."""
    if isinstance(one, Gather):
        return one
    own = one.weight
    return replace(one, weight=Weight(np.abs(own.mantissa), own.exponent, own.radius))
