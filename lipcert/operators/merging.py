"""Sums of convolutions, matrices and scalings as one of them: ``‖I + K‖`` is not ``1 + ‖K‖``."""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.operators.base import LinearOperator, Norms
from lipcert.operators.composed import Sum, is_identity
from lipcert.operators.convolution import Convolution
from lipcert.operators.dense import Dense
from lipcert.operators.diagonal import Diagonal
from lipcert.rounding import SMALLEST_NORMAL, UNIT_ROUNDOFF


def merged_sum(summands: tuple[LinearOperator, ...]) -> LinearOperator:
    """``Σ A_i`` with every summand that another can take up taken up by it, weight by weight."""
    left: list[LinearOperator] = []
    for part in summands:
        for place, other in enumerate(left):
            one = _one(other, part) or _one(part, other)
            if one is not None:
                left[place] = one
                break
        else:
            left.append(part)
    return left[0] if len(left) == 1 else Sum(tuple(left))


def _one(first: LinearOperator, second: LinearOperator) -> LinearOperator | None:
    """``first + second`` as an operator of the first's kind; None where it is not one."""
    if isinstance(first, Dense):
        matrix = _as_matrix(first, second)
        if matrix is None:
            return None
        return Dense(first.weight + matrix, first.lead, _error(first, second))
    if isinstance(first, Convolution):
        kernel = _as_kernel(first, second)
        if kernel is None:
            return None
        return first.with_weight(first.weight + kernel, _error(first, second))
    return None


def _error(first: LinearOperator, second: LinearOperator) -> Norms:
    """Both errors, and one rounding of each coefficient of the sum."""
    rounding = (first.absolute_norms + second.absolute_norms).scaled(2.0 * UNIT_ROUNDOFF)
    underflow = SMALLEST_NORMAL * max(first.in_size, first.out_size)
    return first.error + second.error + rounding + Norms(underflow, underflow, underflow)


def _as_matrix(like: Dense, operator: LinearOperator) -> Tensor | None:
    """The matrix by which an operator multiplies the last axis."""
    if isinstance(operator, Dense):
        return operator.weight if operator.lead == like.lead else None
    scale = _scale_along(operator, like.in_shape, len(like.in_shape) - 1)
    return None if scale is None else torch.diag(scale.to(like.weight))


def _as_kernel(like: Convolution, operator: LinearOperator) -> Tensor | None:
    """The weight of an operator as a convolution of the same geometry."""
    if isinstance(operator, Convolution):
        return operator.weight if same_geometry(like, operator) else None
    centre = _centre(like)
    scale = _scale_along(operator, like.in_shape, 1)
    if centre is None or scale is None or like.in_shape != like.out_shape:
        return None
    channel = torch.arange(len(like.weight))
    within = channel % like.weight.shape[1]  # among the channels that its group reads
    kernel = torch.zeros_like(like.weight)
    at: tuple[slice | int, ...] = (slice(None), slice(None), *centre)
    kernel[at][channel, within] = scale.to(kernel)
    return kernel


def same_geometry(one: Convolution, other: Convolution) -> bool:
    """Whether two convolutions differ in their coefficients alone."""

    def facts(map_: Convolution) -> tuple[object, ...]:
        pads = map_.pads_begin, map_.pads_end
        return (map_.spatial, map_.stride, map_.dilation, pads, map_.groups, map_.lead)

    return facts(one) == facts(other) and one.weight.shape == other.weight.shape


def _centre(map_: Convolution) -> tuple[int, ...] | None:
    """The tap that reads the position it writes; None where there is none."""
    if any(s != 1 for s in map_.stride):
        return None
    found = []
    for pad, d, taps in zip(map_.pads_begin, map_.dilation, map_.kernel, strict=True):
        if pad % d or pad // d >= taps:
            return None
        found.append(pad // d)
    return tuple(found)


def _scale_along(operator: LinearOperator, shape: tuple[int, ...], axis: int) -> Tensor | None:
    """The factors by which a scaling multiplies along an axis, all others alike."""
    if operator.in_shape != shape:
        return None
    if is_identity(operator):
        return torch.ones(shape[axis], dtype=torch.float64)
    if not isinstance(operator, Diagonal):
        return None
    full = operator.scale.expand(shape).movedim(axis, 0).reshape(shape[axis], -1)
    if not full.numel() or not bool((full == full[:, :1]).all()):
        return None
    return full[:, 0].clone()
