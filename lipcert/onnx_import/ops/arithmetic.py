"""Sums, differences, products and quotients; maxima and minima of several tensors."""

from __future__ import annotations

import numpy as np
import torch
from onnx import NodeProto

from lipcert.nonlinear import ACTIVATIONS, Larger, Product, RootMeanSquare
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.ops.shaping import broadcast_shape
from lipcert.onnx_import.patterns import (
    gated_activation,
    inverse_root_norm,
    mean_of,
    root_norm,
    uniform,
)
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.operators import Centring, Diagonal

BOUNDED_REGION = "no constant holds everywhere; certify on a bounded input region"


@IMPORTERS.register("Add")
def import_add(node: NodeProto, scope: Scope) -> None:
    """Sum of two operands."""
    _add(list(node.input), scope, node.output[0])


@IMPORTERS.register("Sum")
def import_sum(node: NodeProto, scope: Scope) -> None:
    """Sum of any number of operands."""
    _add(list(node.input), scope, node.output[0])


@IMPORTERS.register("Mean")
def import_mean(node: NodeProto, scope: Scope) -> None:
    """Elementwise mean of any number of operands."""
    summed = _add(list(node.input), scope, None)
    share = ball.divide(ball.exact(1.0), ball.exact(float(len(node.input))))
    scale(summed, share, scope, node.output[0])


def _add(names: list[str], scope: Scope, output: str | None) -> str:
    broadcast_shape(scope, *(scope.shape(name) for name in names))
    signals = [name for name in names if not scope.is_constant(name)]
    fixed = [scope.constants[name] for name in names if scope.is_constant(name)]
    if not fixed:
        return scope.total(signals, output)
    bias = fixed[0]
    for other in fixed[1:]:
        bias = ball.add(bias, other)
    summed = scope.total(signals) if len(signals) > 1 else signals[0]
    return scope.shift(bias, summed, output)


@IMPORTERS.register("Sub")
def import_sub(node: NodeProto, scope: Scope) -> None:
    """Difference; ``x − mean(x)`` is the projection that it is."""
    left, right = node.input
    broadcast_shape(scope, scope.shape(left), scope.shape(right))
    if not scope.is_constant(left):
        mean = mean_of(right, scope) if not scope.is_constant(right) else None
        if mean is not None and mean[0] == left:
            scope.linear(Centring(scope.shape(left), mean[1]), left, node.output[0])
            return
    if scope.is_constant(right):
        scope.shift(_negated(scope.constants[right]), left, node.output[0])
        return
    minus = scale(right, ball.exact(-1.0), scope, None)
    _add([left, minus], scope, node.output[0])


def _negated(constant: Constant) -> Constant:
    return Constant(-constant.middle, constant.radius, constant.sources)


@IMPORTERS.register("Neg")
def import_neg(node: NodeProto, scope: Scope) -> None:
    """``−x``."""
    scale(node.input[0], ball.exact(-1.0), scope, node.output[0])


def scale(name: str, factor: Constant, scope: Scope, output: str | None) -> str:
    """Append ``factor · x``, broadcasting either side."""
    shape = broadcast_shape(scope, scope.shape(name), factor.value.shape)
    source = scope.broadcast(name, shape)
    operator = Diagonal(factor.tensor(), shape, factor.largest_error())
    return scope.linear(operator, source, output, parameters=factor.sources)


@IMPORTERS.register("Mul")
def import_mul(node: NodeProto, scope: Scope) -> None:
    """Scaling by a constant; of two signals, the activations that are written that way."""
    left, right = node.input
    if scope.is_constant(left):
        left, right = right, left
    if scope.is_constant(right):
        scale(left, scope.constants[right], scope, node.output[0])
        return
    gated = gated_activation(left, right, scope)
    if gated is not None:
        leaf, activation = gated
        scope.nonlinear(activation, [leaf], scope.shape(leaf), node.output[0])
        return
    for signal, factor in ((left, right), (right, left)):
        norm = inverse_root_norm(factor, scope)
        if norm is not None and norm.source == signal:
            scope.nonlinear(
                RootMeanSquare(norm.axes, norm.epsilon), [signal], scope.shape(signal),
                node.output[0],
            )
            return
    product(left, right, "Mul", scope, node.output[0])


@IMPORTERS.register("Div")
def import_div(node: NodeProto, scope: Scope) -> None:
    """Division by a constant; of two signals, root-mean-square normalisation."""
    left, right = node.input
    if scope.is_constant(right):
        inverse = ball.divide(ball.exact(1.0), scope.constants[right])
        if not np.isfinite(inverse.middle).all() or not np.isfinite(inverse.spread).all():
            raise scope.refuse("divides by zero")
        scale(left, inverse, scope, node.output[0])
        return
    norm = root_norm(right, scope)
    if norm is not None and norm.source == left:
        scope.nonlinear(
            RootMeanSquare(norm.axes, norm.epsilon), [left], scope.shape(left), node.output[0]
        )
        return
    if scope.is_constant(left):
        ones = scope.shift(scope.constants[left], _zeros_like(right, scope))
        left = ones
    product(left, right, "Div", scope, node.output[0])


def _zeros_like(name: str, scope: Scope) -> str:
    zero = torch.zeros((), dtype=torch.float64)
    return scope.linear(Diagonal(zero, scope.shape(name)), name)


def product(left: str, right: str, kind: str, scope: Scope, output: str) -> None:
    """Append a product or quotient of two signals, which has no finite constant."""
    shape = broadcast_shape(scope, scope.shape(left), scope.shape(right))
    operands = [scope.broadcast(left, shape), scope.broadcast(right, shape)]
    scope.nonlinear(Product(kind, BOUNDED_REGION), operands, shape, output)


@IMPORTERS.register("Max")
def import_max(node: NodeProto, scope: Scope) -> None:
    """Elementwise maximum."""
    _extremum(node, scope, 1.0)


@IMPORTERS.register("Min")
def import_min(node: NodeProto, scope: Scope) -> None:
    """Elementwise minimum."""
    _extremum(node, scope, -1.0)


def _extremum(node: NodeProto, scope: Scope, sign: float) -> None:
    """Against one number this is a Clip; against arrays, a selection among joint inputs."""
    signals = [name for name in node.input if not scope.is_constant(name)]
    limits = [uniform(name, scope) for name in node.input if scope.is_constant(name)]
    shape = broadcast_shape(scope, *(scope.shape(name) for name in node.input))
    if len(signals) == 1 and limits and all(limit is not None for limit in limits):
        numbers = [limit for limit in limits if limit is not None]
        source = scope.broadcast(signals[0], shape)
        clip = (
            ACTIVATIONS["Clip"](low=max(numbers))
            if sign > 0
            else ACTIVATIONS["Clip"](high=min(numbers))
        )
        scope.nonlinear(clip, [source], shape, node.output[0])
        return
    operands = []
    for name in node.input:
        if scope.is_constant(name):
            name = scope.shift(scope.constants[name], _zeros_like(signals[0], scope))
        operands.append(scope.broadcast(name, shape))
    scope.nonlinear(Larger(sign=sign), operands, shape, node.output[0])


@IMPORTERS.register("Where")
def import_where(node: NodeProto, scope: Scope) -> None:
    """A choice between two signals by a constant mask."""
    if not scope.is_constant(node.input[0]):
        raise scope.refuse(
            "chooses by a condition on the signal, which is discontinuous unless both branches "
            "agree where it changes",
            "use the activation's own operator (for Softplus, export with opset 13 or later and "
            "threshold=float('inf'))",
        )
    mask = scope.constants[node.input[0]].value.astype(np.float64)
    parts: list[str] = []
    shape = broadcast_shape(scope, mask.shape, *(scope.shape(name) for name in node.input[1:]))
    bias = Constant(np.zeros(shape))
    for name, chosen in ((node.input[1], mask), (node.input[2], 1.0 - mask)):
        if scope.is_constant(name):
            bias = _masked_sum(bias, scope.constants[name], chosen)
        else:
            expanded = scope.broadcast(name, shape)
            parts.append(scale(expanded, Constant(chosen), scope, None))
    summed = scope.total(parts) if len(parts) > 1 else parts[0]
    scope.shift(bias, summed, node.output[0])


def _masked_sum(bias: Constant, value: Constant, mask: np.ndarray) -> Constant:
    shape = bias.value.shape
    chosen = np.where(np.broadcast_to(mask, shape) > 0, value.middle, bias.middle)
    radius = np.where(np.broadcast_to(mask, shape) > 0, value.spread, bias.spread)
    return Constant(chosen, radius if radius.any() else None, bias.sources + value.sources)


@IMPORTERS.register("Pow")
def import_pow(node: NodeProto, scope: Scope) -> None:
    """Powers with a constant exponent."""
    exponent = uniform(node.input[1], scope)
    if exponent is None or scope.is_constant(node.input[0]):
        raise scope.refuse("has an exponent that depends on the input or differs by element")
    if exponent == 1.0:
        scope.alias(node.input[0], node.output[0])
        return
    unbounded_power(node, scope, exponent)


def unbounded_power(node: NodeProto, scope: Scope, exponent: float) -> None:
    """Append ``x ** exponent``, whose slope is unbounded."""
    from lipcert.nonlinear import Unbounded

    power = Unbounded(
        "Pow", lambda x: x**exponent, f"raises a signal to the power {exponent:g}", BOUNDED_REGION
    )
    scope.nonlinear(power, [node.input[0]], scope.shape(node.input[0]), node.output[0])
