"""How far a positive definite matrix can go in a direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALL_SIDE = 160
"""Side up to which all eigenvalues are computed."""
LANCZOS_STEPS = 30


def longest_step(factor: Tensor, direction: Tensor) -> float:
    """About the largest a with ``L Lᵀ + a·direction ≽ 0``; infinite when there is no end.

    From the smallest eigenvalue of ``L⁻¹ direction L⁻ᵀ``: on large matrices an estimate by Lanczos
    less its residual (Toh 2002), hence to be tried before it is trusted.  Zero for a direction that
    is not finite.
    """
    if not math.isfinite(float(direction.sum())):
        return 0.0
    if factor.shape[0] <= SMALL_SIDE:
        half = torch.linalg.solve_triangular(factor, direction, upper=False)
        whole = torch.linalg.solve_triangular(factor, half.T, upper=False)
        smallest = float(torch.linalg.eigvalsh((whole + whole.T) / 2.0)[0])
    else:
        smallest = _smallest_by_lanczos(factor, direction)
    return math.inf if smallest >= 0.0 else -1.0 / smallest


def _smallest_by_lanczos(factor: Tensor, direction: Tensor) -> float:
    n = factor.shape[0]
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(n, 1, dtype=factor.dtype, generator=generator).to(factor.device)
    v = v / v.norm()
    basis = factor.new_empty(LANCZOS_STEPS, n)
    alphas, betas = factor.new_zeros(LANCZOS_STEPS), factor.new_zeros(LANCZOS_STEPS)
    smallest = math.inf
    for step in range(LANCZOS_STEPS):
        basis[step] = v[:, 0]
        w = torch.linalg.solve_triangular(factor.T, v, upper=True)
        w = torch.linalg.solve_triangular(factor, direction @ w, upper=False)
        alphas[step] = v[:, 0] @ w[:, 0]
        done = basis[: step + 1]
        w = w - done.T @ (done @ w)
        w = w - done.T @ (done @ w)
        beta = w.norm()
        betas[step] = beta
        if step % 5 == 4 or step + 1 == LANCZOS_STEPS or float(beta) < 1e-12:
            inner = betas[:step]
            tridiagonal = torch.diag(alphas[: step + 1]) + torch.diag(inner, 1)
            values, vectors = torch.linalg.eigh((tridiagonal + torch.diag(inner, -1)).cpu())
            residual = float(beta) * abs(float(vectors[-1, 0]))
            smallest = float(values[0]) - residual
            if residual <= 0.05 * max(abs(float(values[0])), 0.5):
                return smallest
        v = w / beta
    return smallest
