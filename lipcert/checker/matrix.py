"""The matrix inequality of a claim: rows of values over columns of signals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .claims import Claim
from .exact import CheckError, Floats, Integers, Rows, add, mul, norm, root, up, up_ratio
from .maps import check_rows, identity, scaled, total
from .network import Affine, Network, Stage, sources
from .positive import PLACES, Refuted, Scaled, scaled_rows

Key = tuple[str, bool]
"""A signal, or with True the remainder of a nonlinearity."""
Block = tuple[dict[Key, Rows], Floats]
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
        weights = {stage: self._weights(claim, stage, *own) for stage, *own in claim.stages}
        images = self.images(claim)
        if images is not None:
            key = claim.columns[0].signal, False
            own = np.full(len(images.mantissa), constant)
            return _stacked([({key: images}, own)], self._columns(claim, weights))
        blocks: list[Block] = []
        for stage, own in weights.items():
            (source,) = sources(self.network.makers[stage])
            blocks.append((self.pull(claim, source, identity(len(own)), weights), own))
        goal = self._goal(claim)
        pulled = self.pull(claim, claim.target, goal, weights)
        columns = self._columns(claim, weights)
        blocks.append((pulled, np.full(len(goal.mantissa), constant)))
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

    def _weights(self, claim: Claim, stage: str, mantissa: Integers, exponent: Integers) -> Floats:
        """Positive weights ``mantissa·2^exponent`` of a stage's pre-activation, exactly."""
        maker = self.network.makers.get(stage)
        if not isinstance(maker, Stage):
            raise Refuted(f"{claim.what}: {stage!r} is no nonlinearity")
        size = self.network.sizes[maker.source]
        fits = mantissa.shape == exponent.shape == (size,)
        if not fits or not ((mantissa > 0) & (mantissa < 1 << 32) & (abs(exponent) < 900)).all():
            raise Refuted(f"{claim.what}: {maker.source!r} needs {size} weights, none out of range")
        found: Floats = np.ldexp(mantissa.astype(np.float64), exponent)
        if maker.slopes is None and len(np.unique(found)) > 1:
            raise Refuted(f"{claim.what}: {maker.kind} needs one weight for all its elements")
        return found

    def _columns(self, claim: Claim, weights: Mapping[str, Floats]) -> dict[Key, Floats]:
        """Weights of the columns: ``g ≥ d/√τ`` of bounded signals, g of weighed remainders."""
        found: dict[Key, Floats] = {}
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
            found[column.signal, column.remainder] = np.array([max(float(near), 1e-300)])
        for stage, own in weights.items():
            maker = self.network.makers[stage]
            one = isinstance(maker, Stage) and maker.slopes is None  # one for all
            found[stage, True] = own[:1] if one else own
        return found


def _split(weights: Floats) -> tuple[Integers, Integers]:
    """Positive numbers as ``mantissa·2^exponent``, mantissas of 53 bits."""
    if not ((weights > 0.0) & (weights < math.inf)).all():
        raise CheckError("a bound is beyond the range of float64")
    fraction, exponent = np.frexp(weights)
    return np.ldexp(fraction, 53).astype(np.int64), exponent.astype(np.int64) - 53


def _stacked(blocks: list[Block], columns: Mapping[Key, Floats]) -> tuple[Scaled, list[int]]:
    """All blocks of rows over all columns, each row scaled to about 1 by a power of two."""
    widths = {key: rows.mantissa.shape[1] for pulled, _ in blocks for key, rows in pulled.items()}
    if not widths:
        raise Refuted("a claim about what does not change")
    check_rows(sum(len(own) for _, own in blocks), sum(widths.values()))
    bands, squares, error = [], [], 0.0
    for pulled, weights in blocks:
        mantissa, exponent = _split(weights)
        lift = -53 - exponent
        squares += [m * m << 2 * PLACES >> 106 for m in mantissa.tolist()]  # of weight·2^lift
        band = {key: np.zeros((len(lift), width), dtype=np.int64) for key, width in widths.items()}
        for key, rows in pulled.items():
            factor, own = _split(columns[key])
            band[key], cut = scaled_rows(rows.mantissa, lift + rows.exponent, factor, own)
            with np.errstate(over="ignore", under="ignore"):
                radii = mul(rows.radius, up(np.ldexp(1.0, lift)), float(columns[key].max()))
            error = float(add(error, norm(radii), cut))
        bands.append(np.concatenate(list(band.values()), 1))
    return Scaled(np.concatenate(bands, 0), error), squares
