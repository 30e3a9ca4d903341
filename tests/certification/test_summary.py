"""The curve, the histogram and the class table count what the arrays hold."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lipcert.certification.result import CertifiedAt
from lipcert.certification.summary import accuracy_curve, class_table, radius_histogram

RADII = np.array([0.0, 0.2, 0.5, 0.5, 1.0, math.inf])
FOUND = np.array([0.0, 0.3, 0.5000001, math.inf, 1.5, math.inf])
LABELS = np.array([0, 0, 1, 1, 3, 3])


@pytest.fixture
def certificates() -> Any:
    """As much of certificates as summaries read."""
    return SimpleNamespace(
        radii=RADII,
        adversarial=FOUND,
        labels=LABELS,
        predictions=np.array([1, 0, 1, 1, 3, 3]),
        certified=(CertifiedAt(0.5, "0.5", 2, 4), CertifiedAt(0.1, "1/10", 5, 5)),
    )


def test_curve_counts_exactly(certificates: Any) -> None:
    curve = accuracy_curve(certificates)
    assert [point.eps for point in curve] == sorted({point.eps for point in curve})
    for point in curve:
        assert point.certified == sum(r > point.eps for r in RADII)
        assert point.attacked == sum(a > point.eps for a in FOUND)
        assert point.certified <= point.attacked
    at = {point.eps: point for point in curve}
    assert (at[0.5].certified, at[0.5].attacked) == (2, 4)
    assert at[0.1].certified == 5
    assert curve[0].eps == 0.0 and curve[-1].eps >= 1.5


def test_curve_without_attack(certificates: Any) -> None:
    certificates.adversarial = None
    assert all(point.attacked is None for point in accuracy_curve(certificates))


def test_histogram_holds_every_correct_sample_once(certificates: Any) -> None:
    histogram = radius_histogram(certificates)
    assert sum(histogram.counts) + histogram.infinite == 5
    assert histogram.infinite == 1
    assert len(histogram.edges) == len(histogram.counts) + 1
    assert histogram.counts[-1] == 1


def test_nothing_but_zeros(certificates: Any) -> None:
    certificates.radii = np.zeros(6)
    certificates.adversarial = np.zeros(6)
    certificates.certified = ()
    assert all(point.certified == 0 for point in accuracy_curve(certificates))
    assert sum(radius_histogram(certificates).counts) == 5


def test_class_rows(certificates: Any) -> None:
    rows = class_table(certificates)
    assert [row.label for row in rows] == [0, 1, 3]
    assert [row.samples for row in rows] == [2, 2, 2]
    assert [row.correct for row in rows] == [1, 2, 2]
    assert [row.certified for row in rows] == [(0, 1), (0, 2), (2, 2)]
    assert [row.attacked for row in rows] == [(0, 1), (2, 2), (2, 2)]
    assert rows[2].median_radius == math.inf or rows[2].median_radius >= 1.0
    for index, entry in enumerate(certificates.certified):
        counted = replace(entry, count=sum(row.certified[index] for row in rows))
        assert counted.count == int(np.count_nonzero(entry.eps < RADII))
