"""Norms of linear operators: proofs in ``norms``, estimates from below in ``estimates``."""

from lipcert.spectral.norms import (
    NORMS,
    explicit_bound,
    spectral_norm_bound,
    torus_bound,
)
from lipcert.spectral.settings import NormBound, NormSettings

__all__ = [
    "NORMS",
    "NormBound",
    "NormSettings",
    "explicit_bound",
    "spectral_norm_bound",
    "torus_bound",
]
