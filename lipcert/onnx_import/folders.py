"""Arithmetic on constants, one function per operator, each result with a bound of its error."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
from onnx import NodeProto

from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Array, Constant
from lipcert.onnx_import.folding import FOLDERS
from lipcert.onnx_import.scope import Scope


@FOLDERS.register("Add")
def fold_add(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a + b``."""
    return ball.add(*operands)


@FOLDERS.register("Sum")
def fold_sum(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a + b + …``."""
    summed = operands[0]
    for other in operands[1:]:
        summed = ball.add(summed, other)
    return summed


@FOLDERS.register("Sub")
def fold_sub(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a − b``."""
    return ball.subtract(*operands)


@FOLDERS.register("Mul")
def fold_mul(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a · b``."""
    return ball.multiply(*operands)


@FOLDERS.register("Div")
def fold_div(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a / b``."""
    return ball.divide(*operands)


@FOLDERS.register("Reciprocal")
def fold_reciprocal(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``1 / a``."""
    return ball.divide(ball.exact(1.0), operands[0])


@FOLDERS.register("Sqrt")
def fold_sqrt(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``√a``."""
    return ball.square_root(operands[0])


@FOLDERS.register("Neg")
def fold_neg(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``−a``."""
    return operands[0].negated


@FOLDERS.register("Abs")
def fold_abs(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``|a|``."""
    return Constant(np.abs(operands[0].middle), operands[0].radius, operands[0].sources)


@FOLDERS.register("Relu")
def fold_relu(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``max(a, 0)``, 1-Lipschitz."""
    a = operands[0]
    return Constant(np.maximum(a.middle, 0.0), a.radius, a.sources)


@FOLDERS.register("Exp")
def fold_exp(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``e^a``: the slope is largest at the upper end of the ball."""
    a = operands[0]
    return ball.smooth(a, np.exp, np.exp(a.middle + a.spread) * 1.001)


@FOLDERS.register("Log")
def fold_log(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``log a``: the slope is largest at the lower end of the ball; undefined at zero and below."""
    a = operands[0]
    lowest = a.middle - a.spread
    steepest = np.where(lowest > 0.0, 1.001 / lowest, np.nan)
    logarithm = ball.smooth(a, np.log, steepest)
    assert logarithm.radius is not None
    radius = np.where(lowest > 0.0, logarithm.radius, np.nan)
    return Constant(logarithm.value, radius, logarithm.sources)


@FOLDERS.register("Sigmoid")
def fold_sigmoid(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``1 / (1 + e^−a)``."""
    return ball.smooth(operands[0], _sigmoid, 0.2501)


@FOLDERS.register("Softplus")
def fold_softplus(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``log(1 + e^a)``."""
    return ball.smooth(operands[0], lambda a: np.logaddexp(a, 0.0), 1.0)


def _sigmoid(a: Array) -> Array:
    small = np.exp(-np.abs(a))
    return np.where(a >= 0.0, 1.0, small) / (1.0 + small)


def _error_function(a: Array) -> Array:
    return np.asarray(torch.erf(torch.from_numpy(np.array(a, dtype=np.float64))).numpy())


_ELEMENTARY: dict[str, tuple[Callable[[Array], Array], float]] = {
    "Tanh": (np.tanh, 1.0),
    "Erf": (_error_function, 1.1284),
    "Sin": (np.sin, 1.0),
    "Cos": (np.cos, 1.0),
    "Atan": (np.arctan, 1.0),
}


@FOLDERS.register(*_ELEMENTARY)
def fold_elementary(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """An elementary function whose slope is bounded everywhere."""
    return ball.smooth(operands[0], *_ELEMENTARY[node.op_type])


@FOLDERS.register("Pow")
def fold_pow(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Powers 1, 2, 3, 1/2, −1/2 and −1."""
    base, exponent = operands
    power = float(exponent.middle.reshape(-1)[0]) if exponent.value.size == 1 else math.nan
    if exponent.radius is not None or power not in _POWERS:
        raise scope.refuse("raises a weight to a power other than 1, 2, 3, 1/2, -1/2, -1")
    shape = np.broadcast_shapes(base.value.shape, exponent.value.shape)
    return _POWERS[power](base).reshaped(lambda array: array.reshape(shape))


_POWERS: dict[float, Callable[[Constant], Constant]] = {
    1.0: lambda base: base,
    2.0: lambda base: ball.multiply(base, base),
    3.0: lambda base: ball.multiply(ball.multiply(base, base), base),
    0.5: ball.square_root,
    -0.5: lambda base: ball.divide(ball.exact(1.0), ball.square_root(base)),
    -1.0: lambda base: ball.divide(ball.exact(1.0), base),
}


@FOLDERS.register("Range")
def fold_range(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``start + i · step`` up to ``stop``, the number of terms decided exactly."""
    start, stop, step = (scope.number(name, "limit or step") for name in node.input)
    if step == 0.0 or not all(math.isfinite(limit) for limit in (start, stop, step)):
        raise scope.refuse("has a step of zero or an infinite limit")
    count = max(0, math.ceil((Fraction(stop) - Fraction(start)) / Fraction(step)))
    ramp = ball.multiply(Constant(np.arange(count, dtype=np.float64)), ball.exact(step))
    return ball.add(ball.exact(start), ramp)


@FOLDERS.register("MatMul")
def fold_matmul(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a @ b``."""
    return ball.matrix_product(*operands)


@FOLDERS.register("Gemm")
def fold_gemm(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``alpha · a @ b + beta · c``."""
    options = Attributes(node, scope)
    a, b = operands[:2]
    if options.flag("transA", 0):
        a = a.reshaped(np.transpose)
    if options.flag("transB", 0):
        b = b.reshaped(np.transpose)
    product = ball.multiply(ball.matrix_product(a, b), ball.exact(options.number("alpha", 1.0)))
    if len(operands) < 3 or not node.input[2]:
        return product
    return ball.add(product, ball.multiply(operands[2], ball.exact(options.number("beta", 1.0))))


def _reduction(
    node: NodeProto, operands: list[Constant], scope: Scope
) -> tuple[tuple[int, ...], bool]:
    """Axes and keepdims; no axes where the operator leaves its operand alone."""
    options = Attributes(node, scope)
    axes: tuple[int, ...] = options.integers("axes", ())
    if len(operands) > 1 and node.input[1]:
        axes = tuple(scope.integers(node.input[1], "axes"))
    keepdims = bool(options.flag("keepdims", 1))
    if axes:
        return axes, keepdims
    if options.flag("noop_with_empty_axes", 0):
        if node.op_type in ("ReduceL1", "ReduceL2", "ReduceSumSquare"):
            raise scope.refuse("reduces no axes, which runtimes read differently")
        return (), keepdims
    return tuple(range(operands[0].value.ndim)), keepdims


@FOLDERS.register("ReduceSum")
def fold_reduce_sum(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Sum over axes."""
    axes, keepdims = _reduction(node, operands, scope)
    return ball.total(operands[0], axes, keepdims=keepdims)


@FOLDERS.register("ReduceMean")
def fold_reduce_mean(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Mean over axes."""
    axes, keepdims = _reduction(node, operands, scope)
    summed = ball.total(operands[0], axes, keepdims=keepdims)
    return ball.divide(summed, ball.exact(operands[0].value.size / max(1, summed.value.size)))


@FOLDERS.register("ReduceL1")
def fold_reduce_l1(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """l1 norm over axes."""
    axes, keepdims = _reduction(node, operands, scope)
    return ball.total(fold_abs(node, operands, scope), axes, keepdims=keepdims)


@FOLDERS.register("ReduceL2")
def fold_reduce_l2(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """l2 norm over axes."""
    return ball.square_root(fold_reduce_sum_square(node, operands, scope))


@FOLDERS.register("ReduceSumSquare")
def fold_reduce_sum_square(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Sum of squares over axes."""
    axes, keepdims = _reduction(node, operands, scope)
    return ball.total(ball.multiply(operands[0], operands[0]), axes, keepdims=keepdims)


@FOLDERS.register("ReduceMax", "ReduceMin")
def fold_reduce_extremum(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Largest or smallest over axes: 1-Lipschitz in the largest of the radii."""
    axes, keepdims = _reduction(node, operands, scope)
    a = operands[0]
    choose = np.max if node.op_type == "ReduceMax" else np.min
    radius = None if a.radius is None else np.max(a.radius, axis=axes, keepdims=keepdims)
    value = np.asarray(choose(a.middle, axis=axes, keepdims=keepdims))
    return Constant(value, None if radius is None else np.asarray(radius), a.sources)


@FOLDERS.register("Max", "Min")
def fold_extremum(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Elementwise maximum or minimum: 1-Lipschitz in the larger of the radii."""
    choose = np.maximum if node.op_type == "Max" else np.minimum
    value, radius = operands[0].middle, operands[0].spread
    for other in operands[1:]:
        value = choose(value, other.middle)
        radius = np.maximum(radius, other.spread)
    sources = tuple(dict.fromkeys(name for operand in operands for name in operand.sources))
    inexact = any(operand.radius is not None for operand in operands)
    return Constant(value, np.broadcast_to(radius, value.shape) if inexact else None, sources)


@FOLDERS.register("Clip")
def fold_clip(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``min(max(a, low), high)``, 1-Lipschitz in a."""
    options = Attributes(node, scope)
    low, high = options.limit("min", -math.inf), options.limit("max", math.inf)
    if len(node.input) > 1 and node.input[1]:
        low = scope.number(node.input[1], "lower limit")
    if len(node.input) > 2 and node.input[2]:
        high = scope.number(node.input[2], "upper limit")
    a = operands[0]
    return Constant(np.minimum(np.maximum(a.middle, low), high), a.radius, a.sources)
