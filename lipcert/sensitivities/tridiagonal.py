"""Symmetric matrices brought to tridiagonal form, in which shifted systems cost next to nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

Array = NDArray[np.float64]

PANEL = 32
"""Reflectors that LAPACK applies at once."""


@dataclass(frozen=True, eq=False)
class Tridiagonal:
    """``H = Q T Qᵀ`` as Householder reflectors found it (LAPACK ``sytrd``); none of it is a proof.

    Parameters
    ----------
    diagonal, beside : of T, ``(n,)`` and ``(n − 1,)``.
    reflectors, scales : Q, which leaves the first axis as it is.
    """

    diagonal: Array
    beside: Array
    reflectors: Array
    scales: Array

    @staticmethod
    def of(matrix: Array) -> Tridiagonal:
        """The form of a symmetric ``(n, n)`` matrix, n at least 1."""
        if len(matrix) == 1:
            return Tridiagonal(matrix[0].copy(), np.zeros(0), np.zeros((0, 0)), np.zeros(0))
        work = int(lapack.dsytrd_lwork(len(matrix), lower=1)[0])
        packed, diagonal, beside, scales, _ = lapack.dsytrd(matrix, lower=1, lwork=work)
        return Tridiagonal(diagonal, beside, np.asfortranarray(packed[1:, :-1]), scales)

    def inward(self, columns: Array) -> Array:
        """``Qᵀ x`` for each column of ``(n, p)``."""
        return self._turned(columns, "T")

    def outward(self, columns: Array) -> Array:
        """``Q y`` for each column of ``(n, p)``."""
        return self._turned(columns, "N")

    def _turned(self, columns: Array, transposition: str) -> Array:
        turned = np.array(columns, dtype=np.float64, order="F")
        if len(self.scales):
            turned[1:] = lapack.dormqr(
                "L", transposition, self.reflectors, self.scales, turned[1:], PANEL * len(turned)
            )[0]
        return turned

    def times(self, columns: Array) -> Array:
        """``T y`` for each column of ``(n, p)``."""
        product = self.diagonal[:, None] * columns
        if len(self.beside):
            product[:-1] += self.beside[:, None] * columns[1:]
            product[1:] += self.beside[:, None] * columns[:-1]
        return product

    def factored(self, shift: float) -> tuple[Array, Array]:
        """``λ − T`` as LAPACK's ``pttrf`` factors it, for a λ above every eigenvalue."""
        if not len(self.beside):
            return np.asarray(shift - self.diagonal), self.beside
        diagonal, beside, _ = lapack.dpttrf(shift - self.diagonal, -self.beside)
        return diagonal, beside


def solved(factor: tuple[Array, Array], columns: Array) -> Array:
    """``(λ − T)⁻¹ y`` for each column of ``(n, p)``."""
    if not len(factor[1]):
        return np.asarray(columns / factor[0][0])
    found: Array = lapack.dpttrs(*factor, columns)[0]
    return found
