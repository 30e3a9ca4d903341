"""One row per sample: what was predicted, and how far the certificate reaches."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates

HEADER = ("index", "label", "prediction", "correct", "margin", "radius")
SIGNED = "signed_radius"
"""Last column for models with one output."""
REAL = "radius_in_reals"
"""Last column where radii are for float32."""


def radii_csv(certificates: Certificates) -> str:
    """Comma-separated text with a header; samples counted from 0, in the order of the data.

    ``correct`` is 1 or 0; margin and radius have full precision ("inf" where no perturbation can
    change the class), the radius in the data's own units.  A model with one output has the signed
    radius of its score too: that of a wrong sign negative; radii for float32 have those in real
    arithmetic beside them.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    further = {}
    if certificates.scores is not None:
        further[SIGNED] = (certificates.scores.signed_radii + 0.0).tolist()  # no -0.0
    if certificates.real_radii is not None:
        further[REAL] = certificates.real_radii.tolist()
    rows.writerow((*HEADER, *further))
    columns = (
        certificates.labels.tolist(),
        certificates.predictions.tolist(),
        certificates.margins.tolist(),
        certificates.radii.tolist(),
        *further.values(),
    )
    for index, (label, prediction, *sizes) in enumerate(zip(*columns, strict=True)):
        rows.writerow((index, label, prediction, int(label == prediction), *sizes))
    return text.getvalue()
