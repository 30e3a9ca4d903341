"""Recognising what exporters write out in small steps: Gelu, Silu, Mish, layer normalisation.

A product of two signals has no finite slope, but ``x · sigmoid(x)`` has one.  Each recogniser
reads the ONNX nodes behind two operands and answers with the activation they make together, or
with None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnx import NodeProto

from lipcert.nonlinear.activations import (
    Activation,
    scaled_gelu,
    scaled_hard_swish,
    scaled_mish,
    scaled_silu,
    scaled_tanh_gelu,
)
from lipcert.onnx_import.scope import Attributes, Scope

DEPTH = 12
"""How many nodes back a pattern may reach."""


@dataclass(frozen=True)
class Polynomial:
    """A polynomial in one signal: coefficients by degree."""

    leaf: str
    terms: dict[int, float]

    def times(self, other: Polynomial) -> Polynomial | None:
        """The product, where both are in one signal."""
        if self.leaf != other.leaf:
            return None
        terms: dict[int, float] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                terms[a + b] = terms.get(a + b, 0.0) + x * y
        return Polynomial(self.leaf, terms)

    def plus(self, other: Polynomial) -> Polynomial | None:
        """The sum, where both are in one signal."""
        if self.leaf != other.leaf:
            return None
        terms = dict(self.terms)
        for degree, value in other.terms.items():
            terms[degree] = terms.get(degree, 0.0) + value
        return Polynomial(self.leaf, terms)

    def scaled(self, factor: float, shift: float = 0.0) -> Polynomial:
        """``factor · p + shift``."""
        terms = {degree: factor * value for degree, value in self.terms.items()}
        terms[0] = terms.get(0, 0.0) + shift
        return Polynomial(self.leaf, terms)

    @property
    def clean(self) -> dict[int, float]:
        """The coefficients that are not zero."""
        return {degree: value for degree, value in self.terms.items() if value != 0.0}


def uniform(name: str, scope: Scope) -> float | None:
    """An exact constant as the one number it repeats, or None."""
    if not name or not scope.is_constant(name):
        return None
    constant = scope.constants[name]
    if not constant.value.size or constant.value.dtype.kind not in "fiu":
        return None
    if constant.radius is not None:
        return None
    values = constant.middle.reshape(-1)
    return float(values[0]) if bool((values == values[0]).all()) else None


def polynomial(name: str, scope: Scope, leaf: str, depth: int = DEPTH) -> Polynomial | None:
    """A value as a polynomial in ``leaf``, read through its nodes, or None."""
    if name == leaf:
        return Polynomial(leaf, {1: 1.0})
    node = scope.origins.get(name)
    if node is None or depth == 0:
        return None
    operands = [(item, uniform(item, scope)) for item in node.input if item]
    if node.op_type == "Pow" and operands[1][1] in (2.0, 3.0):
        base = polynomial(operands[0][0], scope, leaf, depth - 1)
        power = base.times(base) if base else None
        return power.times(base) if power and base and operands[1][1] == 3.0 else power
    if len(operands) != 2 or node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    (first, a), (second, b) = operands
    if a is None and b is None:
        left = polynomial(first, scope, leaf, depth - 1)
        right = polynomial(second, scope, leaf, depth - 1)
        if left is None or right is None:
            return None
        joined = {"Add": left.plus, "Mul": left.times}.get(node.op_type)
        return joined(right) if joined else None
    inner = polynomial(second if b is None else first, scope, leaf, depth - 1)
    return None if inner is None else _with_number(node.op_type, inner, a, b)


def _with_number(
    op_type: str, inner: Polynomial, a: float | None, b: float | None
) -> Polynomial | None:
    number = a if a is not None else b
    assert number is not None
    if op_type == "Add":
        return inner.scaled(1.0, number)
    if op_type == "Mul":
        return inner.scaled(number)
    if op_type == "Sub":
        return inner.scaled(1.0, -number) if b is not None else inner.scaled(-1.0, number)
    return inner.scaled(1.0 / number) if b is not None and number != 0.0 else None


def leaves(name: str, scope: Scope, depth: int = DEPTH) -> list[str]:
    """The signals that a value is an elementwise function of, itself first."""
    found = [name]
    node = scope.origins.get(name)
    elementwise = ("Add", "Sub", "Mul", "Div", "Pow", "Erf", "Tanh", "Sigmoid", "Softplus")
    if node is not None and depth and node.op_type in elementwise:
        for item in node.input:
            if item and not scope.is_constant(item):
                found += [leaf for leaf in leaves(item, scope, depth - 1) if leaf not in found]
    return found


def gated_activation(first: str, second: str, scope: Scope) -> tuple[str, Activation] | None:
    """``first · second`` as an activation of one signal: ``a·x · (p + q·g(x))``, or None."""
    for line, gate in ((first, second), (second, first)):
        for leaf in leaves(line, scope, 3):
            straight = polynomial(line, scope, leaf, 3)
            if straight is None or set(straight.clean) != {1}:
                continue
            activation = _gate(gate, straight.clean[1], leaf, scope)
            if activation is not None:
                return leaf, activation
    return None


def _gate(gate: str, gain: float, leaf: str, scope: Scope) -> Activation | None:
    """``gain · x · gate(x)`` for the gates that are known."""
    opened = _peel(gate, scope)
    if opened is None:
        return None
    node, q, p = opened
    inner = polynomial(node.input[0], scope, leaf)
    terms = inner.clean if inner else {}
    if node.op_type == "Erf" and set(terms) == {1} and q != 0.0:
        return scaled_gelu(gain * q, p / q, terms[1])
    if node.op_type == "Sigmoid" and set(terms) == {1} and p == 0.0 and terms[1] != 0.0:
        return scaled_silu(gain * q, terms[1])
    if node.op_type == "HardSigmoid" and terms == {1: 1.0} and p == 0.0:
        options = Attributes(node, scope)
        alpha, beta = options.number("alpha", 0.2), options.number("beta", 0.5)
        return scaled_hard_swish(gain * q, alpha, beta) if alpha > 0.0 else None
    if node.op_type == "Tanh":
        if set(terms) == {1, 3} and p == q and _is_gelu_rate(terms[1], terms[3]):
            return scaled_tanh_gelu(gain * q, terms[1], terms[3])
        below = scope.origins.get(node.input[0])
        if below is not None and below.op_type == "Softplus" and p == 0.0:
            return scaled_mish(gain * q) if below.input[0] == leaf else None
    return None


def _peel(name: str, scope: Scope) -> tuple[NodeProto, float, float] | None:
    """A value as ``q · node + p`` through additions and multiplications by numbers."""
    q, p = 1.0, 0.0
    for _ in range(DEPTH):
        node = scope.origins.get(name)
        if node is None:
            return None
        if node.op_type not in ("Add", "Sub", "Mul", "Div"):
            return node, q, p
        numbers = [uniform(item, scope) for item in node.input]
        if numbers[0] is None and numbers[1] is None:
            return None
        step = _with_number(node.op_type, Polynomial(name, {1: 1.0}), numbers[0], numbers[1])
        if step is None:
            return None
        q, p = q * step.terms.get(1, 0.0), p + q * step.terms.get(0, 0.0)
        name = node.input[1] if numbers[1] is None else node.input[0]
    return None


def _is_gelu_rate(linear: float, cubic: float) -> bool:
    wanted = math.sqrt(2.0 / math.pi)
    return abs(linear / wanted - 1.0) < 1e-5 and abs(cubic / (0.044715 * wanted) - 1.0) < 1e-5


@dataclass(frozen=True)
class RootNorm:
    """``√(mean(source²) + epsilon)`` over ``axes``, kept as dimensions of 1."""

    source: str
    axes: tuple[int, ...]
    epsilon: float


def root_norm(name: str, scope: Scope) -> RootNorm | None:
    """A value as the root mean square of another signal, or None."""
    node = scope.origins.get(name)
    if node is None or node.op_type not in ("Sqrt", "Pow"):
        return None
    if node.op_type == "Pow" and uniform(node.input[1], scope) != 0.5:
        return None
    return _mean_square(node.input[0], scope, 0.0)


def inverse_root_norm(name: str, scope: Scope) -> RootNorm | None:
    """A value as one over the root mean square of another signal, or None."""
    node = scope.origins.get(name)
    if node is None:
        return None
    if node.op_type == "Reciprocal":
        return root_norm(node.input[0], scope)
    if node.op_type == "Div" and uniform(node.input[0], scope) == 1.0:
        return root_norm(node.input[1], scope)
    if node.op_type == "Pow" and uniform(node.input[1], scope) == -0.5:
        return _mean_square(node.input[0], scope, 0.0)
    return None


def _mean_square(name: str, scope: Scope, epsilon: float) -> RootNorm | None:
    node = scope.origins.get(name)
    if node is None:
        return None
    if node.op_type == "Add":
        for signal, number in (node.input, reversed(node.input)):
            added = uniform(number, scope)
            if added is not None:
                return _mean_square(signal, scope, epsilon + added)
        return None
    mean = mean_of(name, scope)
    square = scope.origins.get(mean[0]) if mean else None
    if mean is None or square is None:
        return None
    if square.op_type == "Pow" and uniform(square.input[1], scope) == 2.0:
        return RootNorm(square.input[0], mean[1], epsilon)
    if square.op_type == "Mul" and square.input[0] == square.input[1]:
        return RootNorm(square.input[0], mean[1], epsilon)
    return None


def mean_of(name: str, scope: Scope) -> tuple[str, tuple[int, ...]] | None:
    """The signal and axes that a value is the mean of, dimensions kept, or None."""
    node = scope.origins.get(name)
    if node is None or node.op_type != "ReduceMean":
        return None
    options = Attributes(node, scope)
    if not options.integer("keepdims", 1):
        return None
    rank = len(scope.shape(node.input[0]))
    axes = options.integers("axes", ())
    if len(node.input) > 1 and node.input[1]:
        axes = tuple(scope.integers(node.input[1], "axes"))
    return node.input[0], tuple(sorted(axis % rank for axis in axes)) or tuple(range(rank))
