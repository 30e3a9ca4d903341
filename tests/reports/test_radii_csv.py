"""Radii as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np

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
