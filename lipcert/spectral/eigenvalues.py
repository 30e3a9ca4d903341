"""Ways to bound the largest eigenvalue: ``EIGENVALUE_BOUNDS["svd"](gram)``."""

from __future__ import annotations

from typing import Protocol

import torch

from lipcert.registry import Registry
from lipcert.spectral.gram import gram_iteration_bound, steps_for
from lipcert.spectral.proof import largest_eigenvalue_bound
from lipcert.spectral.starts import Starts


class EigenvalueBound(Protocol):
    """A way to bound the largest eigenvalue."""

    def __call__(self, gram: torch.Tensor, starts: Starts | None = None, /) -> float:
        """Never below any eigenvalue of ``(B, n, n)`` Hermitian blocks."""
        ...


GRAM_TOLERANCE = 2e-10
"""Relative excess at which Gram iteration stops."""

EIGENVALUE_BOUNDS: Registry[EigenvalueBound] = Registry("spectral method")
"""Each entry takes ``(B, n, n)`` Hermitian blocks and is never below any of their eigenvalues; the
search may begin where that for similar blocks ended."""


@EIGENVALUE_BOUNDS.register("svd")
def eigenvalue_by_proof(gram: torch.Tensor, starts: Starts | None = None) -> float:
    """Largest eigenvalue over Hermitian blocks: computed, then proved by Cholesky."""
    return largest_eigenvalue_bound(gram, starts)


@EIGENVALUE_BOUNDS.register("gram")
def eigenvalue_by_gram_iteration(gram: torch.Tensor, starts: Starts | None = None) -> float:
    """Largest eigenvalue over Hermitian blocks by Gram iteration."""
    return float(gram_iteration_bound(gram, steps_for(gram.shape[-1], GRAM_TOLERANCE)).max())


@EIGENVALUE_BOUNDS.register("auto")
def eigenvalue_by_device(gram: torch.Tensor, starts: Starts | None = None) -> float:
    """Gram iteration for many small blocks on a GPU, otherwise a computed and proved eigenvalue."""
    small = gram.is_cuda and gram.shape[0] > 1 and gram.shape[-1] <= 1024
    return EIGENVALUE_BOUNDS["gram" if small else "svd"](gram, starts)
