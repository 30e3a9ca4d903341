"""Recognising divisions by a norm: root-mean-square, layer and unit-sphere normalisation.

A quotient of two signals has no finite slope, but a signal over its own norm has one.  What is
read here is ``max(√(gain · mean(x²) + epsilon) + offset, floor)`` in whatever way it was written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from onnx import NodeProto

from lipcert.nonlinear import RootMeanSquare
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.polynomials import DEPTH, Opened, opened, repeated, uniform
from lipcert.onnx_import.scope import Scope
from lipcert.operators import Shape

ZERO = Fraction(0)


@dataclass(frozen=True)
class RootNorm:
    """``max(√(gain · mean(source²) + epsilon) + offset, floor)`` over ``axes``."""

    source: str
    axes: tuple[int, ...]
    gain: Fraction
    epsilon: Fraction = ZERO
    offset: Fraction = ZERO
    floor: Fraction = ZERO

    def division(self) -> RootMeanSquare:
        """The map from the source to the source over this norm."""
        return RootMeanSquare(
            self.axes,
            float(self.epsilon),
            gain=float(self.gain),
            offset=float(self.offset),
            floor=float(self.floor),
        )


@dataclass(frozen=True)
class Quotient:
    """A signal over its norm, times a constant."""

    norm: RootNorm
    factor: Constant


def normalised(top: str, bottom: str, scope: Scope) -> Quotient | None:
    """``top / bottom`` as a signal over its own norm, or None."""
    norm = root_norm(bottom, scope)
    return None if norm is None else _over(top, norm, scope)


def normalised_by_product(signal: str, factor: str, scope: Scope) -> Quotient | None:
    """``signal · factor`` where the factor is a constant over the signal's norm, or None."""
    for name, share in _multiples(factor, scope):
        norm = _inverse_root_norm(name, scope)
        if norm is not None:
            return _over(signal, norm, scope, share)
    return None


ONE = ball.exact(1.0)


def _over(top: str, norm: RootNorm, scope: Scope, share: Constant = ONE) -> Quotient | None:
    shape = scope.shape(norm.source)
    for name, factor in _multiples(top, scope):
        if name == norm.source:
            whole = factor if share is ONE else ball.multiply(factor, share)
            fits = scope.common_shape(shape, whole.value.shape) == shape
            return Quotient(norm, whole) if fits else None
    return None


def _multiples(name: str, scope: Scope) -> Iterator[tuple[str, Constant]]:
    """The values that a value is a constant multiple of, with those multiples."""
    factor = ONE
    for _ in range(DEPTH):
        yield name, factor
        node = scope.origins.get(name)
        if node is None or node.op_type not in ("Mul", "Div", "Neg"):
            return
        if node.op_type == "Neg":
            factor, name = ball.multiply(factor, ball.exact(-1.0)), node.input[0]
            continue
        left, right = node.input
        if node.op_type == "Mul" and scope.is_constant(left):
            left, right = right, left
        if not scope.is_constant(right) or scope.is_constant(left):
            return
        combine = ball.multiply if node.op_type == "Mul" else ball.divide
        factor, name = combine(factor, scope.constants[right]), left


def root_norm(name: str, scope: Scope) -> RootNorm | None:
    """A value as the norm of another signal, spread over that signal's shape, or None."""
    node = scope.origins.get(name)
    while node is not None and node.op_type == "Expand":
        name = node.input[0]
        node = scope.origins.get(name)
    outer = opened(name, scope)
    if outer is None:
        return None
    norm = _with_floor(outer, scope) or _without_floor(outer, scope)
    if norm is None or norm.epsilon < 0 or norm.offset < 0 or norm.gain <= 0:
        return None
    kept = _kept(scope.shape(norm.source), norm.axes)
    shape = scope.shape(name)
    return norm if (1,) * (len(kept) - len(shape)) + shape == kept else None


def _kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _with_floor(outer: Opened, scope: Scope) -> RootNorm | None:
    """``max(norm, floor)``, by Max or Clip."""
    node = outer.node
    if outer.factor != 1 or outer.shift != 0:
        return None
    if node.op_type == "Max" and len(node.input) == 2:
        limits = [uniform(item, scope) for item in node.input]
        if (limits[0] is None) == (limits[1] is None):
            return None
        at = 0 if limits[0] is None else 1
        signal, floor = node.input[at], limits[1 - at]
    elif node.op_type == "Clip":
        signal, floor = node.input[0], _lower_limit(node, scope)
    else:
        return None
    inner = opened(signal, scope)
    norm = _without_floor(inner, scope) if inner and floor is not None and floor > 0 else None
    return None if norm is None or floor is None else replace(norm, floor=floor)


def _lower_limit(node: NodeProto, scope: Scope) -> Fraction | None:
    """The lower limit of a Clip that has no upper one."""
    options = Attributes(node, scope)
    low: float | None = options.limit("min", -math.inf)
    high: float | None = options.limit("max", math.inf)
    if len(node.input) > 1 and node.input[1]:
        low = repeated(node.input[1], scope)
    if len(node.input) > 2 and node.input[2]:
        high = repeated(node.input[2], scope)
    unlimited = high is not None and high >= float(np.finfo(np.float32).max)
    return Fraction(low) if unlimited and low is not None and math.isfinite(low) else None


def _without_floor(outer: Opened, scope: Scope) -> RootNorm | None:
    """``factor · √(…) + shift`` with a positive factor, which goes under the root as a square."""
    if outer.factor <= 0:
        return None
    node = outer.node
    while node.op_type in ("Expand", "Reshape", "Unsqueeze"):
        below = opened(node.input[0], scope)
        if below is None or below.factor != 1 or below.shift != 0:
            return None
        node = below.node
    inner = _norm_of(node, scope) if node.op_type == "ReduceL2" else _square_under(node, scope)
    if inner is None:
        return None
    square = outer.factor**2
    return replace(
        inner, gain=inner.gain * square, epsilon=inner.epsilon * square, offset=outer.shift
    )


def _square_under(node: NodeProto, scope: Scope) -> RootNorm | None:
    root = node.op_type == "Sqrt"
    power = node.op_type == "Pow" and uniform(node.input[1], scope) == Fraction(1, 2)
    return _mean_square(node.input[0], scope) if root or power else None


def _inverse_root_norm(name: str, scope: Scope) -> RootNorm | None:
    """A value as one over the norm of another signal, or None."""
    node = scope.origins.get(name)
    if node is None:
        return None
    if node.op_type == "Reciprocal":
        return root_norm(node.input[0], scope)
    if node.op_type == "Div" and uniform(node.input[0], scope) == 1:
        return root_norm(node.input[1], scope)
    if node.op_type == "Pow" and uniform(node.input[1], scope) == Fraction(-1, 2):
        norm = _mean_square(node.input[0], scope)
        kept = None if norm is None else _kept(scope.shape(norm.source), norm.axes)
        valid = norm is not None and norm.epsilon >= 0 and norm.gain > 0
        return norm if valid and scope.shape(name) == kept else None
    return None


def _norm_of(node: NodeProto, scope: Scope) -> RootNorm:
    axes = reduced_axes(node, scope)
    return RootNorm(node.input[0], axes, _count(node.input[0], axes, scope))


def _mean_square(name: str, scope: Scope) -> RootNorm | None:
    """``gain · mean(source²) + epsilon``."""
    outer = opened(name, scope)
    if outer is None:
        return None
    factor, shift, node = outer.factor, outer.shift, outer.node
    while node.op_type in ("Expand", "Reshape", "Unsqueeze"):
        below = opened(node.input[0], scope)
        if below is None:
            return None
        shift += factor * below.shift
        factor, node = factor * below.factor, below.node
    if node.op_type not in ("ReduceMean", "ReduceSum", "ReduceSumSquare"):
        return None
    source = node.input[0]
    axes = reduced_axes(node, scope)
    if node.op_type != "ReduceSumSquare":
        square = scope.origins.get(source)
        base = None if square is None else _squared(square, scope)
        if base is None:
            return None
        source = base
    if node.op_type != "ReduceMean":
        factor *= _count(source, axes, scope)
    return RootNorm(source, axes, factor, shift)


def _squared(node: NodeProto, scope: Scope) -> str | None:
    if node.op_type == "Pow" and uniform(node.input[1], scope) == 2:
        return str(node.input[0])
    if node.op_type == "Mul" and node.input[0] == node.input[1]:
        return str(node.input[0])
    return None


def _count(name: str, axes: tuple[int, ...], scope: Scope) -> Fraction:
    return Fraction(math.prod(scope.shape(name)[axis] for axis in axes))


def mean_of(name: str, scope: Scope) -> tuple[str, tuple[int, ...]] | None:
    """The signal and axes that a value is the mean of, spread over that signal's shape, or None."""
    node = scope.origins.get(name)
    while node is not None and node.op_type in ("Reshape", "Unsqueeze"):
        node = scope.origins.get(node.input[0])
    if node is None or node.op_type != "ReduceMean":
        return None
    axes = reduced_axes(node, scope)
    kept = _kept(scope.shape(node.input[0]), axes)
    shape = scope.shape(name)
    padded = (1,) * (len(kept) - len(shape)) + shape
    return (node.input[0], axes) if padded == kept else None


def reduced_axes(node: NodeProto, scope: Scope) -> tuple[int, ...]:
    """The axes that a reduction reduces, sorted."""
    rank = len(scope.shape(node.input[0]))
    options = Attributes(node, scope)
    axes = options.integers("axes", ())
    if len(node.input) > 1 and node.input[1]:
        axes = tuple(scope.integers(node.input[1], "axes"))
    if axes or options.flag("noop_with_empty_axes", 0):
        return tuple(sorted(axis % rank for axis in axes))
    return tuple(range(rank))
