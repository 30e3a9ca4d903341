"""How far the matrices of a family, as they are computed, may be from the true ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipcert.conic.fourier import FourierBlock, Reading
from lipcert.rounding import add_up, gamma, mul_up
from lipcert.spectral.tensors import frobenius_up, gamma_of_product

SLACK = 1.0 + 1e-13
"""For the few roundings of the magnitudes themselves."""


def distance_to_true(family: FourierBlock, y: Tensor, scale: Tensor) -> float:
    """Bound of ``‖Λ (P̂ − P) Λ‖`` for the computed and the true matrices, Λ = diag(scale).

    With F the Frobenius norm of ``diag(√((c² + ν) t)) a Λ``, the squares of a row of n are within
    ``γ_n F²`` (of entries: ``γ_n |a|ᴴ (c² + ν) t |a|``), what it couples to its own coordinates
    within ``γ_2 max(λ √t) F``, and adding up m such terms is within γ_m of the sum of all.

    What is not known exactly of the coefficients need not be shift-invariant: it is a small change
    of the operator on all frequencies together, and only its norm counts.
    """
    parts = torch.split(scale, list(family.sizes))
    head = y[family.head_index].sqrt() * parts[0]
    largest, found, summands = float(head.max()) ** 2, [0.0], [0.0]
    for row in family.rows:
        t = y[row.index]
        root = ((row.centre.square() + row.below) * t).sqrt()
        size, error = _scaled_sizes(row.reads, root, parts)
        summands.append(mul_up(size, size))
        found.append(mul_up(summands[-1], gamma_of_product(len(t) + 8, is_complex=True)))
        found.append(_square_error(size, error))
        if row.group is None:
            continue
        own = float((t.sqrt() * parts[row.group]).max())
        largest = max(largest, own * own)
        summands.append(mul_up(own, size))
        found.append(mul_up(summands[-1], gamma(3)))
        if error > 0.0:
            crossing = float((row.centre.abs() * t * parts[row.group]).max())
            plain = [mul_up(r.error, float(parts[g].max())) for g, r in row.reads.items()]
            found.append(mul_up(2.0, crossing, add_up(*plain)))
    for count in {part.matrix.shape[1] for part in family.output.values()}:
        size, error = _scaled_sizes(family.output, y.new_ones(count), parts)
        summands.append(mul_up(size, size))
        found.append(mul_up(summands[-1], gamma_of_product(count, is_complex=True)))
        found.append(_square_error(size, error))
    terms = 2 * len(family.rows) + 4
    found.append(mul_up(add_up(largest, *summands), 2.0 * gamma(terms)))
    return mul_up(add_up(*found), SLACK)


def _scaled_sizes(
    reads: Mapping[int, Reading], root: Tensor, parts: tuple[Tensor, ...]
) -> tuple[float, float]:
    """Bounds of the Frobenius norm of ``diag(root) a Λ`` and of the spectral one of its error."""
    sizes, errors = [0.0], [0.0]
    largest = float(root.max()) if root.numel() else 0.0
    for g, reading in reads.items():
        scaled = root[:, None] * reading.matrix * parts[g]
        sizes.append(float(frobenius_up(scaled).max()))
        errors.append(mul_up(largest, reading.error, float(parts[g].max())))
    return mul_up(add_up(*sizes), SLACK), mul_up(add_up(*errors), SLACK)


def _square_error(size: float, error: float) -> float:
    return add_up(mul_up(2.0, size, error), mul_up(error, error)) if error > 0.0 else 0.0
