"""Norms of an operator written out column by column, never holding the whole matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import Tensor

from lipcert.operators import (
    Composed,
    Convolution,
    Dense,
    Indexing,
    LinearOperator,
    Reshape,
    Sum,
    Transpose,
    factors_of,
    flat_identity,
    transpose,
)
from lipcert.rounding import add_up, gamma, mul_up, sqrt_up
from lipcert.spectral.convolution_gram import convolution_gram, convolution_gram_work

CHUNK_ELEMENTS = 1 << 24
"""Elements of the largest intermediate tensor held at once."""


MANY_TAPS = 64
"""Taps beyond which a convolution's Gram matrix is found column by column."""


def smaller_side(operator: LinearOperator) -> int:
    """The smaller of input and output sizes: the side of the explicit Gram matrix."""
    return min(operator.in_size, operator.out_size)


def explicit_work(operator: LinearOperator) -> float:
    """Floating-point operations of the explicit Gram matrix and its proof."""
    side = float(smaller_side(operator))
    if _is_plain_convolution(operator):
        assembly = convolution_gram_work(operator)
    else:
        assembly = 2.0 * side * operator.cost
    return assembly + side**3


def explicit_gram(operator: LinearOperator, device: torch.device) -> tuple[Tensor, float]:
    """``AᵀA`` or ``AAᵀ``, whichever is smaller, and a bound of its distance to the true one.

    Returns a ``(1, k, k)`` matrix and the bound in the spectral norm.
    """
    return _gram(operator, device, on_inputs=operator.in_size <= operator.out_size)


def output_gram(operator: LinearOperator, device: torch.device) -> tuple[Tensor, float]:
    """``AAᵀ`` as ``(1, out, out)``, and a bound of its distance to the true one."""
    return _gram(operator, device, on_inputs=False)


def _gram(
    operator: LinearOperator, device: torch.device, *, on_inputs: bool
) -> tuple[Tensor, float]:
    plain = _is_plain_convolution(operator) and on_inputs == (operator.in_size <= operator.out_size)
    source = operator if on_inputs else transpose(operator)
    if plain:
        assert isinstance(operator, Convolution)
        gram = convolution_gram(operator)
    else:
        size = source.in_size
        gram = torch.empty(size, size, dtype=torch.float64, device=device)
        for start, columns in _column_chunks(source, device):
            image = source.adjoint(source.apply(columns))
            gram[start : start + columns.shape[0]] = image.reshape(columns.shape[0], size)
    squared = Composed((transpose(source), source))
    gram = (gram + gram.T) / 2.0
    underflow = mul_up(squared.underflow, sqrt_up(float(source.in_size)))
    rounding = mul_up(squared.absolute_norms.l2, 2.0**-52)
    return gram[None], add_up(squared.evaluation_error.l2, rounding, underflow)


def _is_plain_convolution(operator: LinearOperator) -> TypeGuard[Convolution]:
    if not isinstance(operator, Convolution) or operator.groups != 1 or operator.lead != 1:
        return False
    return math.prod(operator.kernel) <= MANY_TAPS


def explicit_matrix(operator: LinearOperator, device: torch.device) -> tuple[Tensor, float]:
    """The matrix ``(out, in)``, and a bound of its spectral distance to the true one."""
    if isinstance(operator, Dense) and not operator.lead:
        return operator.weight.to(device), operator.error.l2
    moved = operator.to(device)
    flipped = operator.out_size < operator.in_size
    source = transpose(moved) if flipped else moved
    rows = torch.empty(source.in_size, source.out_size, dtype=torch.float64, device=device)
    for start, columns in _column_chunks(source, device):
        rows[start : start + columns.shape[0]] = source.apply(columns).reshape(len(columns), -1)
    if _is_written_out_exactly(operator):
        error = operator.error.l2
    else:
        underflow = mul_up(operator.underflow, sqrt_up(float(source.in_size)))
        error = add_up(operator.evaluation_error.l2, underflow)
    return (rows if flipped else rows.T.contiguous()), error


def _is_written_out_exactly(operator: LinearOperator) -> bool:
    """Whether each entry of the matrix is one coefficient, times 1, and zeros added to it.

    So it is where all factors but one move elements without repeating any.
    """
    others = [f for f in factors_of(operator) if not isinstance(f, Reshape | Transpose)]
    return len(others) <= 1 and all(isinstance(f, Dense | Convolution | Indexing) for f in others)


def explicit_absolute_sums(operator: LinearOperator, device: torch.device) -> tuple[float, float]:
    """Bounds of the largest absolute column sum and row sum (the l1 and linf norms)."""
    flipped = operator.in_size > operator.out_size
    if flipped:
        operator = transpose(operator)
    rows = torch.zeros(operator.out_size, dtype=torch.float64, device=device)
    sums = [torch.zeros(1, dtype=torch.float64, device=device)]
    for _, columns in _column_chunks(operator, device):
        image = operator.apply(columns).reshape(columns.shape[0], -1).abs()
        rows += image.sum(0)
        sums.append(image.sum(1))
    slack = 1.0 + 4.0 * gamma(operator.in_size + operator.out_size)
    error, underflow = operator.evaluation_error, operator.underflow
    l1 = add_up(mul_up(float(torch.cat(sums).max()), slack), error.l1, underflow)
    linf = add_up(
        mul_up(float(rows.max()), slack), error.linf, mul_up(underflow, float(operator.in_size))
    )
    return (linf, l1) if flipped else (l1, linf)


def _column_chunks(operator: LinearOperator, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    widest = max(_widths(operator))
    chunk = max(1, CHUNK_ELEMENTS // max(1, widest))
    for start in range(0, operator.in_size, chunk):
        stop = min(operator.in_size, start + chunk)
        yield start, flat_identity(start, stop, operator.in_shape, device)


def _widths(operator: LinearOperator) -> Iterator[int]:
    yield max(operator.in_size, operator.out_size)
    parts: tuple[LinearOperator, ...] = ()
    if isinstance(operator, Composed):
        parts = operator.factors
    elif isinstance(operator, Sum):
        parts = operator.summands
    for part in parts:
        yield from _widths(part)
