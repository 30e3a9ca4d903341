"""Reading values back through the nodes that made them, as exact polynomials in one signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from onnx import NodeProto

from lipcert.onnx_import.scope import Scope

DEPTH = 12
"""How many nodes back a pattern may reach."""

ELEMENTWISE = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Pow",
        "Erf",
        "Tanh",
        "Sigmoid",
        "Softplus",
        "Exp",
        "Log",
        "Abs",
        "HardSigmoid",
        "Clip",
        "Relu",
    ]
)


@dataclass(frozen=True)
class Polynomial:
    """A polynomial in one signal: exact coefficients by degree."""

    leaf: str
    terms: dict[int, Fraction]

    def times(self, other: Polynomial) -> Polynomial | None:
        """The product, where both are in one signal."""
        if self.leaf != other.leaf:
            return None
        terms: dict[int, Fraction] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                terms[a + b] = terms.get(a + b, Fraction(0)) + x * y
        return Polynomial(self.leaf, terms)

    def plus(self, other: Polynomial) -> Polynomial | None:
        """The sum, where both are in one signal."""
        if self.leaf != other.leaf:
            return None
        terms = dict(self.terms)
        for degree, value in other.terms.items():
            terms[degree] = terms.get(degree, Fraction(0)) + value
        return Polynomial(self.leaf, terms)

    def minus(self, other: Polynomial) -> Polynomial | None:
        """The difference, where both are in one signal."""
        return self.plus(other.scaled(Fraction(-1)))

    def scaled(self, factor: Fraction, shift: Fraction = Fraction(0)) -> Polynomial:
        """``factor · p + shift``."""
        terms = {degree: factor * value for degree, value in self.terms.items()}
        terms[0] = terms.get(0, Fraction(0)) + shift
        return Polynomial(self.leaf, terms)

    @property
    def clean(self) -> dict[int, Fraction]:
        """The coefficients that are not zero."""
        return {degree: value for degree, value in self.terms.items() if value != 0}

    @property
    def is_multiple(self) -> bool:
        """Whether it is a number times the signal."""
        return set(self.clean) == {1}


def repeated(name: str, scope: Scope) -> float | None:
    """An exact constant as the one number it repeats, possibly infinite, or None."""
    if not name or not scope.is_constant(name):
        return None
    constant = scope.constants[name]
    if not constant.value.size or constant.value.dtype.kind not in "fiu":
        return None
    if constant.radius is not None:
        return None
    values = constant.middle.reshape(-1)
    return float(values[0]) if bool((values == values[0]).all()) else None


def uniform(name: str, scope: Scope) -> Fraction | None:
    """An exact constant as the one finite number it repeats, or None."""
    number = repeated(name, scope)
    return None if number is None or not math.isfinite(number) else Fraction(number)


def polynomial(name: str, scope: Scope, leaf: str, depth: int = DEPTH) -> Polynomial | None:
    """A value as a polynomial in ``leaf``, read through its nodes, or None."""
    if name == leaf:
        return Polynomial(leaf, {1: Fraction(1)})
    node = scope.origins.get(name)
    if node is None or depth == 0:
        return None
    operands = [(item, uniform(item, scope)) for item in node.input if item]
    if node.op_type == "Neg":
        inner = polynomial(operands[0][0], scope, leaf, depth - 1)
        return None if inner is None else inner.scaled(Fraction(-1))
    if len(operands) != 2 or node.op_type not in ("Pow", "Add", "Sub", "Mul", "Div"):
        return None
    (first, a), (second, b) = operands
    if node.op_type == "Pow":
        return _power(polynomial(first, scope, leaf, depth - 1), b)
    if a is None and b is None:
        left = polynomial(first, scope, leaf, depth - 1)
        right = polynomial(second, scope, leaf, depth - 1)
        if left is None or right is None:
            return None
        joined = {"Add": left.plus, "Sub": left.minus, "Mul": left.times}.get(node.op_type)
        return joined(right) if joined else None
    inner = polynomial(second if b is None else first, scope, leaf, depth - 1)
    return None if inner is None else with_number(node.op_type, inner, a, b)


def _power(base: Polynomial | None, exponent: Fraction | None) -> Polynomial | None:
    if base is None or exponent not in (1, 2, 3):
        return None
    power = base
    for _ in range(int(exponent) - 1):
        product = power.times(base)
        if product is None:
            return None
        power = product
    return power


def with_number(
    op_type: str, inner: Polynomial, a: Fraction | None, b: Fraction | None
) -> Polynomial | None:
    """The polynomial after an operation with the number on its left (``a``) or right (``b``)."""
    number = a if a is not None else b
    assert number is not None
    if op_type == "Add":
        return inner.scaled(Fraction(1), number)
    if op_type == "Mul":
        return inner.scaled(number)
    if op_type == "Sub" and b is not None:
        return inner.scaled(Fraction(1), -number)
    if op_type == "Sub":
        return inner.scaled(Fraction(-1), number)
    return inner.scaled(1 / number) if b is not None and number != 0 else None


@dataclass(frozen=True)
class Opened:
    """A value as ``factor · node + shift``."""

    name: str
    node: NodeProto
    factor: Fraction
    shift: Fraction


def opened(name: str, scope: Scope) -> Opened | None:
    """A value without the additions and multiplications by numbers around its last node."""
    factor, shift = Fraction(1), Fraction(0)
    for _ in range(DEPTH):
        node = scope.origins.get(name)
        if node is None:
            return None
        if node.op_type not in ("Add", "Sub", "Mul", "Div", "Neg"):
            return Opened(name, node, factor, shift)
        if node.op_type == "Neg":
            factor, name = -factor, node.input[0]
            continue
        a, b = (uniform(item, scope) for item in node.input)
        if (a is None) == (b is None):
            return Opened(name, node, factor, shift)
        step = with_number(node.op_type, Polynomial(name, {1: Fraction(1)}), a, b)
        if step is None:
            return Opened(name, node, factor, shift)
        shift += factor * step.terms.get(0, Fraction(0))
        factor *= step.terms.get(1, Fraction(0))
        name = node.input[1] if b is None else node.input[0]
    return None


def leaves(name: str, scope: Scope, depth: int = DEPTH) -> list[str]:
    """The signals that a value is an elementwise function of, nearest first, itself included."""
    found = [name]
    edge = [name]
    for _ in range(depth):
        nodes = [scope.origins[item] for item in edge if item in scope.origins]
        items = [item for node in nodes if node.op_type in ELEMENTWISE for item in node.input]
        edge = [
            item
            for item in dict.fromkeys(items)
            if item and not scope.is_constant(item) and item not in found
        ]
        found += edge
        if len(found) > 64:
            break
    return found
