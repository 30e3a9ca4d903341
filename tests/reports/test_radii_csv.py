"""Radii as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np

from lipcert.certification.scores import scores_of
from lipcert.reports.radii_csv import radii_csv


def test_one_row_a_sample_with_full_precision(certificates: Any) -> None:
    radii = certificates.radii.copy()
    radii[0] = np.inf
    text = radii_csv(replace(certificates, radii=radii))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert text.startswith("index,label,prediction,correct,margin,radius\n")
    assert [row["index"] for row in rows] == [str(i) for i in range(7)]
    assert [float(row["radius"]) for row in rows] == radii.tolist()
    assert [float(row["margin"]) for row in rows] == certificates.margins.tolist()
    assert [row["correct"] for row in rows] == ["1"] * 6 + ["0"]
    assert rows[6]["label"] == "1"
    assert rows[6]["prediction"] == "0"


def test_a_score_has_signed_radii(certificates: Any) -> None:
    """Of the score itself, wrong signs negative; other models have no such column."""
    values = np.array([2.0, -2.0, 0.5, 0.0])
    scores = scores_of(values, np.array([1, 1, 0, 0]), 2.0, ())
    single = replace(
        certificates,
        scores=scores,
        labels=np.array([1, 1, 0, 0]),
        predictions=np.array([1, 0, 1, 0]),
        margins=np.abs(values),
        radii=np.array([0.99, 0.0, 0.0, 0.0]),
    )
    text = radii_csv(single)
    assert text.startswith("index,label,prediction,correct,margin,radius,signed_radius\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["signed_radius"]) for row in rows] == scores.signed_radii.tolist()
    assert [float(row["signed_radius"]) > 0 for row in rows] == [True, False, False, False]
    assert rows[3]["signed_radius"] == "0.0"
    assert [float(row["radius"]) for row in rows] == single.radii.tolist()
