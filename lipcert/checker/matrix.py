"""The matrix inequality of a claim: rows of values over columns of signals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .claims import Claim, dyadic_down, dyadic_up
from .exact import Integers, Rows, add, mul, norm, power, root, up, up_ratio
from .maps import check_rows, identity, scaled, total
from .network import Affine, Network, Stage
from .positive import PLACES, Refuted, Scaled, scaled_rows

Key = tuple[str, bool]
"""A signal, or with True the remainder of a nonlinearity."""


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
        constant, place = dyadic_down(claim.constant)
        weights = {stage: (mantissa, exponent) for stage, mantissa, exponent in claim.stages}
        images = self.images(claim)
        if images is not None:
            (column,) = self._columns(claim, weights).values()
            return _turned(images, *column, constant, place)
        blocks: list[tuple[dict[Key, Rows], Integers, Integers]] = []
        for stage, mantissa, exponent in claim.stages:
            maker = self.network.makers.get(stage)
            if not isinstance(maker, Stage):
                raise Refuted(f"{claim.what}: {stage!r} is no nonlinearity")
            size = self.network.sizes[maker.source]
            _check_weights(claim, maker, size, mantissa, exponent)
            pulled = self.pull(claim, maker.source, identity(size), weights)
            blocks.append((pulled, mantissa, exponent))
        goal = self._goal(claim)
        ones = np.ones(len(goal.mantissa), dtype=np.int64)
        pulled = self.pull(claim, claim.target, goal, weights)
        blocks.append((pulled, ones * constant, ones * place))
        columns = self._columns(claim, weights)
        if not claim.stages and len(pulled) == 1:
            ((key, rows),) = pulled.items()
            if len(rows.mantissa) > rows.mantissa[0].size:
                turned = rows.mantissa.reshape(len(rows.mantissa), -1).T
                own = Rows(np.ascontiguousarray(turned), rows.exponent, rows.radius)
                return _turned(own, *columns[key], constant, place)
        return _stacked(blocks, columns)

    def images(self, claim: Claim) -> Rows | None:
        """The images ``(n, m)`` of the unit vectors of a claim's only signal, where nothing but
        linear maps lies between it and a target that is larger; None otherwise."""
        target, sizes = claim.target, self.network.sizes
        if claim.pair is not None or claim.stages or len(claim.columns) != 1:
            return None
        signal = claim.columns[0].signal
        if claim.columns[0].remainder or signal == target:
            return None
        if signal not in sizes or sizes[signal] >= sizes[target]:
            return None
        start = self.network.input if claim.source is None else claim.source
        moved = self.network.reached(start)
        between = {target}
        for name in reversed(list(self.network.makers)):
            if name not in between or name in (signal, start):
                continue
            maker = self.network.makers[name]
            if isinstance(maker, Stage):
                return None
            between |= {source for source, _ in maker.summands if source in moved}
        if signal not in between or (start in between and start != signal):
            return None
        check_rows(sizes[signal], sizes[target])
        found = {signal: identity(sizes[signal])}
        for name, maker in self.network.makers.items():
            if name in between and name != signal and isinstance(maker, Affine):
                parts = []
                for source, maps in maker.summands:
                    if source in between:
                        part = found[source]
                        for one in maps:
                            part = one.push(part)
                        parts.append(part.reshaped(-1))
                found[name] = total(parts)
        return found[target]

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
        """Rows on a value pulled back to the claim's signals; what does not move drops out."""
        stops = {column.signal for column in claim.columns if not column.remainder}
        start = self.network.input if claim.source is None else claim.source
        moved = self.network.reached(start)
        remainders = {column.signal for column in claim.columns if column.remainder}
        found: dict[Key, Rows] = {}
        waiting: dict[str, list[Rows]] = {value: [rows]}
        for name in reversed(list(self.network.makers)):
            if name not in waiting or name not in moved or name == start:
                continue
            own = total(waiting.pop(name))
            if name in stops and name != value:
                found[name, False] = own
                continue
            maker = self.network.makers[name]
            if isinstance(maker, Stage):
                if name not in remainders and name not in weights:
                    raise Refuted(f"{claim.what}: nothing is said of {name!r}")
                c, r = maker.middle if maker.slopes is not None else (0.0, maker.constant)
                found[name, True] = scaled(own, r)
                if c:
                    waiting.setdefault(maker.source, []).append(scaled(own, c))
                continue
            for source, maps in maker.summands:
                check_rows(len(own.mantissa), self.network.sizes[source])
                part = own
                for one in reversed(maps):
                    part = one.pull(part)
                waiting.setdefault(source, []).append(part)
        if start in waiting:
            if start not in stops:
                raise Refuted(f"{claim.what}: {start!r}, where the change begins, has no share")
            found[start, False] = total(waiting[start])
        return found

    def _columns(
        self, claim: Claim, weights: Mapping[str, tuple[Integers, Integers]]
    ) -> dict[Key, tuple[Integers, Integers]]:
        """Weights of the columns: ``g ≥ d/√τ`` of bounded signals, g of weighed remainders."""
        found: dict[Key, tuple[Integers, Integers]] = {}
        for column in claim.columns:
            known = column.signal
            if column.remainder:
                maker = self.network.makers.get(column.signal)
                if not isinstance(maker, Stage) or column.signal in weights:
                    raise Refuted(f"{claim.what}: {known!r} has no remainder to bound")
                known = maker.source
            if claim.source is not None:
                if known != claim.source:
                    raise Refuted(f"{claim.what}: nothing is known of {known!r} from there")
                size = 1.0
            elif known in self.known:
                size = self.known[known]
            else:
                raise Refuted(f"{claim.what}: nothing is known of {known!r} yet")
            near = root(mul(size, size, up_ratio(1 / column.share)))
            whole, place = dyadic_up(max(float(near), 1e-300))
            found[column.signal, column.remainder] = (
                np.array([whole], dtype=np.int64),
                np.array([place], dtype=np.int64),
            )
        for stage, (mantissa, exponent) in weights.items():
            maker = self.network.makers[stage]
            assert isinstance(maker, Stage)
            every = slice(None) if maker.slopes is not None else slice(1)  # one for all
            found[stage, True] = (mantissa[every], exponent[every])
        return found


def _turned(
    images: Rows, mantissa: Integers, exponent: Integers, constant: int, place: int
) -> tuple[Scaled, list[int]]:
    """``‖H‖ ≤ constant/g`` from the rows of Hᵀ; the radii are of either's rows."""
    size, other = images.mantissa.shape
    shift = -(constant.bit_length() + place)
    exponents = np.full(size, shift + images.exponent, dtype=np.int64)
    factor = np.full(other, mantissa[0], dtype=np.int64)
    own = np.full(other, exponent[0], dtype=np.int64)
    K, cut = scaled_rows(images.mantissa, exponents, factor, own)
    weight = mul(float(mantissa[0]), power(int(exponent[0]) + shift))
    off = norm(mul(images.radius, weight))
    square = Fraction(constant) ** 2 * Fraction(4) ** (place + shift + PLACES)
    return Scaled(K, float(add(off, cut))), [math.floor(square)] * size


def _check_weights(
    claim: Claim, maker: Stage, size: int, mantissa: Integers, exponent: Integers
) -> None:
    if mantissa.shape != (size,) or exponent.shape != (size,) or not (mantissa > 0).all():
        raise Refuted(f"{claim.what}: {maker.source!r} needs {size} positive weights")
    if int(mantissa.max()) >= 1 << 32 or not (np.abs(exponent) < 1 << 12).all():
        raise Refuted(f"{claim.what}: a weight is out of range")
    same = len(np.unique(mantissa)) == 1 and len(np.unique(exponent)) == 1
    if maker.slopes is None and not same:
        raise Refuted(f"{claim.what}: {maker.kind} needs one weight for all its elements")


def _stacked(
    blocks: list[tuple[dict[Key, Rows], Integers, Integers]],
    columns: Mapping[Key, tuple[Integers, Integers]],
) -> tuple[Scaled, list[int]]:
    """All blocks of rows over all columns, each row scaled to about 1 by a power of two."""
    keys: list[Key] = []
    for pulled, _, _ in blocks:
        keys += [key for key in pulled if key not in keys]
    widths = {key: max(p[key].mantissa[0].size for p, _, _ in blocks if key in p) for key in keys}
    side = sum(len(mantissa) for _, mantissa, _ in blocks)
    if not keys:
        raise Refuted("a claim about what does not change")
    check_rows(side, sum(widths.values()))
    bands, squares, error = [], [], 0.0
    for pulled, mantissa, exponent in blocks:
        lift = np.array(
            [-(int(m).bit_length() + int(e)) for m, e in zip(mantissa, exponent, strict=True)]
        )
        band = []
        for key in keys:
            if key not in pulled:
                band.append(np.zeros((len(mantissa), widths[key]), dtype=np.int64))
                continue
            rows = pulled[key]
            flat = rows.mantissa.reshape(len(rows.mantissa), -1)
            factor, own = columns[key]
            factor, own = (np.broadcast_to(a, (flat.shape[1],)) for a in (factor, own))
            part, cut = scaled_rows(flat, lift + rows.exponent, factor, own)
            with np.errstate(over="ignore", under="ignore"):
                largest = float(up(np.ldexp(factor.astype(np.float64), own).max()))
                radii = mul(rows.radius, up(np.ldexp(1.0, lift)), largest)
            error = float(add(error, norm(radii), cut))
            band.append(part)
        bands.append(np.concatenate(band, 1))
        for m, e, by in zip(mantissa.tolist(), exponent.tolist(), lift.tolist(), strict=True):
            place = 2 * (e + by + PLACES)
            squares.append((m * m << place) if place >= 0 else (m * m >> -place))
    return Scaled(np.concatenate(bands, 0), error), squares
