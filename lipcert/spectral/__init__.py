"""Norms of linear operators: proofs in ``norms``, estimates from below in ``estimates``."""

from lipcert.spectral.norms import (
    NORMS,
    NormBound,
    NormSettings,
    explicit_bound,
    spectral_norm_bound,
    torus_bound,
)

__all__ = [
    "NORMS",
    "NormBound",
    "NormSettings",
    "explicit_bound",
    "spectral_norm_bound",
    "torus_bound",
]
