"""Sums, differences, products and quotients; maxima and minima of several tensors."""

from __future__ import annotations

import math

import numpy as np
import torch
from onnx import NodeProto

from lipcert.nonlinear import ACTIVATIONS, Larger, Product, Unbounded
from lipcert.nonlinear.activations import Activation
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.gates import gated_activation, quotient_activation
from lipcert.onnx_import.norms import ONE, Quotient, mean_of, normalised, normalised_by_product
from lipcert.onnx_import.pending import CONTINUOUS
from lipcert.onnx_import.polynomials import repeated, uniform
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Masked, Scope
from lipcert.operators import Centring, Diagonal

BOUNDED_REGION = "no constant holds everywhere; put an operation of bounded slope in its place"


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
    scope.common_shape(*(scope.shape(name) for name in names))
    signals = [name for name in names if not scope.is_constant(name)]
    fixed = [scope.constants[name] for name in names if scope.is_constant(name)]
    if not fixed:
        return scope.total(signals, output)
    bias = fixed[0]
    for other in fixed[1:]:
        bias = ball.add(bias, other)
    summed = scope.total(signals)
    return add_constant(bias, summed, scope, output)


def add_constant(bias: Constant, source: str, scope: Scope, output: str | None) -> str:
    """Append ``x + b``; where b is −∞ the result is kept as a masked signal."""
    hidden = np.isneginf(bias.middle)
    if not hidden.any() or bias.radius is not None:
        return scope.shift(bias, source, output)
    visible = Constant(np.where(hidden, 0.0, bias.middle), None, bias.sources)
    name = scope.shift(visible, source, output)
    scope.masked[name] = Masked(np.broadcast_to(hidden, scope.shape(name)))
    return name


@IMPORTERS.register("Sub")
def import_sub(node: NodeProto, scope: Scope) -> None:
    """Difference; ``x − mean(x)`` is the projection that it is."""
    left, right = node.input
    scope.common_shape(scope.shape(left), scope.shape(right))
    if not scope.is_constant(left):
        mean = mean_of(right, scope) if not scope.is_constant(right) else None
        if mean is not None and mean[0] == left:
            scope.linear(Centring(scope.shape(left), mean[1]), left, node.output[0])
            return
    if scope.is_constant(right):
        add_constant(scope.constants[right].negated, left, scope, node.output[0])
        return
    minus = scale(right, ball.exact(-1.0), scope, None)
    _add([left, minus], scope, node.output[0])


@IMPORTERS.register("Neg")
def import_neg(node: NodeProto, scope: Scope) -> None:
    """``−x``."""
    scale(node.input[0], ball.exact(-1.0), scope, node.output[0])


def scale(name: str, factor: Constant, scope: Scope, output: str | None) -> str:
    """Append ``factor · x``, broadcasting either side."""
    shape = scope.common_shape(scope.shape(name), factor.value.shape)
    source = scope.broadcast(name, shape)
    operator = Diagonal(factor.tensor(), shape, factor.largest_error())
    return scope.linear(operator, source, output, coefficients=factor)


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
        _activate(gated, node, scope)
        return
    for signal, factor in ((left, right), (right, left)):
        quotient = normalised_by_product(signal, factor, scope)
        if quotient is not None:
            _normalise(quotient, scope, node.output[0])
            return
    product(left, right, "Mul", scope, node.output[0])


@IMPORTERS.register("Div")
def import_div(node: NodeProto, scope: Scope) -> None:
    """Division by a constant; of two signals, what is known to be bounded."""
    left, right = node.input
    if scope.is_constant(right):
        inverse = ball.divide(ball.exact(1.0), scope.constants[right])
        if not inverse.is_finite:
            raise scope.refuse("divides by zero", "a model that does so has no bound")
        scale(left, inverse, scope, node.output[0])
        return
    if not scope.is_constant(left):
        activation = quotient_activation(left, right, scope)
        if activation is not None:
            _activate(activation, node, scope)
            return
        quotient = normalised(left, right, scope)
        if quotient is not None:
            _normalise(quotient, scope, node.output[0])
            return
    product(_as_signal(left, right, scope), right, "Div", scope, node.output[0])


def _activate(found: tuple[str, Activation], node: NodeProto, scope: Scope) -> None:
    leaf, activation = found
    shape = scope.common_shape(*(scope.shape(name) for name in node.input))
    scope.nonlinear(activation, [scope.broadcast(leaf, shape)], shape, node.output[0])


def _normalise(quotient: Quotient, scope: Scope, output: str) -> None:
    source, plain = quotient.norm.source, quotient.factor is ONE
    divided = scope.nonlinear(
        quotient.norm.division(), [source], scope.shape(source), output if plain else None
    )
    if not plain:
        scale(divided, quotient.factor, scope, output)


def _as_signal(name: str, like: str, scope: Scope) -> str:
    """A value that may be constant, as a signal that does not depend on the input."""
    if not scope.is_constant(name):
        return name
    return scope.shift(scope.constants[name], _zeros_like(like, scope))


def _zeros_like(name: str, scope: Scope) -> str:
    zero = torch.zeros((), dtype=torch.float64)
    return scope.linear(Diagonal(zero, scope.shape(name)), name)


def product(left: str, right: str, kind: str, scope: Scope, output: str) -> None:
    """Append a product or quotient of two signals, which has no finite constant."""
    shape = scope.common_shape(scope.shape(left), scope.shape(right))
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
    limits = [repeated(name, scope) for name in node.input if scope.is_constant(name)]
    shape = scope.common_shape(*(scope.shape(name) for name in node.input))
    numbers = [limit for limit in limits if limit is not None and not math.isnan(limit)]
    if len(signals) == 1 and len(numbers) == len(limits):
        source = scope.broadcast(signals[0], shape)
        if not numbers:
            scope.alias(source, node.output[0])
            return
        limit = {"low": max(numbers)} if sign > 0 else {"high": min(numbers)}
        scope.nonlinear(ACTIVATIONS["Clip"](**limit), [source], shape, node.output[0])
        return
    operands = [scope.broadcast(_as_signal(name, signals[0], scope), shape) for name in node.input]
    scope.nonlinear(Larger(sign=sign), operands, shape, node.output[0])


@IMPORTERS.register("Where")
def import_where(node: NodeProto, scope: Scope) -> None:
    """A choice between two signals by a constant mask."""
    if not scope.is_constant(node.input[0]):
        raise scope.refuse("chooses by the values of a signal that is no truth value", CONTINUOUS)
    mask = scope.constants[node.input[0]].value.astype(bool)
    shape = scope.common_shape(mask.shape, *(scope.shape(name) for name in node.input[1:]))
    mask = np.broadcast_to(mask, shape)
    parts: list[str] = []
    bias = Constant(np.zeros(shape))
    for name, chosen in ((node.input[1], mask), (node.input[2], ~mask)):
        if scope.is_constant(name):
            bias = _where(chosen, scope.constants[name], bias)
        elif chosen.any():
            positions = scope.positions(scope.broadcast(name, shape))
            kept = np.where(chosen, positions, -1)
            parts.append(scope.rearrange(kept, scope.broadcast(name, shape)))
    if not parts:
        parts = [_zeros_like(next(n for n in node.input if not scope.is_constant(n)), scope)]
    summed = scope.total(parts)
    if np.any(bias.middle) or bias.radius is not None:
        add_constant(bias, summed, scope, node.output[0])
    else:
        scope.alias(scope.broadcast(summed, shape), node.output[0])


def _where(chosen: np.ndarray, value: Constant, otherwise: Constant) -> Constant:
    radius = np.where(chosen, value.spread, otherwise.spread)
    return Constant(
        np.where(chosen, value.middle, otherwise.middle),
        radius if radius.any() else None,
        otherwise.sources + value.sources,
    )


@IMPORTERS.register("Pow")
def import_pow(node: NodeProto, scope: Scope) -> None:
    """Powers with a constant exponent."""
    number = uniform(node.input[1], scope)
    if number is None or scope.is_constant(node.input[0]):
        raise scope.refuse(
            "has an exponent that depends on the input or differs by element", BOUNDED_REGION
        )
    shape = scope.common_shape(*(scope.shape(name) for name in node.input))
    source = scope.broadcast(node.input[0], shape)
    exponent = float(number)
    if exponent == 1.0:
        scope.alias(source, node.output[0])
        return
    power = Unbounded(
        "Pow", lambda x: x**exponent, f"raises a signal to the power {exponent:g}", BOUNDED_REGION
    )
    scope.nonlinear(power, [source], shape, node.output[0])
