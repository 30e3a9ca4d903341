"""Norms from below: estimates that are never used as bounds."""

from __future__ import annotations

import torch

from lipcert.operators import LinearOperator
from lipcert.spectral.tensors import unit_vectors


def power_estimate(
    operator: LinearOperator, steps: int = 100, *, device: torch.device | None = None
) -> float:
    """Spectral norm estimate by power iteration on ``AᵀA``: not above the truth, up to rounding."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(1, *operator.in_shape, dtype=torch.float64, generator=generator).to(device)
    norm = 0.0
    for _ in range(steps):
        v = unit_vectors(v, tuple(range(v.dim())))
        image = operator.apply(v)
        norm = float(image.norm())
        v = operator.adjoint(image)
    return norm
