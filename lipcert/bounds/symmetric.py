"""Residual blocks with a symmetric Jacobian: ``x + Aᵀ Γ φ(A x + b)``, Γ diagonal.

Between any two inputs φ acts as a diagonal matrix D of slopes in [α, β], so differences go through
``I + Aᵀ Γ D A``: symmetric, with eigenvalues in [1 − n, 1 + p] where ``p = ‖√G⁺ A‖²`` and
``n = ‖√G⁻ A‖²`` for the largest positive and negative parts G of Γ D.  The larger magnitude of
these ends bounds the constant.  It is 1 where ``p = 0`` and ``n ≤ 2``, which is the theorem behind
CPL (Γ = −2/‖A‖², Meunier et al. 2022, Thm 1) and SLL (Γ = −2T⁻¹ with ``T ≽ A Aᵀ``, Araujo et al.
2023, Thm 3).  In the matrix inequality of LipSDP it is the choice of multipliers ``|Γ|``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipcert.bounds.autolip import slope_constant
from lipcert.bounds.context import BoundContext
from lipcert.bounds.result import Constants
from lipcert.operators import (
    Adjoint,
    Convolution,
    Dense,
    Diagonal,
    LinearOperator,
    Norms,
    compose,
    is_identity,
    simplify,
    transpose,
)
from lipcert.operators.merging import same_geometry
from lipcert.rounding import SMALLEST_NORMAL, UNIT_ROUNDOFF, add_up, mul_up, sqrt_up, up
from lipcert.signals import SignalForm, Stage

LARGEST_REST = 1e-3
"""``‖E‖`` in units of ``‖C‖`` beyond which a block does not count as symmetric."""


@dataclass(frozen=True, eq=False)
class Fit:
    """``B ≈ Γ A``: the diagonal of Γ by output channel, and ``B − Γ A`` as an operator."""

    gamma: Tensor
    rest: LinearOperator


def symmetric_bound(form: SignalForm, context: BoundContext) -> Constants | None:
    """The l2 constant of a block ``x + C φ(A x + b)`` with ``C = AᵀΓ + E``, E small.

    ``max(1 + p, n − 1) + ‖E‖‖A‖ max|φ'|``; None for any other form.
    """
    found = symmetric_parts(form)
    if found is None:
        return None
    A, fit, slopes = found
    ends = torch.stack([fit.gamma * slopes[0], fit.gamma * slopes[1]])
    p = _squared_norm(A, ends.amax(0).clamp(min=0.0), context)
    n = _squared_norm(A, (-ends.amin(0)).clamp(min=0.0), context)
    size = context.norm_of(A).value
    before = mul_up(slope_constant(form.stages[0], "l2"), size)
    off = mul_up(_size(fit.rest), before)
    underflow = mul_up(SMALLEST_NORMAL, size, size)  # of the products Γ α and Γ β
    value = add_up(max(add_up(1.0, p), up(n - 1.0)), off, underflow)
    pairs = mul_up(value, sqrt_up(2.0))
    count = math.prod(form.output_shape)
    return Constants(value, {0: 1.0, 1: before}, lambda: pairs * (1.0 - np.eye(count)), "symmetric")


def symmetric_parts(form: SignalForm) -> tuple[LinearOperator, Fit, tuple[Tensor, Tensor]] | None:
    """A, the fit of C to Aᵀ, and the slopes by row; None for any other form.  Finds no norm."""
    if len(form.stages) != 1 or form.output_terms.keys() != {0, 1}:
        return None
    stage, skip = form.stages[0], form.output_terms[0]
    if not is_identity(skip) or stage.terms.keys() != {0}:
        return None
    A, B = plain(stage.terms[0]), plain(simplify(transpose(form.output_terms[1])))
    fit = fitted(A, B)
    slopes = _channel_slopes(stage, A)
    if fit is None or slopes is None or not _size(fit.rest) <= LARGEST_REST * _size(B):
        return None
    return A, fit, slopes


def _size(operator: LinearOperator) -> float:
    """A cheap bound of the spectral norm."""
    return (operator.absolute_norms + operator.error).l2


def plain(operator: LinearOperator) -> LinearOperator:
    """The adjoint of a matrix, or of a convolution of stride 1, as one itself."""
    if not isinstance(operator, Adjoint):
        return operator
    inner = operator.operator
    if isinstance(inner, Dense):
        return Dense(inner.weight.T.contiguous(), inner.lead, operator.error)
    if isinstance(inner, Convolution) and inner.groups == 1 and set(inner.stride) == {1}:
        return _turned(inner, operator.error) or operator
    return operator


def _turned(inner: Convolution, error: Norms) -> Convolution | None:
    """``Σ_m w[o, i, t] y[o, m]`` over ``m + d t − p = n``: kernels mirrored, channels swapped.

    None where pads are wider than the kernel, so that the adjoint would cut its input off.
    """
    axes = tuple(range(2, inner.weight.dim()))
    reach = [d * (k - 1) for d, k in zip(inner.dilation, inner.kernel, strict=True)]
    sides = zip(reach, inner.pads_begin, inner.pads_end, strict=True)
    if any(max(before, after) > r for r, before, after in sides):
        return None
    return Convolution(
        inner.weight.transpose(0, 1).flip(axes).contiguous(),
        inner.out_spatial,
        stride=inner.stride,
        dilation=inner.dilation,
        pads_begin=tuple(r - p for r, p in zip(reach, inner.pads_begin, strict=True)),
        pads_end=tuple(r - p for r, p in zip(reach, inner.pads_end, strict=True)),
        lead=inner.lead,
        error=error,
    )


def fitted(A: LinearOperator, B: LinearOperator) -> Fit | None:
    """The diagonal Γ that brings ``Γ A`` close to B, row by row; None for different kinds."""
    if isinstance(A, Dense) and isinstance(B, Dense):
        if A.weight.shape != B.weight.shape or A.lead != B.lead:
            return None
        gamma = _ratios(A.weight, B.weight)
        rest = B.weight - gamma[:, None] * A.weight
        return Fit(gamma, Dense(rest, A.lead, _rest_error(A, B, gamma)))
    if isinstance(A, Convolution) and isinstance(B, Convolution) and same_geometry(A, B):
        gamma = _ratios(A.weight.flatten(1), B.weight.flatten(1))
        spread = gamma.reshape(-1, *(1 for _ in A.weight.shape[1:]))
        rest = B.weight - spread * A.weight
        return Fit(gamma, A.with_weight(rest, _rest_error(A, B, gamma)))
    return None


def _ratios(a: Tensor, b: Tensor) -> Tensor:
    """``⟨a_i, b_i⟩/⟨a_i, a_i⟩`` for each row, 0 where that is not finite: any number serves."""
    ratios = (a * b).sum(1) / a.square().sum(1)
    return torch.where(torch.isfinite(ratios), ratios, 0.0)


def _rest_error(A: LinearOperator, B: LinearOperator, gamma: Tensor) -> Norms:
    """What is not known of A and B, and two roundings of each coefficient."""
    largest = float(gamma.abs().max()) if gamma.numel() else 0.0
    rounding = (B.absolute_norms + A.absolute_norms.scaled(largest)).scaled(4.0 * UNIT_ROUNDOFF)
    underflow = SMALLEST_NORMAL * max(A.in_size, A.out_size)
    return B.error + A.error.scaled(largest) + rounding + Norms(underflow, underflow, underflow)


def _channel_slopes(stage: Stage, A: LinearOperator) -> tuple[Tensor, Tensor] | None:
    """The least and the largest slope of each row (dense) or channel of A's output."""
    slopes = stage.nonlinearity.slopes
    if slopes is None or len(stage.input_shapes) != 1:
        return None
    axis = 1 if isinstance(A, Convolution) else len(A.out_shape) - 1
    ends = []
    for value in (slopes.alpha, slopes.beta):
        full = torch.as_tensor(value, dtype=torch.float64).expand(stage.shape)
        if full.shape != A.out_shape or not bool(torch.isfinite(full).all()):
            return None
        ends.append(full.movedim(axis, 0).reshape(A.out_shape[axis], -1).to(A.device))
    return ends[0].amin(1), ends[1].amax(1)


def _squared_norm(A: LinearOperator, weights: Tensor, context: BoundContext) -> float:
    """``‖√w A‖²`` for non-negative weights of A's rows or channels."""
    if not bool((weights > 0.0).any()):
        return 0.0
    root = torch.nextafter(weights.sqrt(), torch.full_like(weights, torch.inf))
    root = torch.nextafter(root, torch.full_like(weights, torch.inf))
    if isinstance(A, Convolution):
        root = root.reshape(1, -1, *(1 for _ in A.spatial))
    value = context.norm_of(simplify(compose(Diagonal(root, A.out_shape), A))).value
    return mul_up(value, value)
