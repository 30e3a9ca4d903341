"""Claims value by value: the averaged bound, norms of single maps, norms on a torus.

A value that nonlinearities or the output read is pulled back through all averaged nonlinearities to
the input (Combettes & Pesquet 2020), where its rows are not too many; else to the nearest signals;
else, for a convolution, a torus bounds its norm.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from scipy.sparse.linalg import eigsh

from lipcert.bounds.averaged import MAX_ELEMENTS, MAX_ROWS, ROW_WORK, joint_weights
from lipcert.checker.claims import Claim, Column
from lipcert.checker.convolution import Convolution
from lipcert.checker.maps import Dense, identity
from lipcert.checker.matrix import Key
from lipcert.checker.network import Affine, Network, Stage
from lipcert.proof.prover import Floats, Prover, as_floats
from lipcert.proof.torus import torus_estimate, torus_of

SHARE_PLACES = 58
"""Shares count in units of ``2^-58``."""
EXACT_SIDE = 1024
"""Side up to which all eigenvalues of a matrix are found."""
MOST_TURNED = 1 << 13
"""Largest side of a map that is written out to be proved on its smaller side."""


def layer_claims(prover: Prover, value: str, max_work: float) -> None:
    """Claims about everything that ``value`` is made of, and about itself.

    Parameters
    ----------
    max_work : floating-point operations that all rows may take.
    """
    network = prover.network
    used = network.before(value)
    ends = {name for name in used if _is_end(network, name, value)}
    chosen = _chosen(network, ends, ROW_WORK * max_work)
    names = [name for name in network.makers if name in used]
    for place, name in enumerate(names):
        prover.progress(f"proof of {name}", place / len(names))
        prover.pass_on(name)
        maker = network.makers[name]
        if not isinstance(maker, Affine) or not math.isfinite(prover.known[name]):
            continue
        found = None
        if name in chosen:
            found = rows_claim(prover, name, averaged=chosen[name])
        if found is None:
            found = images_claim(prover, name)
        if found is None and _is_torus(maker):
            torus_claim(prover, name)
        prover.forget()


def _is_end(network: Network, name: str, value: str) -> bool:
    """Whether a linear stretch ends here: a nonlinearity reads it, or nothing does."""
    maker = network.makers.get(name)
    if not isinstance(maker, Affine):
        return False
    says = len(maker.summands) > 1 or any(
        isinstance(one, Dense | Convolution) for _, maps in maker.summands for one in maps
    )
    says = says or any(not isinstance(network.makers.get(s), Stage) for s, _ in maker.summands)
    stages = (other for other in network.makers.values() if isinstance(other, Stage))
    return says and (name == value or any(stage.source == name for stage in stages))


def _chosen(network: Network, ends: set[str], most: float) -> dict[str, bool]:
    """The values whose rows are formed, the cheapest first; whether back to the input."""
    costs = sorted(
        (rows_work(network, name, averaged=averaged), not averaged, name)
        for name in ends
        for averaged in (True, False)
    )
    found: dict[str, bool] = {}
    spent = 0.0
    for work, nearest, name in costs:
        if math.isfinite(work) and spent + work <= most:
            spent += work
            found[name] = found.get(name, False) or not nearest
    return found


def rows_work(network: Network, name: str, *, averaged: bool) -> float:
    """Floating-point operations of a value's rows and their Gram matrix; infinite if too many."""
    count = network.sizes[name]
    reached, one_pass, widths = {name}, 0.0, 0.0
    for own in reversed(list(network.makers)):
        if own not in reached:
            continue
        maker = network.makers[own]
        if isinstance(maker, Stage):
            widths += network.sizes[own]
            if averaged and maker.slopes is not None:
                reached.add(maker.source)
            continue
        one_pass += sum(_cost(one) for _, maps in maker.summands for one in maps)
        reached |= {source for source, _ in maker.summands}
    if network.input in reached:
        widths += network.sizes[network.input]
    side = min(count, widths)
    fits = count <= (MAX_ROWS if averaged else MOST_TURNED) and side <= MAX_ROWS
    if not fits or count * max(widths, count) > MAX_ELEMENTS:
        return math.inf
    return count * one_pass + 2.0 * side * count * widths + side**3


def _cost(one: object) -> float:
    if isinstance(one, Dense):
        return 2.0 * one.lead * one.weight.mantissa.size
    if isinstance(one, Convolution):
        return 2.0 * one.weight.mantissa.size * math.prod(one.out_spatial)
    return 0.0


def columns_of(network: Network, value: str, *, averaged: bool) -> tuple[Column, ...]:
    """All signals before a value, with equal shares."""
    before = list(network.makers)[: list(network.makers).index(value)]
    signals = [(network.input, False)]
    for name in before:
        maker = network.makers[name]
        if isinstance(maker, Stage):
            signals.append((name, averaged and maker.slopes is not None))
    share = Fraction(1, len(signals))
    return tuple(Column(name, remainder, share) for name, remainder in signals)


def rows_claim(prover: Prover, value: str, *, averaged: bool) -> Claim | None:
    """A claim of a value from its rows; None where it says nothing new."""
    network = prover.network
    plain = Claim(value, Fraction(1), columns=columns_of(network, value, averaged=averaged))
    rows = prover.rows(plain, value, identity(network.sizes[value]), ())
    weighted = {key: size_of(prover, key) * part for key, part in rows.items()}
    if not all(np.isfinite(part).all() for part in weighted.values()):
        return None
    shares, size = joint(list(weighted.values()))
    columns = tuple(
        Column(signal, remainder, share)
        for (signal, remainder), share in zip(weighted, shares, strict=True)
    )
    claim = replace(plain, columns=columns)
    return _settled(prover, claim, size)


def _settled(prover: Prover, claim: Claim, size: float) -> Claim | None:
    """A claim with the constant ``size``, found in floating point, and the slack that proves it."""

    def at(slack: float) -> Claim | None:
        constant = size * (1.0 + slack)
        return replace(claim, constant=Fraction(constant)) if 0.0 < constant < math.inf else None

    return prover.settle(at, only_below=prover.known[claim.target])


def images_claim(prover: Prover, value: str) -> Claim | None:
    """A claim of a large value from the one small signal that it is a linear map of."""
    network = prover.network
    signals, waiting = set(), {value}
    for name in reversed(list(network.makers)):
        maker = network.makers[name]
        if name in waiting and isinstance(maker, Stage):
            signals.add(name)
        elif name in waiting and isinstance(maker, Affine):
            waiting |= {source for source, _ in maker.summands}
    signals |= waiting & {network.input}
    if len(signals) != 1:
        return None
    (signal,) = signals
    if not network.sizes[signal] <= MAX_ROWS:
        return None
    if network.sizes[signal] * network.sizes[value] > MAX_ELEMENTS:
        return None
    claim = Claim(value, Fraction(1), columns=(Column(signal, False, Fraction(1)),))
    images = prover.matrices.images(claim)
    if images is None:
        return None
    size = largest_singular_value(as_floats(images)) * prover.known[signal]
    return _settled(prover, claim, size)


def size_of(prover: Prover, key: Key) -> float:
    """The bound known of a signal, or of what a remainder reads."""
    name, remainder = key
    maker = prover.network.makers.get(name)
    return prover.known[maker.source if remainder and isinstance(maker, Stage) else name]


def joint(parts: list[Floats]) -> tuple[list[Fraction], float]:
    """Shares τ that sum to at most 1, and ``‖[H_1/√τ_1, H_2/√τ_2, …]‖`` about."""
    if len(parts) == 1:
        return [Fraction(1)], largest_singular_value(parts[0])
    unit = max(float(np.abs(part).max(initial=0.0)) for part in parts)
    if unit == 0.0:
        return [Fraction(1, len(parts))] * len(parts), 0.0
    grams = np.stack([(part / unit) @ (part / unit).T for part in parts])
    weights = joint_weights(torch.from_numpy(grams))
    if weights is None:
        return [Fraction(1, len(parts))] * len(parts), 0.0
    shares = rounded_shares(weights.numpy())
    total = sum(gram / float(share) for gram, share in zip(grams, shares, strict=True))
    return shares, unit * math.sqrt(max(0.0, largest_eigenvalue(np.asarray(total))))


def rounded_shares(weights: Floats) -> list[Fraction]:
    """Positive numbers as shares of at most 1 in all."""
    parts = weights / weights.sum() * (1.0 - 1e-14)
    whole = [max(4, math.floor(math.ldexp(float(part), SHARE_PLACES))) for part in parts]
    excess = max(0, sum(whole) - (1 << SHARE_PLACES))
    whole[int(np.argmax(parts))] -= excess
    return [Fraction(part, 1 << SHARE_PLACES) for part in whole]


def largest_singular_value(matrix: Floats) -> float:
    """The spectral norm, about."""
    unit = float(np.abs(matrix).max(initial=0.0))
    if unit == 0.0:
        return 0.0
    scaled = matrix / unit if matrix.shape[0] <= matrix.shape[1] else (matrix / unit).T
    return unit * math.sqrt(max(0.0, largest_eigenvalue(scaled @ scaled.T)))


def largest_eigenvalue(gram: Floats) -> float:
    """The largest eigenvalue of a symmetric matrix, about."""
    n = len(gram)
    if n <= EXACT_SIDE:
        return float(np.linalg.eigvalsh(gram)[-1])
    start = 1.0 + np.cos(np.arange(n))  # any, but the same at every run
    return float(eigsh(gram, k=1, which="LA", v0=start, tol=1e-13, return_eigenvectors=False)[0])


def _is_torus(maker: Affine) -> bool:
    return (
        len(maker.summands) == 1
        and len(maker.summands[0][1]) == 1
        and isinstance(maker.summands[0][1][0], Convolution)
    )


def torus_claim(prover: Prover, value: str) -> Claim | None:
    """A claim of a convolution from its norm on a torus."""
    maker = prover.network.makers[value]
    assert isinstance(maker, Affine)
    source, (only,) = maker.summands[0]
    assert isinstance(only, Convolution)
    sides = torus_of(only)
    before = prover.known[source]
    size = torus_estimate(only, sides)

    def at(slack: float) -> Claim | None:
        if not 0.0 < size * before < math.inf:
            return None
        return Claim(value, Fraction(size * (1.0 + slack)) * Fraction(before), torus=sides)

    return prover.settle(at, only_below=prover.known[value])
