"""How far a float32 evaluation of a model can be from real arithmetic, near a sample.

For every IEEE-754 float32 evaluation, node by node, in any order of summation, with or without
fused multiply-add.  A sum of n products with partial sums of at most P is off by at most
``γ_n P + 2u Σ|w||x|``, u = 2^-24, ``γ_n = nu/(1 − nu)``, and by n times the smallest number where
it underflows (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2); over all
orders ``P = (Σ|w||x| + |Σwx|)/2``, the sum of the terms of one sign.

Each value's own rounding reaches the logits through the maps that follow it, which are nearly
linear near a sample: where all slopes of a nonlinearity between real and float32 values are in
``[c − s, c + s]`` it is the factor c, but for s times how far these values are apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Rows, add, length, mul
from .floating import (
    LEAST,
    Array,
    Places,
    dot,
    heights,
    loud,
    scattered,
    slopes,
    through,
    times,
)
from .maps import Linear
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
RIVALS = 16
"""How many classes of each sample, the nearest, have rounding followed back from them."""
CHUNK = 1 << 22
"""Elements of one value's rows followed back at once."""
MOST = 1 << 23
"""Elements of all values looked at together."""


Back = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class Near:
    """A value around samples: each ``(N, elements)`` or ``(N,)``, bounds rounded upward.

    Parameters
    ----------
    centre : the value of the samples, but for what ``moved`` has room for.
    moved : how far from there real arithmetic takes it within reach; ``travel (N,)`` in l2.
    wrong : how far float32 is from real arithmetic; ``distance (N,)`` in l2.
    own : the part of it that the making of this value adds to a linear map of what is wrong before.
    """

    centre: Array
    moved: Array
    travel: Array
    wrong: Array
    distance: Array
    own: Array


@dataclass
class Surroundings:
    """What is known of every value within ``reach (N,)`` of samples.

    ``prefix`` bounds ``‖Δvalue‖/‖Δx‖`` in real arithmetic; ``lost (N,)`` tells where a value may
    overflow; ``back`` takes rows ``(N, R, elements)`` back through what a value is made of, made
    linear, and tells how far in l2 float64 took them from the truth.
    """

    network: Network
    prefix: dict[str, float]
    reach: Array
    lost: NDArray[np.bool_]
    near: dict[str, Near] = field(default_factory=dict)
    back: dict[str, list[tuple[str, Back]]] = field(default_factory=dict)

    def look(self, values: dict[str, Rows]) -> None:
        """Take in all values of the samples, in the order in which they are made."""
        for name, rows in values.items():
            centre = np.ldexp(rows.mantissa.reshape(len(self.reach), -1) * 1.0, rows.exponent)
            off = add(np.abs(centre) * 2.0**-50, rows.radius[:, None], LEAST)
            most, zero = mul(self.prefix[name], self.reach), np.zeros_like(centre)
            maker = self.network.makers.get(name)
            if isinstance(maker, Affine):
                found = self._sum(name, maker, add(np.abs(centre), off))
            elif maker is not None:
                made = self._bent if maker.windows is None else self._chosen
                found = made(name, maker)
            else:
                found = zero + most[:, None], zero, zero[:, 0], zero
            moved = add(np.minimum(found[0], most[:, None]), off)
            self.near[name] = Near(centre, moved, add(most, length(off)), *found[1:])

    def _sum(self, name: str, maker: Affine, size: Array) -> tuple[Array, Array, Array, Array]:
        """How far a sum moves, how far it is wrong, that in l2, and what it adds to that."""
        self.back[name] = [(source, partial(through, maps)) for source, maps in maker.summands]
        carried = [self._carried(source, maps) for source, maps in maker.summands]
        moved, wrong, most = (np.asarray(add(*(part[k] for part in carried))) for k in range(3))
        distance = np.minimum(add(*(part[3] for part in carried)), length(wrong))
        if maker.is_move:
            return moved, wrong, distance, np.zeros_like(wrong)
        own = self._rounding(name, maker, most, add(size, moved, wrong))
        return moved, add(wrong, own), add(distance, length(own)), own

    def _carried(self, source: str, maps: tuple[Linear, ...]) -> tuple[Array, Array, Array, Array]:
        """Of one summand: how far it moves, how far it is wrong, sums of its terms' sizes in
        float32; and how far it is wrong in l2."""
        near = self.near[source]
        moved, wrong, size, distance = near.moved, near.wrong, np.abs(near.centre), near.distance
        for one in maps:
            parts = loud(one, np.concatenate([moved, wrong, size]))
            moved, wrong, size = np.split(parts, 3)
            distance = mul(distance, one.norm)
        if maps:
            rows = heights(maps)
            moved = np.minimum(moved, mul(near.travel[:, None], rows))
            wrong = np.minimum(wrong, mul(near.distance[:, None], rows))
        return moved, wrong, add(size, moved, wrong), distance

    def _rounding(self, name: str, maker: Affine, size: Array, result: Array) -> Array:
        """What a float32 sum is off by, whose terms are of ``size`` together."""
        count = len(maker.summands) + 4 + maker.operations
        count += sum(one.size.terms[0] + 2 for _, maps in maker.summands for one in maps)
        if count > MOST_TERMS:
            raise CheckError(f"the value {name!r} adds up too many products")
        if maker.computed_loudness is not None:
            size = add(size, maker.computed_loudness)
        elif maker.bias is not None:
            bias = np.ldexp(np.abs(maker.bias.mantissa.reshape(1, -1) * 1.0), maker.bias.exponent)
            size = add(size, mul(bias, 1.0 + 2.0**-50), maker.bias.radius)
        gamma = mul(count * UNIT, 1.0 / (1.0 - count * UNIT), 1.0 + 2.0**-40)
        if not maker.operations:
            self._limit(mul(size, count))  # a mean may be divided after adding up
            half = mul(0.5, gamma, add(size, result))
            return np.asarray(add(half, mul(8.0 * UNIT, size), mul(count, SMALLEST)))
        for source, _ in maker.summands:  # factors of one operation are below 2^40, summands 2^60
            self._limit(add(mul(self._size(source), 2.0**42), 2.0**102))
        self._limit(add(mul(size, 2.0**42), 2.0**102))
        return np.asarray(add(mul(gamma, size), mul(count, GROWN)))

    def _size(self, name: str) -> Array:
        near = self.near[name]
        return np.asarray(add(np.abs(near.centre), near.moved, near.wrong))

    def _limit(self, size: Array) -> None:
        self.lost |= ~(size < LARGEST).all(1)

    def _bent(self, name: str, maker: Stage) -> tuple[Array, Array, Array, Array]:
        """The same of a nonlinearity that acts element by element."""
        near, own = self.near[maker.source], np.zeros_like(self.near[maker.source].wrong)
        reach = add(near.moved, near.wrong)
        least, most = slopes(maker, -add(-near.centre, reach), add(near.centre, reach))
        factor = (least + most) * 0.5
        spread = np.maximum(add(most, -factor), add(factor, -least))
        steep = np.maximum(np.abs(least), np.abs(most))
        self._bend(name, maker, partial(times, factor))
        if maker.kind in ("Sigmoid", "Tanh"):
            own = own + CURVE
        elif maker.kind == "LeakyRelu":
            size = self._size(maker.source)
            own = add(mul(2.0 * UNIT, abs(maker.below or 0.0), size), SMALLEST)
            self._limit(mul(size, maker.constant))
        wrong = mul(steep, near.wrong)
        distance = np.minimum(mul(maker.constant, near.distance), length(wrong))
        left = add(own, mul(spread, near.wrong))
        return mul(steep, near.moved), add(wrong, own), add(distance, length(own)), left

    def _chosen(self, name: str, maker: Stage) -> tuple[Array, Array, Array, Array]:
        """The same of maxima: the sample's largest element, unless others can be larger."""
        near, windows = self.near[maker.source], maker.windows
        assert windows is not None
        place = np.maximum(windows, 0)
        read = np.where(windows >= 0, maker.signs * near.centre[:, place], -np.inf)
        reach = add(near.moved, near.wrong)[:, place]
        low = -add(-read, reach).min(-1, keepdims=True)
        able = (windows >= 0) & ~(add(read, reach) < low)
        winner = place[np.arange(len(place)), read.argmax(-1)]
        self._bend(name, maker, partial(scattered, winner, near.centre.shape[1]))
        moved, wrong = (
            np.where(able, part[:, place], 0.0).max(-1) for part in (near.moved, near.wrong)
        )
        apart = add(wrong, np.take_along_axis(near.wrong, winner, 1))
        distance = np.minimum(mul(maker.constant, near.distance), length(wrong))
        return moved, wrong, distance, np.where(able.sum(-1) == 1, 0.0, apart)

    def followed(self, rows: Array) -> Array:
        """Bounds ``(N, R)`` of what rounding does to sums ``rows (N, R, logits)`` of logits.

        The rows of each value are what those of later values, taken back through linear maps, give;
        what float64 loses on the way costs as much as its length times what is wrong.
        """
        network, found = self.network, np.zeros(rows.shape[:2])
        least = np.full_like(found, np.inf)
        held = {network.logits: (rows, found)}
        for name in reversed(list(self.near)):
            if name not in held:
                continue
            rest = [
                mul(add(length(part), lost), self.near[value].distance[:, None])
                for value, (part, lost) in held.items()
            ]
            least = np.fmin(least, add(found, *rest))  # in l2, not followed any farther
            here, off = held.pop(name)
            near = self.near[name]
            off = mul(off, near.distance[:, None])
            found = add(found, dot(np.abs(here), near.own), off)
            for source, back in self.back.get(name, ()):
                if not self.near[source].wrong.any():  # the input, for one
                    continue
                part, lost = back(here)
                if source in held:
                    part = held[source][0] + part
                    lost = add(held[source][1], lost, mul(2.0**-52, length(part)))
                held[source] = part, lost
        return np.fmin(least, found)

    def _bend(self, name: str, maker: Stage, linear: Callable[[Array], Array]) -> None:
        """Take rows back through a nonlinearity by a linear map; a number of the result is a sum of
        so few that rounding stays far below what is allowed here."""

        def back(rows: Array) -> tuple[Array, Array]:
            lost = mul((rows.shape[-1] + 8) * 2.0**-51, maker.constant, length(rows))
            return linear(rows), lost

        self.back[name] = [(maker.source, back)]


def rounding(
    network: Network, x: Rows, prefix: dict[str, float], reach: Array, best: Places
) -> tuple[Array, Array]:
    """How far float32 takes the logits of samples from real arithmetic, rounded upward.

    Parameters
    ----------
    x : samples; ``reach (N,)`` how far perturbations go; ``best (N,)`` the samples' classes.
    prefix : bounds of ``‖Δvalue‖/‖Δx‖`` in real arithmetic, of every value up to the logits.

    Returns bounds ``(N, K)`` of how much closer each logit gets to that of the class, or one logit
    to zero, and bounds ``(N,)`` of how far any logit is off; infinite where a value may overflow,
    and beyond FARTHEST.  Raises CheckError where the network is beyond that.
    """
    if network.beyond:
        raise CheckError(f"float32 is not covered: {network.beyond}")
    step = max(1, MOST // sum(network.sizes.values()))
    found = []
    for start in range(0, len(reach), step):
        some = slice(start, start + step)
        rows = Rows(x.mantissa[some], x.exponent, x.radius[some])
        with np.errstate(all="ignore"):
            found.append(_rounding(network, rows, prefix, reach[some], best[some]))
    return np.concatenate([cost for cost, _ in found]), np.concatenate([off for _, off in found])


def _rounding(
    network: Network, x: Rows, prefix: dict[str, float], reach: Array, best: Places
) -> tuple[Array, Array]:
    lost = ~(reach <= FARTHEST)
    around = Surroundings(network, prefix, np.where(lost, FARTHEST, reach), lost)
    around.look(forward(network, x))
    cost = _closer(around, best)
    if network.output != network.logits:
        cost = add(cost, DECIDED)
    lost = around.lost | ~np.isfinite(cost).all(1)
    off = around.near[network.logits].wrong.max(1)
    return np.where(lost[:, None], np.inf, cost), np.where(lost, np.inf, off)


def _closer(around: Surroundings, best: Places) -> Array:
    """How much closer logits get ``(N, K)``."""
    near, each = around.near[around.network.logits], np.arange(len(best))
    if near.wrong.shape[1] == 1:
        return np.asarray(np.fmin(near.wrong, around.followed(np.ones((len(best), 1, 1)))))
    cost: Array = add(near.wrong, near.wrong[each, best][:, None])
    ahead = near.centre[each, best][:, None] - near.centre
    ahead[each, best] = np.inf
    rivals = np.argsort(ahead, 1)[:, : min(RIVALS, len(ahead[0]) - 1)]
    step = max(1, CHUNK // (len(best) * max(around.network.sizes.values())))
    for some in (rivals[:, start : start + step] for start in range(0, rivals.shape[1], step)):
        rows = np.zeros((*some.shape, len(ahead[0])))
        rows[each, :, best] = 1.0
        np.put_along_axis(rows, some[..., None], -1.0, 2)
        found = np.fmin(np.take_along_axis(cost, some, 1), around.followed(rows))
        np.put_along_axis(cost, some, found, 1)
    return cost
