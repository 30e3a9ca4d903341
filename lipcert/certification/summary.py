"""A data set's certificates in few numbers: a curve, a histogram, a row for each class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates

POINTS = 101
"""Points of a curve."""
BINS = 40
"""Bins of a histogram."""


@dataclass(frozen=True)
class CurvePoint:
    """Exact counts at one ε: certified, and left by the attack (None without one)."""

    eps: float
    certified: int
    attacked: int | None


@dataclass(frozen=True)
class Histogram:
    """Radii of the correctly classified samples.

    ``counts[i]`` of them lie in ``edges[i] <= r < edges[i + 1]``, the last bin including its end;
    ``infinite`` are beyond any edge.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    infinite: int


@dataclass(frozen=True)
class ClassRow:
    """One class: its samples, and its counts at every ε of the run."""

    label: int
    samples: int
    correct: int
    certified: tuple[int, ...]
    attacked: tuple[int, ...] | None
    median_radius: float


def accuracy_curve(certificates: Certificates) -> tuple[CurvePoint, ...]:
    """Certified and attacked counts over ε from 0 to where nothing is left, the run's ε included.

    The attack is run at the run's ε only: between two of them its count is that of the
    perturbations it found, which is an upper bound of the robust accuracy all the same.
    """
    radii, adversarial = certificates.radii, certificates.adversarial
    finite = radii[np.isfinite(radii)]
    asked = [entry.eps for entry in certificates.certified]
    top = max([float(finite.max(initial=0.0)) * 1.02, *asked])
    if adversarial is not None:
        found = adversarial[np.isfinite(adversarial)]
        top = max(top, float(found.max(initial=0.0)))
    sizes = sorted({*np.linspace(0.0, top or 1.0, POINTS).tolist(), *asked})
    return tuple(
        CurvePoint(
            size,
            int(np.count_nonzero(radii > size)),
            None if adversarial is None else int(np.count_nonzero(adversarial > size)),
        )
        for size in sizes
    )


def radius_histogram(certificates: Certificates) -> Histogram:
    """Radii of the correctly classified samples in bins of equal width."""
    radii = certificates.radii[certificates.predictions == certificates.labels]
    finite = radii[np.isfinite(radii)]
    top = float(finite.max(initial=0.0))
    counts, edges = np.histogram(finite, bins=BINS, range=(0.0, top or 1.0))
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()), len(radii) - len(finite))


def class_table(certificates: Certificates) -> tuple[ClassRow, ...]:
    """A row for each label that occurs."""
    labels, radii, adversarial = (
        certificates.labels,
        certificates.radii,
        certificates.adversarial,
    )
    rows = []
    for label in np.unique(labels).tolist():
        chosen = labels == label
        own = radii[chosen]
        found = None if adversarial is None else adversarial[chosen]
        sizes = [entry.eps for entry in certificates.certified]
        median = float(np.median(np.minimum(own, np.finfo(np.float64).max)))
        rows.append(
            ClassRow(
                label,
                len(own),
                int(np.count_nonzero(certificates.predictions[chosen] == label)),
                tuple(int(np.count_nonzero(own > size)) for size in sizes),
                None
                if found is None
                else tuple(int(np.count_nonzero(found > size)) for size in sizes),
                median if median < np.finfo(np.float64).max else math.inf,
            )
        )
    return tuple(rows)
