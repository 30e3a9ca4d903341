"""Elementwise functions, and those that are refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from onnx import NodeProto

from lipcert.errors import UnsupportedError
from lipcert.nonlinear import ACTIVATIONS, LogSoftmax, PRelu, Unbounded
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.operands import optional
from lipcert.onnx_import.ops.normalisation import softmax_axes
from lipcert.onnx_import.pending import DISCONTINUOUS, set_aside
from lipcert.onnx_import.polynomials import repeated
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope


def elementwise(node: NodeProto, scope: Scope, name: str, **options: float) -> None:
    """Append a registered activation."""
    activation = ACTIVATIONS[name](**options)
    scope.nonlinear(activation, [node.input[0]], scope.shape(node.input[0]), node.output[0])


@IMPORTERS.register(
    "Relu",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "Abs",
    "Sin",
    "Cos",
    "Atan",
    "Asinh",
    "Erf",
    "Mish",
    "HardSwish",
)
def import_plain(node: NodeProto, scope: Scope) -> None:
    """An activation without attributes."""
    elementwise(node, scope, node.op_type)


@IMPORTERS.register("LeakyRelu")
def import_leaky_relu(node: NodeProto, scope: Scope) -> None:
    """LeakyRelu."""
    elementwise(node, scope, "LeakyRelu", alpha=Attributes(node, scope).number("alpha", 0.01))


@IMPORTERS.register("Elu")
def import_elu(node: NodeProto, scope: Scope) -> None:
    """Elu."""
    elementwise(node, scope, "Elu", alpha=Attributes(node, scope).number("alpha", 1.0))


@IMPORTERS.register("Celu")
def import_celu(node: NodeProto, scope: Scope) -> None:
    """Celu; its alpha must be positive."""
    alpha = Attributes(node, scope).number("alpha", 1.0)
    if not alpha > 0.0:
        raise scope.refuse(
            f"alpha={alpha:g} is not positive: its slope is unbounded", "export a positive alpha"
        )
    elementwise(node, scope, "Celu", alpha=alpha)


@IMPORTERS.register("Selu")
def import_selu(node: NodeProto, scope: Scope) -> None:
    """Selu; the defaults are those of the operator, as float32."""
    options = Attributes(node, scope)
    alpha = options.number("alpha", 1.67326319217681884765625)
    gamma = options.number("gamma", 1.05070102214813232421875)
    if not gamma > 0.0:
        raise scope.refuse(f"gamma={gamma:g} is not positive", "export a positive gamma")
    elementwise(node, scope, "Selu", alpha=alpha, gamma=gamma)


@IMPORTERS.register("Gelu")
def import_gelu(node: NodeProto, scope: Scope) -> None:
    """Gelu, exact or in its tanh form."""
    tanh = Attributes(node, scope).text("approximate", "none") == "tanh"
    elementwise(node, scope, "TanhGelu" if tanh else "Gelu")


@IMPORTERS.register("Swish")
def import_swish(node: NodeProto, scope: Scope) -> None:
    """``x · sigmoid(alpha x)``."""
    alpha = Attributes(node, scope).number("alpha", 1.0)
    elementwise(node, scope, "Silu", alpha=alpha)


@IMPORTERS.register("HardSigmoid")
def import_hard_sigmoid(node: NodeProto, scope: Scope) -> None:
    """HardSigmoid."""
    options = Attributes(node, scope)
    elementwise(
        node,
        scope,
        "HardSigmoid",
        alpha=options.number("alpha", 0.2),
        beta=options.number("beta", 0.5),
    )


@IMPORTERS.register("Clip")
def import_clip(node: NodeProto, scope: Scope) -> None:
    """Clip between two constants."""
    options = Attributes(node, scope)
    low, high = options.limit("min", -math.inf), options.limit("max", math.inf)
    if optional(node, 1):
        low = scope.number(node.input[1], "lower limit")
    if optional(node, 2):
        high = scope.number(node.input[2], "upper limit")
    elementwise(node, scope, "Clip", low=low, high=high)


@IMPORTERS.register("PRelu")
def import_prelu(node: NodeProto, scope: Scope) -> None:
    """PRelu with a constant slope."""
    slope = scope.constant(node.input[1], "slope")
    if slope.radius is not None:
        raise scope.refuse("has a computed slope", "fold constants when exporting")
    shape = scope.shape(node.input[0])
    if scope.common_shape(shape, slope.value.shape) != shape:
        raise scope.refuse(f"its slope {slope.value.shape} does not fit {shape}")
    scope.nonlinear(
        PRelu(slope.tensor()), [node.input[0]], shape, node.output[0], coefficients=slope
    )


@IMPORTERS.register("Shrink")
def import_shrink(node: NodeProto, scope: Scope) -> None:
    """Soft thresholding; hard thresholding is discontinuous."""
    options = Attributes(node, scope)
    threshold, bias = options.number("lambd", 0.5), options.number("bias", 0.0)
    if bias != threshold or threshold < 0.0:
        raise scope.refuse("is discontinuous (bias differs from lambd)", DISCONTINUOUS)
    elementwise(node, scope, "Shrink", threshold=threshold)


@IMPORTERS.register("ThresholdedRelu")
def import_thresholded_relu(node: NodeProto, scope: Scope) -> None:
    """Discontinuous at its threshold unless that is zero."""
    if Attributes(node, scope).number("alpha", 1.0) != 0.0:
        raise scope.refuse("is discontinuous at its threshold", DISCONTINUOUS)
    elementwise(node, scope, "Relu")


_UNBOUNDED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Exp": torch.exp,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Tan": torch.tan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Acos": torch.acos,
    "Asin": torch.asin,
    "Acosh": torch.acosh,
    "Atanh": torch.atanh,
}


@IMPORTERS.register(*_UNBOUNDED)
def import_unbounded(node: NodeProto, scope: Scope) -> None:
    """A function whose slope has no global bound."""
    _unbounded(node, scope, _UNBOUNDED[node.op_type])


def _unbounded(
    node: NodeProto, scope: Scope, function: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    unbounded = Unbounded(
        node.op_type,
        function,
        f"the slope of {node.op_type} is unbounded",
        "no constant holds everywhere; put an operation of bounded slope in its place",
    )
    scope.nonlinear(unbounded, [node.input[0]], scope.shape(node.input[0]), node.output[0])


@IMPORTERS.register("Log")
def import_log(node: NodeProto, scope: Scope) -> None:
    """Unbounded, except behind a sigmoid or a softmax."""
    shape, inner = scope.shape(node.input[0]), scope.origins.get(node.input[0])
    if inner is not None and inner.op_type == "Sigmoid":
        scope.nonlinear(ACTIVATIONS["LogSigmoid"](), [inner.input[0]], shape, node.output[0])
    elif inner is not None and inner.op_type == "Softmax" and inner.input[0] not in scope.masked:
        axes = softmax_axes(inner, scope)
        scope.nonlinear(LogSoftmax(axes), [inner.input[0]], shape, node.output[0])
    else:
        _unbounded(node, scope, torch.log)


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
    "Equal": lambda a, b: a == b,
}


@IMPORTERS.register(*_COMPARISONS)
def import_comparison(node: NodeProto, scope: Scope) -> None:
    """A step, refused unless something continuous is made of it; against ±∞ it is constant."""
    shape = scope.common_shape(*(scope.shape(name) for name in node.input))
    limits = [repeated(name, scope) for name in node.input]
    if any(limit is not None and math.isinf(limit) for limit in limits):
        sides = [0.0 if limit is None else limit for limit in limits]
        holds = _COMPARISONS[node.op_type](*sides)
        scope.allow(math.prod(shape), "a constant")
        scope.define(node.output[0], Constant(np.full(shape, holds)))
        return
    set_aside(node, scope, shape, _discontinuous(scope))


@IMPORTERS.register("Sign", "IsNaN")
def import_step(node: NodeProto, scope: Scope) -> None:
    """A step, refused unless something continuous is made of it."""
    set_aside(node, scope, scope.shape(node.input[0]), _discontinuous(scope))


def _discontinuous(scope: Scope) -> UnsupportedError:
    return UnsupportedError(scope.place, "is discontinuous", DISCONTINUOUS)


@IMPORTERS.register(
    "Floor",
    "Ceil",
    "Round",
    "ArgMax",
    "ArgMin",
    "Hardmax",
    "Not",
    "And",
    "Or",
    "Xor",
    "IsInf",
    "NonZero",
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "Mod",
    "Bernoulli",
)
def import_discontinuous(node: NodeProto, scope: Scope) -> None:
    """Refused: a step has no Lipschitz constant."""
    raise _discontinuous(scope)
