"""Largest eigenvalues of Hermitian matrices, proved by a Cholesky factor.

For any matrix L at all, ``c·I − G = L Lᴴ + D`` gives ``λmax(G) ≤ c + ‖D‖``: the factor comes from
a Cholesky routine that need not be trusted, and ``D`` is bounded from a computed product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.errors import SolverError
from lipcert.rounding import UNIT_ROUNDOFF
from lipcert.spectral.starts import Starts
from lipcert.spectral.tensors import STEP_UP, frobenius_up, gamma_of_product, square_sums_up

SMALL_BLOCK = 128
"""Side up to which all eigenvalues of a block are computed, beyond which Lanczos finds one."""
FEW_BLOCKS = 4
"""Blocks whose eigenvalues are found before all others are only proved to be smaller."""
PANEL = 512
"""Columns of a residual formed at once."""


def proven_upper(gram: Tensor, candidate: float) -> tuple[Tensor, Tensor]:
    """Try to prove that no eigenvalue of ``(B, n, n)`` Hermitian blocks is above a candidate.

    Returns ``(B,)`` proven bounds (candidate plus the slack of the proof; meaningless where the
    factorisation failed) and a ``(B,)`` mask of the blocks where it succeeded.
    """
    n = gram.shape[-1]
    shifted = -gram
    shifted.diagonal(dim1=-2, dim2=-1).add_(candidate)
    factor, info = torch.linalg.cholesky_ex(shifted)
    rounding = gamma_of_product(n, is_complex=gram.is_complex()) + 8.0 * UNIT_ROUNDOFF
    size = square_sums_up(factor) + frobenius_up(shifted) + candidate
    slack = _residual_norm_up(shifted, factor) + rounding * size
    bounds = (candidate + slack * STEP_UP) * STEP_UP
    return bounds, (info == 0) & torch.isfinite(bounds)


def is_proven_above(matrix: Tensor, floor: float) -> bool:
    """Whether no eigenvalue of a symmetric ``(n, n)`` matrix is proven to be below ``floor ≥ 0``.

    ``A − δI = L Lᵀ + D`` with ``‖D‖ ≤ δ − floor``.
    """
    n = matrix.shape[-1]
    if n == 0:
        return True
    if not bool(torch.isfinite(matrix).all()):
        return False
    rounding = gamma_of_product(n, is_complex=False) + 8.0 * UNIT_ROUNDOFF
    trace = float(matrix.diagonal().abs().sum())
    shift = 2.0 * (floor * STEP_UP + rounding * trace * 2.0)
    for _ in range(3):
        shifted = matrix.clone()
        shifted.diagonal().sub_(shift)
        factor, info = torch.linalg.cholesky_ex(shifted)
        if int(info) != 0:
            return False
        size = square_sums_up(factor[None]) + frobenius_up(shifted[None]) + shift
        slack = _residual_norm_up(shifted[None], factor[None]) + rounding * size
        needed = float(slack[0]) * STEP_UP * STEP_UP + floor * STEP_UP
        if needed <= shift:
            return True
        shift = 2.0 * needed
    return False


def _residual_norm_up(matrix: Tensor, factor: Tensor) -> Tensor:
    """Bounds of ``‖A − L Lᴴ‖_F`` for Hermitian A and lower triangular L, before rounding.

    Only the blocks on and below the diagonal are formed, from the columns of L that are not zero:
    a sixth of the work of the full product.
    """
    n = matrix.shape[-1]
    total = torch.zeros(matrix.shape[0], dtype=torch.float64, device=matrix.device)
    for start in range(0, n, PANEL):
        stop = min(n, start + PANEL)
        panel = factor[:, start:, :stop] @ factor[:, start:stop, :stop].mH
        residual = matrix[:, start:, start:stop] - panel
        on, below = residual[:, : stop - start], residual[:, stop - start :]
        total = total + square_sums_up(on)
        if below.shape[1]:
            total = total + 2.0 * square_sums_up(below)
    return total.sqrt() * (1.0 + 64.0 * UNIT_ROUNDOFF * (2 + n // PANEL))


def largest_eigenvalue_bound(gram: Tensor, starts: Starts | None = None) -> float:
    """A proven bound of the largest eigenvalue over ``(B, n, n)`` Hermitian blocks.

    Tight to about ``1e-10`` relative for ``n`` up to a thousand, ``n² · 2⁻⁵³`` above.  Raises
    SolverError when no candidate can be proved.
    """
    n = gram.shape[-1]
    if n == 0 or gram.shape[0] == 0:
        return 0.0
    if not bool(torch.isfinite(torch.view_as_real(gram) if gram.is_complex() else gram).all()):
        return float("inf")
    if n == 1:
        return float(gram.real.max()) if gram.is_complex() else float(gram.max())
    estimate = largest_estimate(gram, starts)
    margin = max(2e-11, 16.0 * n * UNIT_ROUNDOFF)
    pending = gram
    best = 0.0
    for _ in range(40):
        candidate = max(estimate, 1e-290) * (1.0 + margin)
        bounds, proved = proven_upper(pending, candidate)
        if bool(proved.any()):
            best = max(best, float(bounds[proved].max()))
        pending = pending[~proved]
        if pending.shape[0] == 0:
            return best
        refined = largest_estimate(pending)
        if refined <= estimate * (1.0 + margin):
            margin *= 8.0
        estimate = max(estimate, refined)
    raise SolverError("spectral norm", "no candidate could be proved", "try --spectral gram")


def largest_estimate(gram: Tensor, starts: Starts | None = None) -> float:
    """An estimate of the largest eigenvalue over ``(B, n, n)`` Hermitian blocks (no bound)."""
    blocks, n = gram.shape[0], gram.shape[-1]
    if blocks > FEW_BLOCKS:
        ranking = power_estimates(gram, steps=12)
        gram = gram[ranking.topk(FEW_BLOCKS).indices]
    if n <= SMALL_BLOCK:
        return float(torch.linalg.eigvalsh(gram)[..., -1].max())
    if starts is None or len(gram) > 1:
        return max(lanczos_estimate(block) for block in gram)
    place, start = starts.next(n)
    value, vector = lanczos_pair_estimate(gram[0], start)
    starts.keep(place, vector)
    return value


def power_estimates(gram: Tensor, steps: int) -> Tensor:
    """Rayleigh quotients after power iteration on ``(B, n, n)`` blocks: estimates from below."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(gram.shape[-1], 1, dtype=torch.float64, generator=generator)
    v = start.to(gram.device, gram.dtype).expand(gram.shape[0], -1, -1)
    for _ in range(steps):
        v = v / v.norm(dim=1, keepdim=True).clamp(min=1e-300)
        v = gram @ v
    norms: Tensor = v.norm(dim=1)
    return norms.reshape(-1)


def lanczos_estimate(gram: Tensor) -> float:
    """Largest Ritz value of one Hermitian block by Lanczos with full reorthogonalisation."""
    return lanczos_pair_estimate(gram)[0]


def lanczos_pair_estimate(
    gram: Tensor, start: Tensor | None = None, most: int = 300
) -> tuple[float, Tensor]:
    """Largest Ritz value of one Hermitian block and its vector, from a start of one's own."""
    n = gram.shape[0]
    if start is None or start.dtype != gram.dtype:
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(n, dtype=torch.float64, generator=generator)
    v = start.to(gram.device, gram.dtype)
    basis = torch.empty(min(most, n), n, dtype=gram.dtype, device=gram.device)
    alphas: list[float] = []
    betas: list[float] = []
    v = v / v.norm()
    for step in range(basis.shape[0]):
        basis[step] = v
        w = gram @ v
        alphas.append(float(torch.vdot(v, w).real))
        done = basis[: step + 1]
        for _ in range(2):
            w = w - done.T @ (done.conj() @ w)
        beta = float(w.norm())
        if step % 10 == 9 or beta <= 1e-13 * abs(alphas[0]) or step + 1 == basis.shape[0]:
            diagonal = torch.tensor(alphas, dtype=torch.float64)
            beside = torch.tensor(betas, dtype=torch.float64)
            tridiagonal = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
            values, vectors = torch.linalg.eigh(tridiagonal)
            if beta * abs(float(vectors[-1, -1])) <= 1e-7 * float(values[-1]):
                break
        betas.append(beta)
        v = w / beta
    leading = vectors[:, -1].to(gram.device, gram.dtype)
    return float(values[-1]), basis[: len(leading)].T @ leading
