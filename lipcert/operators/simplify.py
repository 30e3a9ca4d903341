"""Fusing neighbours in a product or sum: the same map, in fewer and tighter factors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TypeVar, cast

import torch
from torch import Tensor

from lipcert.operators.base import LinearOperator, Norms
from lipcert.operators.composed import Adjoint, Composed, Sum, compose, factors_of, transpose
from lipcert.operators.convolution import Convolution
from lipcert.operators.dense import Dense
from lipcert.operators.diagonal import Diagonal
from lipcert.operators.indexing import Indexing, Reshape, Transpose
from lipcert.operators.merging import merged_sum
from lipcert.rounding import SMALLEST_NORMAL, UNIT_ROUNDOFF

Fusion = Callable[[LinearOperator, LinearOperator], LinearOperator | None]
First = TypeVar("First", bound=LinearOperator)
Second = TypeVar("Second", bound=LinearOperator)
Made = TypeVar("Made")
Known = dict[tuple[str, int, int], tuple[object, object, object]]
"""What a rule made of two operators, by its name and theirs, and the two, which keep their ids."""

_TOGETHER: ContextVar[Known | None] = ContextVar("_TOGETHER", default=None)


def _once(rule: Callable[[First, Second], Made]) -> Callable[[First, Second], Made]:
    """A rule that makes one operator of the same two while some are simplified together."""

    @functools.wraps(rule)
    def made(first: First, second: Second) -> Made:
        known = _TOGETHER.get()
        if known is None:
            return rule(first, second)
        key = rule.__name__, id(first), id(second)
        if key not in known:
            known[key] = rule(first, second), first, second
        return cast(Made, known[key][0])

    return made


def simplified_together(operators: Iterable[LinearOperator]) -> list[LinearOperator]:
    """Each of some operators simplified; factors that they begin with alike are still the same.

    They can be told from their identity then.  Equal coefficients would not do for that: what they
    are rounded from may differ.
    """
    token = _TOGETHER.set({})
    try:
        return [simplify(operator) for operator in operators]
    finally:
        _TOGETHER.reset(token)


def simplify(operator: LinearOperator) -> LinearOperator:
    """The same operator with scalings folded into weights and index maps merged.

    ``‖D·W‖ ≤ ‖D‖‖W‖`` always, so a fused factor never has a larger norm than the pair.  Works on
    operators whose coefficients are on the CPU.
    """
    if isinstance(operator, Sum):
        merged = _merge_index_sums(Sum(tuple(simplify(part) for part in operator.summands)))
        return merged_sum(merged.summands) if isinstance(merged, Sum) else merged
    if isinstance(operator, Adjoint) and isinstance(operator.operator, Composed | Sum):
        return simplify(transpose(operator.operator))
    if not isinstance(operator, Composed):
        return operator
    factors = [part for factor in operator.factors for part in factors_of(simplify(factor))]
    factors = _fuse(_pushed_inward(factors), _fold_scaling)
    factors = _fuse(_pushed_outward(factors), _fuse_pair)
    if not factors:
        return Reshape(operator.in_shape, operator.out_shape)
    return compose(*factors)


def _pushed_inward(factors: list[LinearOperator]) -> list[LinearOperator]:
    """Each diagonal moved past pure rearrangements towards a weight that acts before it."""
    factors = list(factors)
    for start in range(len(factors)):
        position = start
        while position + 1 < len(factors) and _can_swap(factors[position], factors[position + 1]):
            scaling, moved = factors[position], factors[position + 1]
            assert isinstance(scaling, Diagonal) and isinstance(moved, Indexing)
            factors[position : position + 2] = [moved, _before(scaling, moved)]
            position += 1
    return factors


def _pushed_outward(factors: list[LinearOperator]) -> list[LinearOperator]:
    """Each diagonal moved past pure rearrangements towards a weight that acts after it."""
    factors = list(factors)
    for start in range(len(factors) - 1, 0, -1):
        position = start
        while position > 0 and _can_swap(factors[position], factors[position - 1]):
            scaling, moved = factors[position], factors[position - 1]
            assert isinstance(scaling, Diagonal) and isinstance(moved, Indexing)
            factors[position - 1 : position + 1] = [_after(scaling, moved), moved]
            position -= 1
    return factors


def _can_swap(scaling: LinearOperator, moved: LinearOperator) -> bool:
    return isinstance(scaling, Diagonal) and isinstance(moved, Reshape | Transpose)


@_once
def _before(scaling: Diagonal, moved: Indexing) -> Diagonal:
    """``D`` after a rearrangement ``P`` as the ``D'`` before it: ``D·P = P·D'``."""
    scale = scaling.scale
    if scale.numel() > 1:
        scale = moved.adjoint(scale.expand(scaling.in_shape)[None])[0]
    else:
        scale = scale.reshape(())
    return Diagonal(scale, moved.in_shape, scaling.error)


@_once
def _after(scaling: Diagonal, moved: Indexing) -> Diagonal:
    """``D`` before a rearrangement ``P`` as the ``D'`` after it: ``P·D = D'·P``."""
    scale = scaling.scale
    if scale.numel() > 1:
        scale = moved.apply(scale.expand(scaling.in_shape)[None])[0]
    else:
        scale = scale.reshape(())
    return Diagonal(scale, moved.out_shape, scaling.error)


def _fuse(factors: list[LinearOperator], fuse_pair: Fusion) -> list[LinearOperator]:
    fused: list[LinearOperator] = []
    for factor in factors:
        while fused and (pair := fuse_pair(fused[-1], factor)) is not None:
            fused.pop()
            factor = pair
        fused.extend(factors_of(factor))
    return fused


def _fuse_pair(outer: LinearOperator, inner: LinearOperator) -> LinearOperator | None:
    """``outer · inner`` as one operator, where that is the same map; otherwise None."""
    if isinstance(outer, Reshape) and isinstance(inner, Reshape):
        return Reshape(inner.in_shape, outer.out_shape)
    if isinstance(outer, Indexing) and isinstance(inner, Indexing):
        return _merge_indexing(outer, inner)
    return _fold_scaling(outer, inner)


@_once
def _fold_scaling(outer: LinearOperator, inner: LinearOperator) -> LinearOperator | None:
    """``outer · inner`` as one operator, where one of them is a scaling that fits the other."""
    if isinstance(outer, Diagonal):
        if isinstance(inner, Diagonal):
            return _scaled_diagonal(outer, inner)
        if isinstance(inner, Dense):
            return _scaled_dense(inner, outer, rows=True)
        if isinstance(inner, Convolution):
            return _scaled_convolution(inner, outer, rows=True)
        if isinstance(inner, Adjoint):
            turned = _fold_scaling(inner.operator, outer)
            return None if turned is None else transpose(turned)
    if isinstance(inner, Diagonal):
        if isinstance(outer, Dense):
            return _scaled_dense(outer, inner, rows=False)
        if isinstance(outer, Convolution):
            return _scaled_convolution(outer, inner, rows=False)
        if isinstance(outer, Adjoint):
            turned = _fold_scaling(inner, outer.operator)
            return None if turned is None else transpose(turned)
    return None


def _merge_indexing(outer: Indexing, inner: Indexing) -> Indexing:
    source = inner.index.reshape(-1)
    merged = torch.where(outer.index >= 0, source[outer.index.clamp(min=0)], outer.index)
    return _tidy(merged, inner)


def _product_error(a: LinearOperator, b: LinearOperator) -> Norms:
    """Error of the fused coefficients: both stored errors and one rounding each."""
    own = a.absolute_norms * b.absolute_norms
    crossed = a.error * (b.absolute_norms + b.error) + a.absolute_norms * b.error
    underflow = SMALLEST_NORMAL * max(a.in_size, a.out_size, b.in_size)
    return own.scaled(2.0 * UNIT_ROUNDOFF) + crossed + Norms(underflow, underflow, underflow)


def _scaled_diagonal(a: Diagonal, b: Diagonal) -> Diagonal:
    return Diagonal(a.scale * b.scale, b.in_shape, _product_error(a, b))


def _scaled_dense(dense: Dense, scaling: Diagonal, *, rows: bool) -> Dense | None:
    last = _vary_only_along(scaling, len(scaling.in_shape) - 1)
    if last is None:
        return None
    weight = dense.weight * (last[:, None] if rows else last[None, :])
    return Dense(weight, dense.lead, _product_error(dense, scaling))


def _scaled_convolution(
    convolution: Convolution, scaling: Diagonal, *, rows: bool
) -> Convolution | None:
    channels = _vary_only_along(scaling, 1)
    if channels is None:
        return None
    weight, groups = convolution.weight, convolution.groups
    spread = (-1, 1, *(1 for _ in convolution.kernel))
    if rows:
        weight = weight * channels.reshape(spread)
    else:
        per_group = channels.reshape(groups, 1, -1)
        per_output = per_group.expand(-1, weight.shape[0] // groups, -1)
        weight = weight * per_output.reshape(weight.shape[0], weight.shape[1], *spread[2:])
    return convolution.with_weight(weight, _product_error(convolution, scaling))


def _vary_only_along(scaling: Diagonal, axis: int) -> Tensor | None:
    """The scale along ``axis`` when it is constant over all other axes; otherwise None."""
    full = scaling.scale.expand(scaling.in_shape)
    line = full[tuple(slice(None) if a == axis else slice(0, 1) for a in range(full.dim()))]
    return line.reshape(-1) if bool((full == line).all()) else None


def _merge_index_sums(total: Sum) -> LinearOperator:
    """Sum of index maps with disjoint outputs as one index map (slices put side by side)."""
    merged: list[LinearOperator] = []
    for part in total.summands:
        for position, other in enumerate(merged):
            if (
                isinstance(part, Indexing)
                and isinstance(other, Indexing)
                and not bool(((part.index >= 0) & (other.index >= 0)).any())
            ):
                merged[position] = _tidy(torch.maximum(part.index, other.index), part)
                break
        else:
            merged.append(part)
    return merged[0] if len(merged) == 1 else Sum(tuple(merged))


def _tidy(index: Tensor, like: Indexing) -> Indexing:
    """An index map as the plain reshape it may be."""
    in_order = torch.arange(index.numel()).reshape(index.shape)
    if index.numel() == like.in_size and torch.equal(index, in_order):
        return Reshape(like.in_shape, tuple(index.shape))
    return Indexing(index, like.in_shape)
