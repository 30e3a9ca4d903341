"""Outward-rounded reductions of tensors, and scaling by powers of two."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.rounding import UNIT_ROUNDOFF, gamma

STEP_UP = 1.0 + 4.0 * UNIT_ROUNDOFF
"""Multiplying by this moves a positive float64 up by at least one neighbour."""


def square_sums_up(blocks: Tensor) -> Tensor:
    """Upper bounds of the squared Frobenius norms of ``(B, m, n)`` blocks."""
    sums = (
        blocks.real.square() + blocks.imag.square() if blocks.is_complex() else blocks.square()
    ).sum((-2, -1))
    count = 2 * blocks.shape[-1] * blocks.shape[-2]
    return sums * (1.0 + 4.0 * gamma(count + 2)) + 1e-300


def frobenius_up(blocks: Tensor) -> Tensor:
    """Upper bounds of the Frobenius norms of ``(B, m, n)`` blocks."""
    return square_sums_up(blocks).sqrt() * STEP_UP


def vector_norms(x: Tensor, dims: tuple[int, ...], p: float = 2.0) -> Tensor:
    """Norms over ``dims``, which stay as dimensions of 1; differentiable, each to a few roundings.

    Numbers are divided by the largest first: squares of numbers below 1e-154 underflow, and what
    is divided by such a norm is no unit vector.
    """
    scale = _largest(x, dims) if x.numel() else torch.ones((), dtype=x.dtype, device=x.device)
    found: Tensor = scale * torch.linalg.vector_norm(x / scale, p, dims, keepdim=True)
    return found


def unit_vectors(x: Tensor, dims: tuple[int, ...], p: float = 2.0) -> Tensor:
    """``x`` divided by its norm over ``dims``; zero stays zero."""
    scaled = x / _largest(x, dims)
    norm: Tensor = torch.linalg.vector_norm(scaled, p, dims, keepdim=True)
    return scaled / norm.clamp(min=0.5)


def _largest(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Largest magnitudes over ``dims``, a constant to derivatives; 1 for zero and for infinity."""
    largest = x.detach().abs().amax(dims, keepdim=True)
    usable = (largest > 0.0) & (largest < math.inf)
    return torch.where(usable, largest, torch.ones_like(largest))


def gamma_of_product(inner: int, *, is_complex: bool) -> float:
    """Constant g with ``|fl(AB) − AB| ≤ g |A||B|`` for an inner dimension ``inner``.

    A complex product is four real ones of length 2·inner, each within γ of |a||b|; moduli of the
    parts cost another factor 2 (Higham 2002, sections 3.5 and 3.6).
    """
    return 2.0 * gamma(2 * (inner + 2)) if is_complex else gamma(inner + 1)


def power_of_two_scale(blocks: Tensor) -> float:
    """A power of two near the largest magnitude, 1.0 for zero; dividing by it is exact."""
    largest = float(blocks.abs().max()) if blocks.numel() else 0.0
    if not 0.0 < largest < float("inf"):
        return 1.0
    exponent = torch.frexp(torch.tensor(largest, dtype=torch.float64)).exponent
    return 2.0 ** max(-1000, min(1000, int(exponent)))
