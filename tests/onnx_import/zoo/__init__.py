"""Small torch models, each with what the importer must make of its exported file."""

from . import activations, attention, convolution, normalisation, shaping, sorting
from .case import Case, Panel, export_dynamo, export_legacy

CASES: list[Case] = [
    *activations.CASES,
    *convolution.CASES,
    *sorting.CASES,
    *normalisation.CASES,
    *attention.CASES,
    *shaping.CASES,
]

__all__ = ["CASES", "Case", "Panel", "export_dynamo", "export_legacy"]
