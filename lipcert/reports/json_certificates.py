"""Certificates as JSON: schema lipcert/certify/2.

Nothing in it depends on when or how fast it was made: the same command gives the same bytes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.images import png_url
from lipcert.reports.json_format import Json, layer_object, plain_object, proof_object, written
from lipcert.reports.words import searched_lower

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates, CertifiedAt, Example


@renders("json", "Certificates")
def certificates_json(certificates: Certificates) -> str:
    """Schema lipcert/certify/2."""
    return written(certificates_object(certificates))


def certificates_object(certificates: Certificates) -> dict[str, Json]:
    """The object of ``lipcert certify``: schema lipcert/certify/2."""
    from lipcert.certification.summary import accuracy_curve, class_table, radius_histogram

    bound, proof = certificates.bound, certificates.proof
    radius = certificates.radius
    attack, scores = certificates.attack, certificates.scores
    return plain_object(
        {
            "schema": "lipcert/certify/2",
            "model": bound.model,
            "model_sha256": bound.model_sha256,
            "data": certificates.data,
            "data_sha256": certificates.data_sha256,
            "command": certificates.command,
            "samples": certificates.samples,
            "clean_correct": certificates.clean_correct,
            "certified": [_counts(entry) for entry in certificates.certified],
            "radius": {
                "mean": radius.mean,
                "median": radius.median,
                "min": radius.minimum,
                "max": radius.maximum,
            },
            "norm": certificates.norm,
            "units": certificates.units,
            "semantics": certificates.semantics,
            "normalization": certificates.normalization,
            "input_range": certificates.input_range,
            "disagreements": certificates.disagreements,
            "largest_deviation": certificates.largest_deviation,
            "attack": attack and {**dataclasses.asdict(attack), "rounded": certificates.rounded},
            "scores": scores
            and {
                "mcr": scores.mcr,
                "auroc": [dataclasses.asdict(entry) for entry in scores.auroc],
                "positives": scores.positives,
                "negatives": scores.negatives,
            },
            "method": bound.method,
            "bound": {
                "value": bound.value,
                "lower": searched_lower(bound),
                "output": bound.output,
                "methods": bound.methods,
                "details": bound.details,
                "exact": bound.exact,
                "spectral": bound.spectral,
                "device": bound.device,
            },
            **(
                {"proof": {**proof_object(proof), "certified": certificates.proved}}
                if proof
                else {}
            ),
            "curve": [dataclasses.asdict(point) for point in accuracy_curve(certificates)],
            "histogram": dataclasses.asdict(radius_histogram(certificates)),
            "classes": [dataclasses.asdict(row) for row in class_table(certificates)],
            "worst": [_example(example) for example in certificates.worst],
            "best": [_example(example) for example in certificates.best],
            "layers": [layer_object(layer) for layer in certificates.layers],
            "versions": certificates.versions,
        }
    )


def _counts(entry: CertifiedAt) -> dict[str, object]:
    """``real`` is told where the counts are for float32, and only there."""
    found = dataclasses.asdict(entry)
    return {key: value for key, value in found.items() if key != "real" or value is not None}


def _example(example: Example) -> dict[str, object]:
    return {
        "index": example.index,
        "label": example.label,
        "prediction": example.prediction,
        "radius": example.radius,
        "image": None if example.pixels is None else png_url(example.pixels),
    }
