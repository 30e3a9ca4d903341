"""How far a float32 evaluation of a model can be from real arithmetic, near a sample.

For every IEEE-754 float32 evaluation, node by node, in any order of summation, with or without
fused multiply-add.  A sum of n products with partial sums of at most P is off by at most
``γ_n P + 2u Σ|w||x|``, u = 2^-24, ``γ_n = nu/(1 − nu)``, and by n times the smallest number where
it underflows (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2); over all
orders ``P = (Σ|w||x| + |Σwx|)/2``, the sum of the terms of one sign.  Each value's own rounding
then moves the logits by at most the constant of all that follows it, and not at all where only
rectifiers read it that are surely off.

Bounds are pairs (a, b): ``a + b·r`` for all float32 inputs within r of the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Rows, Weight, add, lengths, mul, power, root
from .maps import Dense, Gather, Map, Scale, total
from .network import Affine, Network, Stage
from .samples import forward

UNIT = 2.0**-24
SMALLEST = 2.0**-148
"""More than what one operation that underflows is off by."""
GROWN = 2.0**-100
"""The same where a factor below 2^40 may follow inside one operation."""
LARGEST = 2.0**126
"""Values below it do not overflow."""
FARTHEST = 2.0**40
"""No radius is larger."""
MOST_TERMS = 1 << 20
CURVE = 2.0**-20
"""What one sigmoid or tanh of a runtime is taken to be off by at most: no standard fixes it."""
DECIDED = 2.0**-16
"""How far apart two logits must be for a softmax or sigmoid behind them to keep their order."""
NEAR = 1.0 + 2.0**-40

Array = NDArray[np.float64]
Bound = tuple[Array, Array]


@dataclass(frozen=True)
class Surroundings:
    """What is known around values: ``prefix`` bounds ``‖Δvalue‖/‖Δx‖``, ``suffix``
    ``‖Δlogits‖/‖Δvalue‖``."""

    prefix: dict[str, float]
    suffix: dict[str, float]


@dataclass(frozen=True)
class Own:
    """What computing one value adds: ``each`` ``(N, elements)`` of each element, with (a, b) of
    all together beside it; ``size`` bounds the partial sums."""

    bound: Bound
    each: Array | None = None
    size: Bound | None = None

    def norm(self, live: NDArray[np.bool_] | None) -> Bound:
        """Bounds in l2, of the live elements ``(N, elements)`` alone."""
        if self.each is None:
            return self.bound
        counted = self.each if live is None else np.where(live, self.each, 0.0)
        with np.errstate(under="ignore"):
            return add(self.bound[0], _length(counted)), self.bound[1]


def rounding(network: Network, x: Rows, known: Surroundings, reach: Array) -> Bound:
    """Bounds (a, b), each ``(N,)``, of the l2 distance of float32 logits from the real ones.

    They hold for perturbations up to ``reach (N,)``; a is infinite where a value may overflow, and
    beyond FARTHEST.  Raises CheckError where the model computes one of its constants.
    """
    if network.computed:
        raise CheckError(f"the constant {network.computed!r} is computed in the model")
    zero = np.zeros(len(x.mantissa))
    values = forward(network, x)
    errors: dict[str, Bound] = {network.input: (zero, zero)}
    owns: dict[str, Own] = {}
    lost = ~(reach <= FARTHEST)
    reach = np.where(lost, FARTHEST, reach)
    for name, maker in network.makers.items():
        carried = _sum((zero, zero), *_carried(maker, errors))
        own = _own(network, name, maker, values, errors, carried, known)
        if own.size is not None:
            lost |= ~(add(own.size[0], mul(own.size[1], reach)) < LARGEST)
        owns[name], errors[name] = own, _sum(own.norm(None), carried)
        if name == network.logits:
            break
    lives = _live(network, values, errors, known, reach)
    found: Bound = (zero + DECIDED, zero) if network.output != network.logits else (zero, zero)
    for name, own in owns.items():
        part = known.suffix[name]
        if part:
            a, b = own.norm(lives.get(name))
            found = _sum(found, (mul(part, a), mul(part, b)))
    lost |= ~np.isfinite(found[0] + found[1])
    return np.where(lost, np.inf, found[0]), np.where(lost, 0.0, found[1])


def _live(
    network: Network,
    values: dict[str, Rows],
    errors: dict[str, Bound],
    known: Surroundings,
    reach: Array,
) -> dict[str, NDArray[np.bool_]]:
    """The elements ``(N, elements)`` of values that logits may depend on within reach.

    A rectifier hides what is surely below zero, whatever rounding did to it.
    """
    count = len(reach)
    found = {name: np.zeros((count, size), dtype=bool) for name, size in network.sizes.items()}
    found[network.logits][:] = True
    for name in reversed(list(network.makers)):
        maker, live = network.makers[name], found[name]
        if name not in values:  # behind the logits
            continue
        if isinstance(maker, Stage):
            if maker.slopes is None:
                found[maker.source][:] = True
            elif maker.kind == "Relu":
                rows = values[maker.source]
                a, b = _around(maker.source, errors, known)
                off = add(rows.radius, a, mul(b, reach))[:, None]
                v = np.ldexp(rows.mantissa.reshape(count, -1).astype(np.float64), rows.exponent)
                found[maker.source] |= live & ~(add(v, np.abs(v) * 2.0**-50, off) < 0.0)
            else:
                found[maker.source] |= live
            continue
        for source, maps in maker.summands:
            part = live
            for one in reversed(maps):
                part = _pulled(one, part)
            found[source] |= part
    return found


def _pulled(one: Map, live: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The elements that live ones are made of."""
    if isinstance(one, Scale):
        return live
    if isinstance(one, Gather):
        found = np.zeros((len(live), one.in_size), dtype=bool)
        order, starts = one.runs
        if len(order):
            found[:, one.index[order[starts]]] = np.logical_or.reduceat(live[:, order], starts, 1)
        return found
    inner = one.weight.mantissa.shape[1]
    size = one.lead * inner if isinstance(one, Dense) else one.in_channels * math.prod(one.spatial)
    return np.ones((len(live), size), dtype=bool)


def _sum(*bounds: Bound) -> Bound:
    return add(*(a for a, _ in bounds)), add(*(b for _, b in bounds))


def _length(each: Array) -> Array:
    """l2 norms over the last axis, with what float64 loses of a sum of squares."""
    slack = 1.0 + (each.shape[-1] + 8) * 2.0**-51
    found: Array = add(mul(np.sqrt(np.square(each).sum(-1)), slack), 2.0**-480)
    return found


def _carried(maker: Affine | Stage, errors: dict[str, Bound]) -> list[Bound]:
    found = []
    summands = ((maker.source, ()),) if isinstance(maker, Stage) else maker.summands
    for source, maps in summands:
        gain = maker.constant if isinstance(maker, Stage) else 1.0
        for one in maps:
            gain = float(mul(gain, one.gain))
        a, b = errors[source]
        found.append((mul(gain, a), mul(gain, b)))
    return found


def _own(
    network: Network,
    name: str,
    maker: Affine | Stage,
    values: dict[str, Rows],
    errors: dict[str, Bound],
    carried: Bound,
    known: Surroundings,
) -> Own:
    """What computing one value adds of its own."""
    zero = np.zeros(len(values[network.input].mantissa))
    if isinstance(maker, Stage):
        size = math.sqrt(network.sizes[name]) * NEAR
        if maker.kind in ("Sigmoid", "Tanh"):
            return Own((zero + mul(size, CURVE), zero))
        if maker.kind != "LeakyRelu":
            return Own((zero, zero))
        a, b = _reach(values[maker.source], maker.source, errors, known)
        factor = mul(2.0 * UNIT, abs(maker.parameters[0]))
        largest = mul(maker.constant, a), mul(maker.constant, b)
        return Own((add(mul(factor, a), mul(size, SMALLEST)), mul(factor, b)), None, largest)
    if _is_move(maker):
        return Own((zero, zero))
    terms = len(maker.summands) + 4 + maker.operations
    around: list[Bound] = []
    parts: list[Rows] = []
    for source, maps in maker.summands:
        rows = values[source]
        part = Rows(np.abs(rows.mantissa), rows.exponent, rows.radius)
        gain = 1.0
        for one in maps:
            terms += _terms(one)
            larger = absolute(one)
            part = larger.push(part)
            gain = float(mul(gain, larger.gain))
        parts.append(part.reshaped(-1))
        a, b = _around(source, errors, known)
        around.append((mul(gain, a), mul(gain, b)))
    loud, vague = _elements(total(parts))
    heard = zero
    if maker.computed_loudness is not None:
        heard = zero + maker.computed_loudness
    elif maker.bias is not None:
        bias = Rows(maker.bias.mantissa.reshape(1, -1), maker.bias.exponent, zero[:1])
        loud, heard = add(loud, _elements(bias)[0]), zero + maker.bias.radius
    # all products and summands, in l2: at the sample, and what moves them
    rest = _sum((vague, zero), (heard, zero), *around)
    if terms > MOST_TERMS:
        raise CheckError(f"the value {name!r} adds up too many products")
    gamma = mul(terms * UNIT, 1.0 / (1.0 - terms * UNIT), NEAR)
    least = GROWN if maker.operations else SMALLEST
    under = mul(terms, least, root(float(network.sizes[name])))
    whole = _sum((_length(loud), zero), rest)
    if maker.operations:  # the factors of one operation are below 2^40, its summands below 2^60
        reached = [_reach(values[source], source, errors, known) for source, _ in maker.summands]
        a, b = _sum(whole, *reached)
        largest = add(mul(a, 2.0**42), 2.0**102), mul(b, 2.0**42)
        return Own((add(mul(gamma, whole[0]), under), mul(gamma, whole[1])), None, largest)
    near, off = _elements(values[name])
    moved = _sum(rest, (off, zero), carried, (zero, zero + known.prefix[name]))
    each = add(mul(0.5, gamma, add(loud, near)), mul(8.0 * UNIT, loud))
    half, few = mul(0.5, gamma), 8.0 * UNIT
    aside = (
        add(mul(half, moved[0]), mul(few, rest[0]), under),
        add(mul(half, moved[1]), mul(few, rest[1])),
    )
    return Own(aside, each, whole)


def _elements(rows: Rows) -> tuple[Array, Array]:
    """Absolute values ``(N, elements)`` rounded upward, and the radius ``(N,)`` left out."""
    flat = np.abs(rows.mantissa.reshape(len(rows.mantissa), -1).astype(np.float64))
    with np.errstate(over="ignore"):
        return mul(flat, power(rows.exponent)), rows.radius


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
