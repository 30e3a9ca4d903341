"""Exact comparisons: a float against a norm of a matrix of floats, in rational arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Matrix = Sequence[Sequence[Fraction]]


def fractions(matrix: np.ndarray) -> list[list[Fraction]]:
    """A float matrix as the rationals that it holds."""
    return [[Fraction(float(entry)) for entry in row] for row in np.atleast_2d(matrix)]


def dominates(bound: float, matrix: np.ndarray, norm: str) -> bool:
    """Whether ``bound`` is at or above the induced norm of ``matrix``, decided exactly."""
    if math.isnan(bound):
        return False
    if bound == math.inf:
        return True
    rows = fractions(matrix)
    limit = Fraction(bound)
    if norm == "linf":
        return all(sum(map(abs, row)) <= limit for row in rows)
    if norm == "l1":
        return all(sum(map(abs, column)) <= limit for column in zip(*rows, strict=True))
    return is_semidefinite(_gram_gap(limit, rows))


def dominates_dual(bound: float, row: np.ndarray, norm: str) -> bool:
    """Whether ``bound`` is at or above the dual norm of a row: the constant of one functional."""
    if bound == math.inf:
        return True
    entries = [Fraction(float(entry)) for entry in row]
    limit = Fraction(bound)
    if norm == "l2":
        return sum(entry * entry for entry in entries) <= limit * limit
    if norm == "linf":
        return sum(map(abs, entries)) <= limit
    return all(abs(entry) <= limit for entry in entries)


def _gram_gap(limit: Fraction, rows: Matrix) -> list[list[Fraction]]:
    """``limit² I − M Mᵀ`` on the smaller side."""
    short = rows if len(rows) <= len(rows[0]) else list(zip(*rows, strict=True))
    gap = [
        [-sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0)) for right in short]
        for left in short
    ]
    for place in range(len(short)):
        gap[place][place] += limit * limit
    return gap


def is_semidefinite(matrix: list[list[Fraction]]) -> bool:
    """Whether a symmetric rational matrix is positive semidefinite, by symmetric elimination."""
    work = [list(row) for row in matrix]
    alive = list(range(len(work)))
    while alive:
        pivot = max(alive, key=lambda place: work[place][place])
        top = work[pivot][pivot]
        if top < 0:
            return False
        if top == 0:
            return all(work[a][b] == 0 for a in alive for b in alive)
        alive.remove(pivot)
        for a in alive:
            factor = work[a][pivot] / top
            for b in alive:
                work[a][b] -= factor * work[pivot][b]
    return True


def grid(values: np.ndarray, most: int = 60) -> int | None:
    """The smallest m ≥ 0 for which all ``values · 2^m`` are integers; None beyond ``most``."""
    scaled = np.asarray(values, dtype=np.float64)
    if not np.isfinite(scaled).all():
        return None
    for power in range(most + 1):
        if (scaled == np.rint(scaled)).all():
            return power
        scaled = scaled * 2.0
    return None


def exact_norm_gap(bound: float, matrix: np.ndarray, norm: str) -> float:
    """``bound / norm − 1`` of a float matrix, for reports (computed in float64)."""
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
    value = float(np.linalg.norm(np.atleast_2d(matrix), order))
    return bound / value - 1.0 if value else math.inf
