"""The matrix inequality of a claim: rows of values over columns of signals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .claims import Claim
from .exact import CheckError, Integers, Rows, add, mul, norm, root, up, up_ratio
from .maps import check_rows, identity, scaled, total
from .network import Affine, Network, Stage, sources
from .positive import PLACES, Refuted, Scaled, scaled_rows

Key = tuple[str, bool]
"""A signal, or with True the remainder of a nonlinearity."""
Weights = tuple[Integers, Integers]
"""Positive numbers ``mantissa·2^exponent``."""
Block = tuple[dict[Key, Rows], Weights]
"""Rows, by the columns that they are over, and a weight for each."""


@dataclass(frozen=True)
class Matrices:
    """Makes the matrices of claims about a network.

    Parameters
    ----------
    known : bounds of ``‖Δvalue‖/‖Δx‖`` proved so far.
    """

    network: Network
    known: Mapping[str, float]

    def of(self, claim: Claim) -> tuple[Scaled, list[int]]:
        """``K`` and the squares of ``diag(λg)``: rows of targets, columns of signals.

        With ``Δv_k = Σ_j H_kj Δu_j`` for the pre-activations of weighed stages and the target,
        ``‖Δu_j‖ ≤ d_j``, shares τ_j and weights g: if ``diag(g²) − Σ_j H_j w_j H_jᵀ ⪰ 0`` with
        w = d²/τ for signals, g² for the stages' own remainders and g = constant for the target,
        then ``‖Δtarget‖²/constant² + Σ|Δv_k|²/g_k² ≤ Σ τ + Σ|ΔR_k|²/g_k²``, and |ΔR_k| ≤ |Δv_k|
        (Fazlyab et al. 2019 after a loop transformation; Schur complement).
        """
        constant = -up_ratio(-claim.constant)
        weights = {stage: (mantissa, exponent) for stage, mantissa, exponent in claim.stages}
        images = self.images(claim)
        if images is not None:
            key = claim.columns[0].signal, False
            own = alike(constant, len(images.mantissa))
            return _stacked([({key: images}, own)], self._columns(claim, weights))
        blocks: list[Block] = []
        for stage, own in weights.items():
            maker = self.network.makers.get(stage)
            if not isinstance(maker, Stage):
                raise Refuted(f"{claim.what}: {stage!r} is no nonlinearity")
            size = self.network.sizes[maker.source]
            _check_weights(claim, maker, size, own)
            blocks.append((self.pull(claim, maker.source, identity(size), weights), own))
        goal = self._goal(claim)
        pulled = self.pull(claim, claim.target, goal, weights)
        columns = self._columns(claim, weights)
        blocks.append((pulled, alike(constant, len(goal.mantissa))))
        return _stacked(blocks, columns)

    def images(self, claim: Claim) -> Rows | None:
        """The images ``(n, m)`` of the unit vectors of a claim's only signal, where nothing but
        linear maps lies between it and a target that is larger; None otherwise."""
        target, network = claim.target, self.network
        if claim.pair is not None or claim.stages or len(claim.columns) != 1:
            return None
        signal, sizes = claim.columns[0].signal, network.sizes
        if claim.columns[0].remainder or not sizes.get(signal, math.inf) < sizes[target]:
            return None
        check_rows(sizes[signal], sizes[target])
        before, found = network.before(target), {signal: identity(sizes[signal])}
        for name, maker in network.makers.items():
            linear = name in before and sources(maker) <= found.keys()
            if isinstance(maker, Affine) and linear and name != signal:
                found[name] = total(maker.pushed(found))
        return found.get(target)

    def _goal(self, claim: Claim) -> Rows:
        size = self.network.sizes[claim.target]
        if claim.pair is None:
            return identity(size)
        i, j = claim.pair
        if not (0 <= i < size and 0 <= j < size and i != j):
            raise Refuted(f"{claim.what}: there are no such outputs")
        row = np.zeros((1, size), dtype=np.int64)
        row[0, i], row[0, j] = 1, -1
        return Rows(row, 0, np.zeros(1))

    def pull(
        self,
        claim: Claim,
        value: str,
        rows: Rows,
        weights: Mapping[str, Any],
    ) -> dict[Key, Rows]:
        """Rows on a value pulled back to the claim's signals."""
        said = {(column.signal, column.remainder) for column in claim.columns}
        start = self.network.input
        found: dict[Key, Rows] = {}
        waiting: dict[str, list[Rows]] = {value: [rows]}
        for name in reversed(self.network.makers):
            if name not in waiting:
                continue
            own = total(waiting.pop(name))
            if (name, False) in said and name != value:
                found[name, False] = own
                continue
            maker = self.network.makers[name]
            if isinstance(maker, Affine):
                for source, maps in maker.summands:
                    check_rows(len(own.mantissa), self.network.sizes[source])
                    part = own
                    for one in reversed(maps):
                        part = one.pull(part)
                    waiting.setdefault(source, []).append(part)
                continue
            if (name, True) not in said and name not in weights:
                raise Refuted(f"{claim.what}: nothing is said of {name!r}")
            c, r = maker.middle if maker.slopes is not None else (0.0, maker.constant)
            found[name, True] = scaled(own, r)
            if c:
                waiting.setdefault(maker.source, []).append(scaled(own, c))
        if start in waiting:
            if (start, False) not in said:
                raise Refuted(f"{claim.what}: the input {start!r} has no share")
            found[start, False] = total(waiting[start])
        return found

    def _columns(self, claim: Claim, weights: Mapping[str, Weights]) -> dict[Key, Weights]:
        """Weights of the columns: ``g ≥ d/√τ`` of bounded signals, g of weighed remainders."""
        found: dict[Key, Weights] = {}
        for column in claim.columns:
            known = column.signal
            if column.remainder:
                maker = self.network.makers.get(column.signal)
                if not isinstance(maker, Stage) or column.signal in weights:
                    raise Refuted(f"{claim.what}: {known!r} has no remainder to bound")
                known = maker.source
            if known not in self.known:
                raise Refuted(f"{claim.what}: nothing is known of {known!r} yet")
            size = self.known[known]
            near = root(mul(size, size, up_ratio(1 / column.share)))
            found[column.signal, column.remainder] = alike(max(float(near), 1e-300), 1)
        for stage, (mantissa, exponent) in weights.items():
            maker = self.network.makers[stage]
            one = isinstance(maker, Stage) and maker.slopes is None  # one for all
            found[stage, True] = (mantissa[:1], exponent[:1]) if one else (mantissa, exponent)
        return found


def alike(value: float, count: int) -> Weights:
    """The same positive weight several times."""
    if not 0.0 < value < math.inf:
        raise CheckError("a bound is beyond the range of float64")
    fraction, exponent = math.frexp(value)
    mantissa = int(math.ldexp(fraction, 53))
    return np.full(count, mantissa), np.full(count, exponent - 53)


def _check_weights(claim: Claim, maker: Stage, size: int, weights: Weights) -> None:
    mantissa, exponent = weights
    if mantissa.shape != (size,) or exponent.shape != (size,) or not (mantissa > 0).all():
        raise Refuted(f"{claim.what}: {maker.source!r} needs {size} positive weights")
    if int(mantissa.max()) >= 1 << 32 or not (np.abs(exponent) < 1 << 12).all():
        raise Refuted(f"{claim.what}: a weight is out of range")
    same = len(np.unique(mantissa)) == 1 and len(np.unique(exponent)) == 1
    if maker.slopes is None and not same:
        raise Refuted(f"{claim.what}: {maker.kind} needs one weight for all its elements")


def _stacked(blocks: list[Block], columns: Mapping[Key, Weights]) -> tuple[Scaled, list[int]]:
    """All blocks of rows over all columns, each row scaled to about 1 by a power of two."""
    widths = {key: rows.mantissa.shape[1] for pulled, _ in blocks for key, rows in pulled.items()}
    if not widths:
        raise Refuted("a claim about what does not change")
    check_rows(sum(len(mantissa) for _, (mantissa, _) in blocks), sum(widths.values()))
    bands, squares, error = [], [], 0.0
    for pulled, (mantissa, exponent) in blocks:
        pairs = list(zip(mantissa.tolist(), exponent.tolist(), strict=True))
        lift = np.array([-(m.bit_length() + e) for m, e in pairs])
        band = {key: np.zeros((len(lift), width), dtype=np.int64) for key, width in widths.items()}
        for key, rows in pulled.items():
            factor, own = columns[key]
            band[key], cut = scaled_rows(rows.mantissa, lift + rows.exponent, factor, own)
            with np.errstate(over="ignore", under="ignore"):
                largest = float(up(np.ldexp(factor.astype(np.float64), own).max()))
                radii = mul(rows.radius, up(np.ldexp(1.0, lift)), largest)
            error = float(add(error, norm(radii), cut))
        bands.append(np.concatenate(list(band.values()), 1))
        for (m, e), by in zip(pairs, lift.tolist(), strict=True):
            place = 2 * (e + by + PLACES)
            squares.append((m * m << place) if place >= 0 else (m * m >> -place))
    return Scaled(np.concatenate(bands, 0), error), squares
