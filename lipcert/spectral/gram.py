"""Gram matrices of blocks, and Gram iteration with its rounding accounted for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.spectral.tensors import (
    STEP_UP,
    frobenius_up,
    gamma_of_product,
    power_of_two_scale,
    square_sums_up,
)


def gram_blocks(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Gram matrices on the smaller side of ``(B, m, n)`` blocks, and bounds of their errors.

    Returns ``(B, k, k)`` Hermitian matrices, ``k = min(m, n)``, and ``(B,)`` bounds of the
    spectral norm of what rounding did to each.
    """
    m, n = blocks.shape[-2:]
    tall = blocks if m <= n else blocks.mH
    gram = tall @ tall.mH
    gram = (gram + gram.mH) / 2.0
    inner = max(m, n)
    factor = gamma_of_product(inner + 2, is_complex=blocks.is_complex())
    return gram, square_sums_up(blocks) * (factor * STEP_UP)


def steps_for(size: int, tolerance: float) -> int:
    """Gram steps t after which ``size**(1/2**(t+1)) ≤ 1 + tolerance``."""
    excess = math.log(max(size, 2)) / tolerance
    return max(1, math.ceil(math.log2(excess)) - 1)


def gram_iteration_bound(gram: Tensor, steps: int) -> Tensor:
    """Bounds of the largest eigenvalues of ``(B, n, n)`` Hermitian positive semidefinite blocks.

    ``H_{t+1} = H_t²`` and ``‖H_0‖ = ‖H_t‖^{1/2^t} ≤ ‖H_t‖_F^{1/2^t}`` (Delattre et al. 2023,
    Theorem 2).  With the computed square ``Ĥ = fl(H²)``, ``‖H‖² ≤ ‖Ĥ‖ + γ‖H‖_F²``: the bound is
    carried back through the steps with that error added at each.
    """
    factor = gamma_of_product(gram.shape[-1] + 2, is_complex=gram.is_complex())
    scale = power_of_two_scale(gram)
    current = gram / scale
    history: list[tuple[Tensor, Tensor]] = []
    for _ in range(steps):
        norm = frobenius_up(current).clamp(min=1e-300)
        shift = torch.ldexp(torch.ones_like(norm), -torch.frexp(norm).exponent)
        current = current * shift[:, None, None]
        history.append((square_sums_up(current), shift))
        current = current @ current
        current = (current + current.mH) / 2.0
    bound = frobenius_up(current)
    for squared, shift in reversed(history):
        bound = ((bound + factor * squared) * STEP_UP).sqrt() * STEP_UP
        bound = bound / shift * STEP_UP
    return bound * scale
