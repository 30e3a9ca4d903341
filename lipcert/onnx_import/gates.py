"""Recognising activations that exporters write out in small steps: Gelu, Silu, Mish and others.

A product of two signals has no finite slope, but ``x · sigmoid(x)`` has one.  Each recogniser
reads the ONNX nodes behind two operands and answers with the activation they make together, or
with None.
"""

from __future__ import annotations

from fractions import Fraction

from lipcert.nonlinear.activations import Activation
from lipcert.nonlinear.gates import (
    scaled_gelu,
    scaled_hard_swish,
    scaled_mish,
    scaled_silu,
    scaled_softsign,
    scaled_tanh_gelu,
)
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.polynomials import Opened, leaves, opened, polynomial, repeated
from lipcert.onnx_import.scope import Scope

ROOT_TWO_OVER_PI = 0.7978845608028654
GELU_TOLERANCE = 1e-6
"""How far the rates of a written-out tanh Gelu may be from the usual ones, relatively."""


def gated_activation(first: str, second: str, scope: Scope) -> tuple[str, Activation] | None:
    """``first · second`` as an activation of one signal: ``a·x · (p + q·g(x))``, or None."""
    for line, gate in ((first, second), (second, first)):
        outer = opened(gate, scope)
        if outer is None or outer.factor == 0 or outer.node.op_type not in _GATES:
            continue
        for leaf in leaves(line, scope, 3):
            straight = polynomial(line, scope, leaf, 3)
            if straight is None or not straight.is_multiple:
                continue
            activation = _GATES[outer.node.op_type](straight.clean[1], outer, leaf, scope)
            if activation is not None:
                return leaf, activation
    return None


def quotient_activation(top: str, bottom: str, scope: Scope) -> tuple[str, Activation] | None:
    """``top / bottom`` as Softsign, ``a·x / (c + d·|x|)`` with c, d > 0, or None."""
    outer = opened(bottom, scope)
    if outer is None or outer.node.op_type != "Abs" or outer.shift <= 0:
        return None
    for leaf in leaves(top, scope, 3):
        straight = polynomial(top, scope, leaf, 3)
        inner = polynomial(outer.node.input[0], scope, leaf, 3)
        if straight and inner and straight.is_multiple and inner.is_multiple and outer.factor > 0:
            rate = outer.factor * abs(inner.clean[1]) / outer.shift
            return leaf, scaled_softsign(straight.clean[1] / outer.shift, rate)
    return None


def _inner_line(outer: Opened, leaf: str, scope: Scope) -> dict[int, Fraction]:
    inner = polynomial(outer.node.input[0], scope, leaf)
    return inner.clean if inner else {}


def _erf_gate(gain: Fraction, outer: Opened, leaf: str, scope: Scope) -> Activation | None:
    terms = _inner_line(outer, leaf, scope)
    if set(terms) != {1}:
        return None
    return scaled_gelu(gain * outer.factor, outer.shift / outer.factor, terms[1])


def _sigmoid_gate(gain: Fraction, outer: Opened, leaf: str, scope: Scope) -> Activation | None:
    terms = _inner_line(outer, leaf, scope)
    if set(terms) != {1} or outer.shift != 0:
        return None
    return scaled_silu(gain * outer.factor, terms[1])


def _hard_sigmoid_gate(gain: Fraction, outer: Opened, leaf: str, scope: Scope) -> Activation | None:
    options = Attributes(outer.node, scope)
    alpha = Fraction(options.number("alpha", 0.2))
    beta = Fraction(options.number("beta", 0.5))
    return _clipped(gain, outer, leaf, scope, (alpha, beta), (Fraction(0), Fraction(1)))


def _clip_gate(gain: Fraction, outer: Opened, leaf: str, scope: Scope) -> Activation | None:
    limits = [repeated(name, scope) for name in outer.node.input[1:] if name]
    if len(outer.node.input) == 1:
        options = Attributes(outer.node, scope)
        limits = [options.limit("min", float("-inf")), options.limit("max", float("inf"))]
    if len(limits) != 2 or None in limits or not abs(sum(map(abs, filter(None, limits)))) < 1e30:
        return None
    low, high = (Fraction(limit) for limit in limits if limit is not None)
    return _clipped(gain, outer, leaf, scope, (Fraction(1), Fraction(0)), (low, high))


def _clipped(
    gain: Fraction,
    outer: Opened,
    leaf: str,
    scope: Scope,
    inner: tuple[Fraction, Fraction],
    limits: tuple[Fraction, Fraction],
) -> Activation | None:
    """``gain · x · (shift + factor · clip(inner(argument(x)), limits))``."""
    terms = _inner_line(outer, leaf, scope)
    slope, offset = inner
    rate = slope * terms.get(1, Fraction(0))
    if not set(terms) <= {0, 1} or rate == 0 or not limits[0] < limits[1]:
        return None
    start = slope * terms.get(0, Fraction(0)) + offset
    gate = [outer.factor * rate, outer.factor * start + outer.shift]
    ends = sorted(outer.factor * limit + outer.shift for limit in limits)
    return scaled_hard_swish(gain, gate[0], gate[1], ends[0], ends[1])


def _tanh_gate(gain: Fraction, outer: Opened, leaf: str, scope: Scope) -> Activation | None:
    terms = _inner_line(outer, leaf, scope)
    if set(terms) == {1, 3} and outer.shift == outer.factor and _is_gelu_rate(terms):
        return scaled_tanh_gelu(gain * outer.factor, terms[1], terms[3])
    below = scope.origins.get(outer.node.input[0])
    if below is not None and below.op_type == "Softplus" and outer.shift == 0:
        return scaled_mish(gain * outer.factor) if below.input[0] == leaf else None
    return None


def _is_gelu_rate(terms: dict[int, Fraction]) -> bool:
    linear, cubic = float(terms[1]), float(terms[3])
    return (
        abs(linear / ROOT_TWO_OVER_PI - 1.0) < GELU_TOLERANCE
        and abs(cubic / (0.044715 * ROOT_TWO_OVER_PI) - 1.0) < GELU_TOLERANCE
    )


_GATES = {
    "Erf": _erf_gate,
    "Sigmoid": _sigmoid_gate,
    "HardSigmoid": _hard_sigmoid_gate,
    "Clip": _clip_gate,
    "Tanh": _tanh_gate,
}
