"""Claims about samples: margins and radii, in real arithmetic or for any float32 evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .exact import mul
from .file import Proof
from .float32 import rounding
from .positive import Refuted
from .proof import Checker
from .samples import fits, forward, gaps, read_samples, rows_of

BATCH = 64

Array = NDArray[np.float64]


def judged(
    checker: Checker,
    samples: NDArray[np.generic],
    semantics: str,
    reach: Array,
    room: float = 0.0,
) -> tuple[NDArray[np.int64], Array, Array]:
    """Classes ``(N,)``, gaps ``(N, K)`` rounded downward, and what a radius r costs of each.

    A class other than the largest stays behind for every input within ``r ≤ reach`` where
    ``gap ≥ slope·r``; ``slope (N, K)`` is the constant of the difference of two logits.  For
    float32, what rounding can take anywhere within reach is taken off the gap, and ``room`` times
    as much again: what others add up in another order is less than 2^-30 of it.
    """
    network = checker.network
    rows = rows_of(samples)
    best, behind = gaps(forward(network, rows)[network.logits])
    slope: Array = checker.pair_constants()[best]
    if semantics == "float32":
        cost = mul(rounding(network, rows, checker.known, reach, best)[0], 1.0 + room)
        with np.errstate(invalid="ignore"):
            left = np.maximum(np.nextafter(behind - cost, -np.inf), 0.0)
        behind = np.where(np.isinf(cost), 0.0, left)
    return best, behind, slope


def check_samples(checker: Checker, proof: Proof, path: Path) -> int:
    """How many samples have a radius, once every claim about them holds.  Raises Refuted."""
    claimed = proof.samples
    assert claimed is not None
    samples = read_samples(path)
    network = checker.network
    if not fits(samples.shape, network):
        raise Refuted("the samples do not have the shape of the model's input")
    if len(samples) < len(claimed.classes):
        raise Refuted("the data set is shorter than the claims")
    for start in range(0, len(claimed.classes), BATCH):
        chosen = slice(start, min(start + BATCH, len(claimed.classes)))
        radius, margin = claimed.radii[chosen], claimed.margins[chosen]
        best, behind, slope = judged(checker, samples[chosen], proof.semantics, radius)
        held = (radius > 0.0) | (margin > 0.0)
        wrong = held & (best != claimed.classes[chosen])
        needed = np.where(radius[:, None] > 0.0, mul(radius[:, None], slope), 0.0)
        short = ~((needed <= behind).all(1) & (margin <= behind.min(1)))
        for place in np.flatnonzero(wrong | (held & short)):
            raise Refuted(
                f"sample {start + place}: radius {radius[place]:.9g} and margin "
                f"{margin[place]:.9g} are claimed, the margin proved is {behind[place].min():.9g}"
            )
    return int(np.count_nonzero(claimed.radii > 0.0))
