"""Perceptrons with every activation, and the heads of classifiers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case

Function = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """A function between two linear layers."""

    def __init__(self, function: Function, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(6, width)
        self.function = function
        self.last = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(3.0 * self.first(x)))


class Doubled(nn.Module):
    """Two outputs of a linear layer to one."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first, self.function = nn.Linear(6, 16), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.first(x))


class Headed(nn.Module):
    """Linear layers under a function of their outputs."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.body(x))


def tanh_gelu(x: Tensor) -> Tensor:
    """The tanh form of Gelu, by hand."""
    return 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


def erf_gelu(x: Tensor) -> Tensor:
    """Gelu, by hand."""
    return x * 0.5 * (1.0 + torch.erf(x / 1.4142135623730951))


BY_HAND: dict[str, Function] = {
    "hand_erf_gelu": erf_gelu,
    "hand_tanh_gelu": tanh_gelu,
    "hand_silu": lambda x: x * torch.sigmoid(x),
    "hand_quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "hand_mish": lambda x: x * torch.tanh(F.softplus(x)),
    "hand_hardswish": lambda x: x * F.relu6(x + 3.0) / 6.0,
    "hand_softsign": lambda x: x / (1.0 + x.abs()),
    "hand_leaky": lambda x: torch.maximum(x, 0.1 * x),
    "hand_where_leaky": lambda x: torch.where(x > 0, x, 0.25 * x),
    "hand_clamp": lambda x: x.clamp(-0.3, 0.7),
    "hand_clamp_min": lambda x: x.clamp(min=-0.3),
    "hand_sin": lambda x: torch.sin(x) + torch.cos(2.0 * x),
    "hand_atan": lambda x: torch.atan(x) + torch.asinh(x),
    "hand_abs": lambda x: (x - 0.5).abs(),
    "hand_crelu": lambda x: torch.cat((F.relu(x), -F.relu(-x)), 1)[:, 4:12],
    "hand_erf": lambda x: torch.erf(x),
    "hand_logaddexp_zero": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
}

MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "prelu": partial(nn.PReLU, 8, 0.3),
    "prelu_shared": partial(nn.PReLU, 1, 1.7),
    "rrelu": nn.RReLU,
    "elu": partial(nn.ELU, 0.7),
    "elu_steep": partial(nn.ELU, 1.5),
    "celu": partial(nn.CELU, 0.7),
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, "tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softplus_beta": partial(nn.Softplus, 2.0, 30.0),
    "softplus_infinite": partial(nn.Softplus, 1.0, float("inf")),
    "softsign": nn.Softsign,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "relu6": nn.ReLU6,
    "hardtanh": partial(nn.Hardtanh, -0.4, 1.3),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "log_sigmoid": nn.LogSigmoid,
    "softshrink": partial(nn.Softshrink, 0.4),
    "tanhshrink": nn.Tanhshrink,
    "threshold": partial(nn.Threshold, 0.0, 0.0),
    "threshold_jump": partial(nn.Threshold, 0.1, 0.0),
    "hardshrink": partial(nn.Hardshrink, 0.4),
    "softmin": partial(nn.Softmin, 1),
    "identity": nn.Identity,
    "dropout": nn.Dropout,
}

HEADS: dict[str, Function] = {
    "softmax_head": lambda y: F.softmax(y, -1),
    "log_softmax_head": lambda y: F.log_softmax(y, 1),
    "sigmoid_head": torch.sigmoid,
    "logsumexp_head": lambda y: torch.logsumexp(y, 1, keepdim=True),
    "normalize_head": lambda y: F.normalize(y, dim=1),
    "norm_head": lambda y: torch.linalg.vector_norm(y, dim=1, keepdim=True),
    "squared_norm_head": lambda y: (y * y).sum(1, keepdim=True),
    "margin_head": lambda y: y - y.amax(1, keepdim=True),
    "temperature_head": lambda y: F.softmax(y / 0.5, 1),
}

JUMPS = {"legacy": "jumps by", "dynamo": "jumps by"}
SOFTPLUS = {"dynamo": "threshold=float('inf')"}
REFUSED: dict[str, dict[str, str]] = {
    "hardshrink": JUMPS,
    "threshold_jump": {"dynamo": "jumps by 0.1"},
    "softplus": SOFTPLUS,
    "softplus_beta": SOFTPLUS,
    "hand_mish": SOFTPLUS,
}
UNEXPORTED: dict[str, dict[str, str]] = {
    "celu": {"legacy-11": "aten::celu needs opset 12"},
    "threshold_jump": {"legacy": "aten::threshold is written for a threshold of 0 only"},
    "rrelu": {"dynamo": "aten::rrelu_with_noise has no ONNX function"},
    "hand_atan": {"legacy": "aten::asinh is not supported"},
    "hand_logaddexp_zero": {"legacy": "aten::logaddexp is not supported"},
}
ORACLES = {"log_sigmoid": "torch"}  # the logarithm of a float32 sigmoid loses its tail
INFINITE: dict[str, frozenset[str]] = {
    "hand_logaddexp_zero": frozenset({"Exp", "Log"}),
    "squared_norm_head": frozenset({"Mul"}),
}


def _case(name: str, build: Callable[[], nn.Module]) -> Case:
    return Case(
        name,
        build,
        (6,),
        INFINITE.get(name, frozenset()),
        refused=REFUSED.get(name, {}),
        unexported=UNEXPORTED.get(name, {}),
        oracle=ORACLES.get(name, "onnxruntime"),
    )


CASES = [
    *(_case(name, lambda make=make: Between(make())) for name, make in MODULES.items()),
    *(_case(name, lambda f=function: Between(f)) for name, function in BY_HAND.items()),
    *(_case(name, lambda f=function: Headed(f)) for name, function in HEADS.items()),
    Case("glu", lambda: Doubled(nn.GLU(1)), (6,), frozenset({"Mul"})),
]
