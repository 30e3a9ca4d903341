"""Elementwise activations and their slope intervals, each rounded outward.

The extrema of the smooth ones are given to ten digits and widened in the last; tests sample every
derivative against its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from lipcert.nonlinear.base import Nonlinearity, Slopes, same
from lipcert.operators import Norms, Shape
from lipcert.registry import Registry
from lipcert.rounding import mul_up

Function = Callable[[Tensor], Tensor]

GELU_EXCESS = 0.1289041452
"""Gelu's slope lies in [−e, 1+e]: extrema of Φ(x) + xφ(x) at x = ±√2, e = 0.128904145185…"""
TANH_GELU_EXCESS = 0.1289930687
"""The tanh form's slope lies in [−e, 1+e], e = 0.128993068658… at x = ±1.418504…"""
SILU_EXCESS = 0.0998393202
"""Silu's slope lies in [−e, 1+e], e = 0.0998393201288… at x = ±2.399357…"""
MISH_SLOPES = (-0.1125261224, 1.0884981613)
"""Slopes of x·tanh(log(1+eˣ)): extrema −0.112526122389… and 1.088498161251…"""
TWO_OVER_ROOT_PI = 1.1283791671
"""2/√π = 1.12837916709…, the slope of erf at 0."""


class Activation(Nonlinearity):
    """An elementwise function with a known slope interval."""

    def __init__(
        self, name: str, function: Function, alpha: float | Tensor, beta: float | Tensor
    ) -> None:
        self.name = name
        self.function = function
        self._slopes = Slopes(alpha, beta)

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0])

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(self._slopes.lipschitz)

    @property
    def slopes(self) -> Slopes:
        return self._slopes


class PRelu(Activation):
    """``max(x, 0) + slope · min(x, 0)`` with a slope per element."""

    def __init__(self, slope: Tensor) -> None:
        one = torch.ones_like(slope)
        super().__init__("PRelu", self._bent, torch.minimum(slope, one), torch.maximum(slope, one))
        self.slope = slope

    def _bent(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, x * self.slope)

    def to(self, device: torch.device) -> PRelu:
        return PRelu(self.slope.to(device))


class Unbounded(Nonlinearity):
    """An elementwise function whose slope has no global bound."""

    def __init__(self, name: str, function: Function, reason: str, help: str) -> None:
        self.name = name
        self.function = function
        self._reason = reason
        self._help = help

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0])

    def lipschitz(self, *shapes: Shape) -> Norms:
        return same(math.inf)

    @property
    def obstacle(self) -> str:
        return self._reason

    @property
    def help(self) -> str:
        return self._help


ACTIVATIONS: Registry[Callable[..., Activation]] = Registry("activation")


@ACTIVATIONS.register("Relu")
def relu() -> Activation:
    """``max(x, 0)``."""
    return Activation("Relu", torch.relu, 0.0, 1.0)


@ACTIVATIONS.register("LeakyRelu")
def leaky_relu(alpha: float = 0.01) -> Activation:
    """``x`` for x ≥ 0, ``alpha·x`` below."""

    def bent(x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, x * alpha)

    return Activation("LeakyRelu", bent, min(alpha, 1.0), max(alpha, 1.0))


@ACTIVATIONS.register("Sigmoid")
def sigmoid() -> Activation:
    """``1 / (1 + e^−x)``."""
    return Activation("Sigmoid", torch.sigmoid, 0.0, 0.25)


@ACTIVATIONS.register("Tanh")
def tanh() -> Activation:
    """Hyperbolic tangent."""
    return Activation("Tanh", torch.tanh, 0.0, 1.0)


@ACTIVATIONS.register("Softplus")
def softplus() -> Activation:
    """``log(1 + e^x)``."""
    return Activation(
        "Softplus",
        lambda x: torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device)),
        0.0,
        1.0,
    )


@ACTIVATIONS.register("Softsign")
def softsign() -> Activation:
    """``x / (1 + |x|)``."""
    return Activation("Softsign", functional.softsign, 0.0, 1.0)


@ACTIVATIONS.register("Elu")
def elu(alpha: float = 1.0) -> Activation:
    """``x`` for x ≥ 0, ``alpha (e^x − 1)`` below: slopes between 0, alpha and 1."""

    def bent(x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, alpha * torch.expm1(x.clamp(max=0)))

    return Activation("Elu", bent, min(0.0, alpha), max(1.0, alpha))


@ACTIVATIONS.register("Celu")
def celu(alpha: float = 1.0) -> Activation:
    """``max(x, 0) + min(0, alpha (e^{x/alpha} − 1))``, alpha > 0: slopes in [0, 1]."""

    def bent(x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, alpha * torch.expm1(x.clamp(max=0) / alpha))

    return Activation("Celu", bent, 0.0, 1.0)


@ACTIVATIONS.register("Selu")
def selu(alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Activation:
    """``gamma · elu_alpha(x)``, gamma > 0."""

    def bent(x: Tensor) -> Tensor:
        return gamma * torch.where(x >= 0, x, alpha * torch.expm1(x.clamp(max=0)))

    return Activation(
        "Selu", bent, min(0.0, -mul_up(gamma, max(0.0, -alpha))), mul_up(gamma, max(1.0, alpha))
    )


@ACTIVATIONS.register("Gelu")
def gelu() -> Activation:
    """``x Φ(x)`` with the normal distribution function Φ."""
    return Activation("Gelu", functional.gelu, -GELU_EXCESS, 1.0 + GELU_EXCESS)


@ACTIVATIONS.register("TanhGelu")
def tanh_gelu() -> Activation:
    """``x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))``."""
    return Activation(
        "TanhGelu",
        lambda x: functional.gelu(x, approximate="tanh"),
        -TANH_GELU_EXCESS,
        1.0 + TANH_GELU_EXCESS,
    )


@ACTIVATIONS.register("Silu")
def silu(alpha: float = 1.0) -> Activation:
    """``x · sigmoid(alpha x)``: the interval does not depend on alpha, except at alpha = 0."""
    return Activation(
        "Silu", lambda x: x * torch.sigmoid(alpha * x), -SILU_EXCESS, 1.0 + SILU_EXCESS
    )


@ACTIVATIONS.register("Mish")
def mish() -> Activation:
    """``x · tanh(softplus(x))``."""
    return Activation("Mish", functional.mish, *MISH_SLOPES)


@ACTIVATIONS.register("HardSigmoid")
def hard_sigmoid(alpha: float = 0.2, beta: float = 0.5) -> Activation:
    """``clip(alpha x + beta, 0, 1)``."""
    return Activation(
        "HardSigmoid",
        lambda x: (alpha * x + beta).clamp(0.0, 1.0),
        min(0.0, alpha),
        max(0.0, alpha),
    )


@ACTIVATIONS.register("HardSwish")
def hard_swish() -> Activation:
    """``x · clip(x/6 + 1/2, 0, 1)``."""
    return Activation("HardSwish", lambda x: x * (x / 6.0 + 0.5).clamp(0.0, 1.0), -0.5, 1.5)


@ACTIVATIONS.register("Clip")
def clip(low: float = -math.inf, high: float = math.inf) -> Activation:
    """``min(max(x, low), high)``."""
    return Activation("Clip", lambda x: x.clamp(low, high), 0.0, 1.0)


@ACTIVATIONS.register("Shrink")
def soft_shrink(threshold: float = 0.5) -> Activation:
    """``sign(x) max(|x| − threshold, 0)``."""
    return Activation("Shrink", lambda x: x - x.clamp(-threshold, threshold), 0.0, 1.0)


@ACTIVATIONS.register("Abs")
def absolute() -> Activation:
    """``|x|``."""
    return Activation("Abs", torch.abs, -1.0, 1.0)


@ACTIVATIONS.register("Sin")
def sine() -> Activation:
    """Sine."""
    return Activation("Sin", torch.sin, -1.0, 1.0)


@ACTIVATIONS.register("Cos")
def cosine() -> Activation:
    """Cosine."""
    return Activation("Cos", torch.cos, -1.0, 1.0)


@ACTIVATIONS.register("Atan")
def arc_tangent() -> Activation:
    """Arc tangent."""
    return Activation("Atan", torch.atan, 0.0, 1.0)


@ACTIVATIONS.register("Asinh")
def area_sine() -> Activation:
    """Inverse hyperbolic sine."""
    return Activation("Asinh", torch.asinh, 0.0, 1.0)


@ACTIVATIONS.register("Erf")
def error_function() -> Activation:
    """``2/√π ∫₀ˣ e^{−t²} dt``."""
    return Activation("Erf", torch.erf, 0.0, TWO_OVER_ROOT_PI)


@ACTIVATIONS.register("LogSigmoid")
def log_sigmoid() -> Activation:
    """``log(1 / (1 + e^−x))``."""
    return Activation("LogSigmoid", functional.logsigmoid, 0.0, 1.0)
