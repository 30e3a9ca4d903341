"""One row per sample: what was predicted, and how far the certificate reaches."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates

HEADER = ("index", "label", "prediction", "correct", "margin", "radius")


def radii_csv(certificates: Certificates) -> str:
    """Comma-separated text with a header; samples counted from 0, in the order of the data.

    ``correct`` is 1 or 0; margin and radius have full precision ("inf" where no perturbation can
    change the class), the radius in the data's own units.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    columns = (
        certificates.labels.tolist(),
        certificates.predictions.tolist(),
        certificates.margins.tolist(),
        certificates.radii.tolist(),
    )
    for index, (label, prediction, margin, radius) in enumerate(zip(*columns, strict=True)):
        rows.writerow((index, label, prediction, int(label == prediction), margin, radius))
    return text.getvalue()
