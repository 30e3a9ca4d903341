"""Claims of what follows a value, which the rounding of float32 is carried on by."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from lipcert.bounds.context import Progress, silent
from lipcert.checker.claims import Claim, Column
from lipcert.checker.maps import Convolution, Dense, identity
from lipcert.checker.network import Affine, Network, Stage
from lipcert.checker.positive import Refuted
from lipcert.proof.inequality import fits, inequality_claim, solvable
from lipcert.proof.layers import ancestors, largest_singular_value, rows_work
from lipcert.proof.prover import SLACKS, Prover
from lipcert.proof.torus import torus_estimate, torus_of


def following_claims(
    network: Network, seconds: float, progress: Progress = silent
) -> tuple[Claim, ...]:
    """Norms of single maps, and of the logits from each nonlinearity on where LipSDP fits.

    Parameters
    ----------
    seconds : for solving LipSDP, all values together.
    """
    prover = Prover(network, progress)
    used = ancestors(network, network.logits)
    names = [name for name in network.makers if name in used]
    found: list[Claim] = []
    for name in names:
        found += _edges(prover, name)
        prover.forget()
    deadline = time.monotonic() + seconds
    stages = [name for name in names if isinstance(network.makers[name], Stage)]
    for place, name in enumerate(reversed(stages)):
        left = deadline - time.monotonic()
        rest = starting_at(network, name)
        if left <= 0.0 or not fits(rest, rest.logits) or not solvable(rest, rest.logits, left):
            continue
        progress(f"proof of what follows {name}", place / len(stages))
        claim = inequality_claim(Prover(rest, progress), rest.logits, left, None)
        if claim is not None:
            found.append(replace(claim, source=name))
    return tuple(found)


def starting_at(network: Network, source: str) -> Network:
    """What follows a value, all else held fixed: changes of values are those in the network."""
    reached = network.reached(source)
    rest = Network(source, (1, network.sizes[source]), logits=network.logits)
    rest.output = network.logits
    rest.sizes[source] = network.sizes[source]
    for name, maker in network.makers.items():
        if name not in reached or name == source:
            continue
        if isinstance(maker, Affine):
            maker = Affine(tuple((s, maps) for s, maps in maker.summands if s in reached))
        rest.makers[name] = maker
        rest.sizes[name] = network.sizes[name]
    return rest


def _edges(prover: Prover, name: str) -> Iterator[Claim]:
    """Claims of a value from each that it reads through a matrix or a convolution."""
    network, maker = prover.network, prover.network.makers[name]
    if not isinstance(maker, Affine):
        return
    for source, maps in maker.summands:
        plain = Claim(
            name, Fraction(1), columns=(Column(source, False, Fraction(1)),), source=source
        )
        gain = math.prod(one.gain for one in maps)
        if len(maps) == 1 and isinstance(maps[0], Convolution) and len(maker.summands) == 1:
            sides = torus_of(maps[0])
            size = torus_estimate(maps[0], sides)
            plain = replace(plain, torus=sides, columns=())
        elif any(isinstance(one, Dense) for one in maps) and math.isfinite(
            rows_work(network, name, averaged=False)
        ):
            own = prover.rows(plain, name, identity(network.sizes[name]), ())
            size = largest_singular_value(own[source, False])
        else:
            continue
        for slack in SLACKS:
            if not 0.0 < size * (1.0 + slack) < gain:
                break
            try:
                yield prover.proved(replace(plain, constant=Fraction(size * (1.0 + slack))))
                break
            except Refuted:
                continue
