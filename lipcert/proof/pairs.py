"""Claims about the difference of two logits, which radii rest on."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np

from lipcert.bounds.pairs import MOST_REFINED, solved_pair
from lipcert.checker.claims import Claim, Column
from lipcert.checker.maps import identity
from lipcert.conic.iterates import Frame
from lipcert.proof.inequality import (
    fits,
    problem_of,
    ratios,
    rows_of,
    solvable,
    solved,
)
from lipcert.proof.layers import columns_of, rounded_shares, rows_work, size_of
from lipcert.proof.prover import Prover
from lipcert.proof.weights import Multipliers, weighed_claim

TOLERANCE = 1e-6
"""Relative gap in ρ at which a pair is done."""


def pair_claims(prover: Prover, seconds: float) -> None:
    """Claims about every two logits: by rows, then by LipSDP where that fits.

    Parameters
    ----------
    seconds : for solving LipSDP, all pairs together.
    """
    network = prover.network
    count = network.sizes[network.logits]
    if count < 2 or network.logits not in network.makers:
        return
    if math.isfinite(rows_work(network, network.logits, averaged=True)):
        _by_rows(prover)
    few = count <= MOST_REFINED and fits(network, network.logits)
    if few and solvable(network, network.logits, seconds):
        _by_inequality(prover, time.monotonic() + seconds)
    prover.forget()
    latest = {claim.pair: claim for claim in prover.claims if claim.pair is not None}
    prover.claims[:] = [claim for claim in prover.claims if claim.pair is None]
    prover.claims += latest.values()


def _by_rows(prover: Prover) -> None:
    """``Σ_j d_j‖(H_ji − H_jk)‖`` with shares in proportion: the best that one row allows."""
    network = prover.network
    value, count = network.logits, network.sizes[network.logits]
    plain = Claim(value, Fraction(1), columns=columns_of(network, value, averaged=True))
    rows = prover.rows(plain, value, identity(count), ())
    sizes = {key: size_of(prover, key) for key in rows}
    if not all(math.isfinite(size) for size in sizes.values()):
        return
    for i in range(count):
        for j in range(i):
            parts = np.array([sizes[key] * np.linalg.norm(r[i] - r[j]) for key, r in rows.items()])
            total = float(parts.sum())
            if not total > 0.0:
                continue
            columns = tuple(
                Column(signal, remainder, share)
                for (signal, remainder), share in zip(rows, rounded_shares(parts), strict=True)
            )
            claim = replace(plain, pair=(i, j), columns=columns)
            prover.settle(
                lambda slack, claim=claim, total=total: replace(  # type: ignore[misc]
                    claim, constant=Fraction(total * (1.0 + slack))
                ),
                only_below=known_of_pair(prover, i, j),
            )


def known_of_pair(prover: Prover, i: int, j: int) -> float:
    """The bound of a difference of logits that the checker would use so far."""
    whole = prover.known[prover.network.logits] * math.sqrt(2.0)
    claimed = prover.checker.pairs.get((i, j))
    return whole if claimed is None else min(whole, float(claimed))


def _by_inequality(prover: Prover, deadline: float) -> None:
    """Weights of their own for every pair, each started from the solution for all outputs."""
    network = prover.network
    rows = rows_of(prover, network.logits)
    if not np.isfinite(rows.H).all() or not rows.goal.any():
        return
    scaled = problem_of(rows)
    try:
        found, _ = solved(scaled, prover, deadline)
    except ValueError:
        return
    frame, near = Frame.of(scaled).moved_to(found.halfway)
    count = len(rows.goal)
    for i in range(count):
        for j in range(i):
            if time.monotonic() > deadline:
                return
            done = (i * (i - 1) // 2 + j) / (count * (count - 1) // 2)
            prover.progress(f"proof of the difference of outputs {i} and {j}", done)
            ended = solved_pair(frame.scaled, near, i, j, deadline, TOLERANCE)
            if ended is None:
                continue
            pair, outcome = ended
            best, inside = (ratios(pair, y, scaled.unit) for y in (outcome.y, outcome.halfway.y))
            own = replace(rows, goal=rows.goal[i : i + 1] - rows.goal[j : j + 1])
            weighed_claim(prover, network.logits, own, Multipliers(best, inside), (i, j))
