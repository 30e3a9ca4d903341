"""Values with jumps: kept aside until it is clear whether something continuous is made of them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
from onnx import NodeProto, TensorProto

from lipcert.errors import LipcertError
from lipcert.nonlinear.piecewise import piecewise_linear
from lipcert.onnx_import import piecewise
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.piecewise import Line, Pieces
from lipcert.onnx_import.polynomials import DEPTH, repeated, uniform
from lipcert.onnx_import.scope import Pending, Scope
from lipcert.operators import Diagonal, Norms, Shape
from lipcert.rounding import UNIT_ROUNDOFF

DISCONTINUOUS = "no Lipschitz constant exists; take the node out of the exported model"
CONTINUOUS = "write it with max, min, clamp, relu or the activation's own module"
SOFTPLUS = (
    "torch's Softplus becomes x above its threshold, which is a jump; export it with "
    "threshold=float('inf'), or with dynamo=False"
)

Operands = list[Pieces]
Rule = Callable[[NodeProto, Operands, Scope], Pieces | None]


def set_aside(node: NodeProto, scope: Scope, shape: Shape, refusal: LipcertError) -> None:
    """Keep a value with jumps for later; it is refused where a signal is needed."""
    scope.pending[node.output[0]] = Pending(shape, refusal)


def import_pending(node: NodeProto, scope: Scope) -> None:
    """A node that reads a value with jumps: what it makes of it, if that can be told."""
    if _drops_nan(node, scope):
        scope.alias(node.input[2], node.output[0])
        return
    jumping = next(scope.pending[name] for name in node.input if name in scope.pending)
    found = _as_function_of_one_signal(node, scope)
    if found is None:
        choice = node.op_type == "Where" and node.input[0] in scope.pending
        raise _choice_refused(node, scope) if choice else jumping.refusal
    leaf, function = found
    shape = scope.common_shape(*(_shape(name, scope) for name in node.input if name))
    if function.jump is not None:
        place, size = function.jump
        finding = f"jumps by {float(size):.3g} where {leaf!r} is {float(place):.6g}"
        set_aside(node, scope, shape, scope.refuse(finding, f"{DISCONTINUOUS}, or {CONTINUOUS}"))
        return
    if not function.breaks:
        _append_line(leaf, function.lines[0], shape, node.output[0], scope)
        return
    activation = piecewise_linear(
        list(function.breaks),
        [line.slope for line in function.lines],
        [line.offset for line in function.lines],
    )
    scope.nonlinear(activation, [scope.broadcast(leaf, shape)], shape, node.output[0])


def _append_line(leaf: str, line: Line, shape: Shape, output: str, scope: Scope) -> None:
    """Choices that come to nothing: a straight line."""
    source = scope.broadcast(leaf, shape)
    slope, offset = float(line.slope), float(line.offset)
    error = 0.0 if Fraction(slope) == line.slope else abs(slope) * UNIT_ROUNDOFF
    if line.slope != 1:
        scale = torch.tensor(slope, dtype=torch.float64)
        source = scope.linear(Diagonal(scale, shape, Norms(error, error, error)), source)
    if line.offset == 0:
        scope.alias(source, output)
        return
    radius = None if Fraction(offset) == line.offset else np.full((), abs(offset) * UNIT_ROUNDOFF)
    scope.shift(Constant(np.full((), offset), radius), source, output)


def refuse_masked(node: NodeProto, scope: Scope) -> None:
    """Refuse to use a signal that is −∞ at places for anything but a softmax."""
    if node.op_type != "Softmax" and any(name in scope.masked for name in node.input):
        raise scope.refuse(
            "reads a signal to which an infinite constant was added",
            "only a softmax may follow such a mask; use finite constants elsewhere",
        )


def _shape(name: str, scope: Scope) -> Shape:
    return scope.pending[name].shape if name in scope.pending else scope.shape(name)


def _drops_nan(node: NodeProto, scope: Scope) -> bool:
    """Whether the node is ``where(isnan(s), c, s)``, which is s in real arithmetic."""
    if node.op_type != "Where":
        return False
    condition = scope.origins.get(node.input[0])
    same = condition is not None and condition.op_type == "IsNaN"
    if not same or condition is None or condition.input[0] != node.input[2]:
        return False
    shapes = [_shape(name, scope) for name in node.input[1:]]
    return node.input[2] in scope.shapes and scope.common_shape(*shapes) == shapes[1]


def _choice_refused(node: NodeProto, scope: Scope) -> LipcertError:
    makers = [scope.origins.get(name) for name in node.input[1:]]
    quotients = [maker for maker in makers if maker is not None and maker.op_type == "Div"]
    makers += [scope.origins.get(maker.input[0]) for maker in quotients]
    softplus = any(maker is not None and maker.op_type == "Softplus" for maker in makers)
    return scope.refuse(
        "chooses by a condition on the signal, which is discontinuous unless both branches agree "
        "where it changes",
        SOFTPLUS if softplus else CONTINUOUS,
    )


def _as_function_of_one_signal(node: NodeProto, scope: Scope) -> tuple[str, Pieces] | None:
    """The node's output as a piecewise-linear function of the nearest signal for which it is."""
    for leaf in _signals_behind(node, scope):
        known: dict[str, Pieces | None] = {leaf: piecewise.VARIABLE}
        function = _function(node.output[0], scope, known, DEPTH)
        if function is not None:
            return leaf, function
    return None


def _signals_behind(node: NodeProto, scope: Scope) -> list[str]:
    found: list[str] = []
    edge = [node]
    for _ in range(DEPTH):
        items = [
            name
            for maker in edge
            if maker.op_type in RULES
            for name in maker.input
            if name and not scope.is_constant(name) and name not in found
        ]
        found += dict.fromkeys(items)
        edge = [scope.origins[name] for name in dict.fromkeys(items) if name in scope.origins]
        if len(found) > 64:
            break
    return [name for name in found if name in scope.shapes]


def _function(
    name: str, scope: Scope, known: dict[str, Pieces | None], depth: int
) -> Pieces | None:
    """A value as a function of the signal that ``known`` starts with."""
    if name in known:
        return known[name]
    known[name] = None
    node = scope.origins.get(name)
    if scope.is_constant(name):
        constant = _number(name, scope)
        known[name] = None if constant is None else piecewise.constant(constant)
    elif node is not None and depth and node.op_type in RULES:
        operands = [_function(item, scope, known, depth - 1) for item in node.input if item]
        if node.op_type == "Clip":
            operands = operands[:1]
        if None not in operands:
            functions = [operand for operand in operands if operand is not None]
            known[name] = RULES[node.op_type](node, functions, scope)
    return known[name]


def _number(name: str, scope: Scope) -> Fraction | None:
    constant = scope.constants[name]
    if constant.value.dtype != bool:
        return uniform(name, scope)
    values = constant.value.reshape(-1)
    return Fraction(bool(values[0])) if values.size and (values == values[0]).all() else None


# --- what the operators do to such functions ---------------------------------------------------

_RELATIONS: dict[str, Callable[[Fraction], bool]] = {
    "Greater": lambda d: d > 0,
    "GreaterOrEqual": lambda d: d >= 0,
    "Less": lambda d: d < 0,
    "LessOrEqual": lambda d: d <= 0,
    "Equal": lambda d: d == 0,
}


def _compare(node: NodeProto, operands: Operands, scope: Scope) -> Pieces | None:
    return piecewise.compared(operands[0], operands[1], _RELATIONS[node.op_type])


def _divide(node: NodeProto, operands: Operands, scope: Scope) -> Pieces | None:
    inverse = piecewise.reciprocal(operands[1])
    return None if inverse is None else piecewise.product(operands[0], inverse)


def _extremum(node: NodeProto, operands: Operands, scope: Scope) -> Pieces | None:
    best: Pieces | None = operands[0]
    for other in operands[1:]:
        best = best and piecewise.larger(best, other, 1 if node.op_type == "Max" else -1)
    return best


def _against_zero(node: NodeProto, operands: Operands, scope: Scope) -> Pieces | None:
    zero = piecewise.constant(Fraction(0))
    if node.op_type == "Relu":
        return piecewise.larger(operands[0], zero, 1)
    if node.op_type == "Abs":
        return piecewise.larger(operands[0], _scaled(operands[0], -1), 1)
    above = piecewise.compared(operands[0], zero, lambda d: d > 0)
    below = piecewise.compared(operands[0], zero, lambda d: d < 0)
    return above and below and piecewise.combined(above, below, -1)  # Sign


def _scaled(function: Pieces, factor: int) -> Pieces:
    scaled = piecewise.product(function, piecewise.constant(Fraction(factor)))
    assert scaled is not None  # a constant factor adds no breaks
    return scaled


def _clip(node: NodeProto, operands: Operands, scope: Scope) -> Pieces | None:
    options = Attributes(node, scope)
    limits: list[float | None] = [
        options.limit("min", float("-inf")),
        options.limit("max", float("inf")),
    ]
    for place, name in enumerate(node.input[1:3]):
        limits[place] = repeated(name, scope) if name else limits[place]
    function: Pieces | None = operands[0]
    for limit, sign in zip(limits, (1, -1), strict=True):
        if limit is None:
            return None
        if abs(limit) != float("inf"):
            function = function and piecewise.larger(
                function, piecewise.constant(Fraction(limit)), sign
            )
    return function


def _cast(node: NodeProto, operands: Operands, scope: Scope) -> Pieces | None:
    target = Attributes(node, scope).integer("to", 0)
    if target == TensorProto.BOOL:
        return piecewise.compared(operands[0], piecewise.constant(Fraction(0)), lambda d: d != 0)
    return operands[0] if target in (TensorProto.FLOAT, TensorProto.DOUBLE) else None


def _logic(node: NodeProto, operands: Operands, scope: Scope) -> Pieces | None:
    if node.op_type == "Not":
        return piecewise.combined(piecewise.constant(Fraction(1)), operands[0], -1)
    return piecewise.larger(operands[0], operands[1], -1 if node.op_type == "And" else 1)


RULES: dict[str, Rule] = {
    **dict.fromkeys(_RELATIONS, _compare),
    "Add": lambda node, f, scope: piecewise.combined(f[0], f[1], 1),
    "Sub": lambda node, f, scope: piecewise.combined(f[0], f[1], -1),
    "Mul": lambda node, f, scope: piecewise.product(f[0], f[1]),
    "Div": _divide,
    "Neg": lambda node, f, scope: _scaled(f[0], -1),
    **dict.fromkeys(("Relu", "Abs", "Sign"), _against_zero),
    **dict.fromkeys(("Max", "Min"), _extremum),
    **dict.fromkeys(("Not", "And", "Or"), _logic),
    "Clip": _clip,
    "Cast": _cast,
    "Where": lambda node, f, scope: piecewise.chosen(f[0], f[1], f[2]),
}
