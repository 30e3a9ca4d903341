"""Small torch models, each with what the importer must make of its exported file."""

from . import activations, attention, convolution, normalisation, shaping, sorting
from .case import (
    DYNAMO_OPSETS,
    LEGACY_OPSETS,
    Case,
    Panel,
    export_dynamo,
    export_legacy,
    matching,
)

CASES: list[Case] = [
    *activations.CASES,
    *convolution.CASES,
    *sorting.CASES,
    *normalisation.CASES,
    *attention.CASES,
    *shaping.CASES,
]

__all__ = [
    "CASES",
    "DYNAMO_OPSETS",
    "LEGACY_OPSETS",
    "Case",
    "Panel",
    "export_dynamo",
    "export_legacy",
    "matching",
]
