"""Gradients of the coefficients of one node for each example, and their norms without them.

With x a node's input and g the gradient of an example's loss at its output, the gradient of a
matrix that acts on T columns is ``G Xᵀ = Σ_t g_t x_tᵀ``, and ``‖G Xᵀ‖² = Σ_st ⟨g_s,g_t⟩⟨x_s,x_t⟩``,
a product of two norms for a single column.  A convolution is such a matrix on the columns of
its patches.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lipcert.graph import Operation
from lipcert.nonlinear import PRelu
from lipcert.operators import Adjoint, Convolution, Dense
from lipcert.sensitivities.uses import coefficients_of


def coefficient_gradient(operation: Operation, role: str, x: Tensor, g: Tensor) -> Tensor:
    """Each example's gradient, ``(N, elements)``, of the coefficient of a role.

    Parameters
    ----------
    x : ``(N, *in_shape)``, the operation's first input.
    g : ``(N, *out_shape)``, the gradient of each example's loss at its output.
    """
    if role == "weight":
        left, right = _columns(operation, x, g)
        return (left @ right.transpose(-1, -2)).reshape(x.shape[0], -1)
    coefficient = coefficients_of(operation)[role]
    if role == "scale":
        g = g * x
    elif isinstance(operation, PRelu):
        g = g * torch.where(x >= 0, torch.zeros_like(x), x)
    return _summed_to(g, tuple(coefficient.shape)).reshape(x.shape[0], -1)


def squared_gradient(operation: Operation, role: str, x: Tensor, g: Tensor) -> Tensor:
    """Squared l2 norm of :func:`coefficient_gradient`, ``(N,)``, by the cheapest formula."""
    if role != "weight":
        return coefficient_gradient(operation, role, x, g).square().sum(1)
    left, right = _columns(operation, x, g)
    rows, columns, count = left.shape[2], right.shape[2], left.shape[3]
    if count == 1:
        squares = left.square().sum((2, 3)) * right.square().sum((2, 3))
    elif _is_gram_cheaper(rows, columns, count):
        grams = [part.transpose(-1, -2) @ part for part in (left, right)]
        squares = (grams[0] * grams[1]).sum((2, 3)).clamp(min=0.0)
    else:
        squares = (left @ right.transpose(-1, -2)).square().sum((2, 3))
    return squares.sum(1)


def elements_formed(operation: Operation, role: str) -> int:
    """How many numbers :func:`squared_gradient` forms for one example, roughly."""
    if role != "weight":
        return 0
    groups, rows, columns, count = _sizes(operation)
    gram = _is_gram_cheaper(rows, columns, count)
    product = 2 * count * count if gram else rows * columns
    return groups * (2 * count * (rows + columns) + (product if count > 1 else 0))


def longest_sum(operation: Operation, role: str) -> int:
    """The most terms that are added up, one way or another, to one :func:`squared_gradient`."""
    if role != "weight":
        return math.prod(coefficients_of(operation)[role].shape)
    groups, rows, columns, count = _sizes(operation)
    if count == 1:
        return groups + rows + columns
    gram = _is_gram_cheaper(rows, columns, count)
    return groups + (rows + columns + count**2 if gram else count + rows * columns)


def _sizes(operation: Operation) -> tuple[int, int, int, int]:
    """Groups, rows and columns of the matrix of a role ``weight``, and how many it acts on."""
    operator = getattr(operation, "operator", None)
    forward = operator.operator if isinstance(operator, Adjoint) else operator
    if not isinstance(forward, Dense | Convolution):
        raise _no_matrix(operation)
    if isinstance(forward, Convolution):
        groups, count = forward.groups, forward.lead * math.prod(forward.out_spatial)
    else:
        groups, count = 1, math.prod(forward.lead)
    return groups, forward.weight.shape[0] // groups, math.prod(forward.weight.shape[1:]), count


def _no_matrix(operation: Operation) -> TypeError:
    return TypeError(f"{operation!r} multiplies by no matrix")


def _is_gram_cheaper(rows: int, columns: int, count: int) -> bool:
    return count * (rows + columns) < rows * columns


def _columns(operation: Operation, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """``(N, groups, rows, T)`` and ``(N, groups, columns, T)`` whose product is the gradient.

    ``⟨g, Aᵀx⟩ = ⟨x, A g⟩``: for a transposed convolution the two change places.
    """
    operator = getattr(operation, "operator", None)
    if isinstance(operator, Adjoint):
        operator, x, g = operator.operator, g, x
    if isinstance(operator, Convolution):
        return _patches(operator, x, g)
    if not isinstance(operator, Dense):
        raise _no_matrix(operation)
    sides = (
        side.reshape(side.shape[0], 1, -1, side.shape[-1]).transpose(-1, -2) for side in (g, x)
    )
    left, right = sides
    return left, right


def _patches(operator: Convolution, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    examples, lead, groups = x.shape[0], operator.lead, operator.groups
    axes = len(operator.kernel)
    both = list(zip(operator.pads_begin, operator.pads_end, strict=True))
    pads = [pad for pair in reversed(both) for pad in pair]
    patches = F.pad(x.reshape(-1, *operator.in_shape[1:]), pads)
    steps = zip(operator.kernel, operator.stride, operator.dilation, strict=True)
    for axis, (k, s, d) in enumerate(steps, start=2):
        patches = patches.unfold(axis, (k - 1) * d + 1, s)[..., ::d]
    order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
    positions = math.prod(operator.out_spatial)
    right = patches.permute(order).reshape(examples, lead, groups, -1, positions)
    left = g.reshape(examples, lead, groups, -1, positions)
    # every leading position is further columns of the same matrix
    sides = [
        side.permute(0, 2, 3, 1, 4).reshape(examples, groups, side.shape[3], -1)
        for side in (left, right)
    ]
    return sides[0], sides[1]


def _summed_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum of ``(N, *larger)`` over the axes along which ``shape`` was broadcast."""
    padded = (1,) * (g.dim() - 1 - len(shape)) + shape
    axes = [k for k, n in enumerate(padded, start=1) if n == 1 and g.shape[k] != 1]
    return g.sum(axes, keepdim=True) if axes else g
