"""Rearrangements, contractions, and weights that the graph computes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from .case import Case

Function = Callable[[Tensor], Tensor]


class After(nn.Module):
    """A function behind a linear layer on the last axis."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.first(x))


class Contracted(nn.Module):
    """An einsum with a parameter."""

    def __init__(self, equation: str, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape))
        self.equation = equation

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum(self.equation, x, self.weight)


class Multiplied(nn.Module):
    """Products with parameters on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(3, 4))
        self.right = nn.Parameter(torch.randn(6, 2))
        self.stack = nn.Parameter(torch.randn(4, 6, 2))
        self.vector = nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        y = (self.left @ x @ self.right).flatten(1)
        z = (x.unsqueeze(2) @ self.stack).flatten(1)
        return torch.cat((y, z, x @ self.vector), 1)


class Centred(nn.Module):
    """A linear layer whose weight is computed from its parameter."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.function(self.weight))


class Gated(nn.Module):
    """Learned gates, and a constant chosen by a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.randn(6))
        self.register_buffer("mask", torch.tensor([True, False, True, True, False, True]))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.gate) * x + torch.exp(self.gate) - F.softplus(self.gate)
        return torch.where(self.mask, y, 0.5)


FUNCTIONS: dict[str, Function] = {
    "flatten": lambda x: x.flatten(1),
    "reshape": lambda x: x.reshape(x.shape[0], 3, 8),
    "view_minus_one": lambda x: x.view(x.size(0), -1),
    "permute": lambda x: x.permute(0, 2, 1).reshape(x.shape[0], -1),
    "transpose_twice": lambda x: x.transpose(1, 2).contiguous().transpose(2, 1),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1).unsqueeze(-1),
    "slices": lambda x: x[:, 1:4:2, -3:],
    "select": lambda x: x[:, 0] + x[:, -1],
    "flip": lambda x: x.flip(2),
    "roll": lambda x: x.roll(2, 2),
    "repeat": lambda x: x.repeat(1, 2, 1),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 2),
    "index_select": lambda x: x.index_select(2, torch.tensor([0, 0, 5, 2])),
    "gather_list": lambda x: x[:, [0, 2], :],
    "stack": lambda x: torch.stack((x, 2.0 * x), 1),
    "cat": lambda x: torch.cat((x, x.flip(1)), 1),
    "cat_constant": lambda x: torch.cat((x, torch.ones(x.shape[0], 1, 6)), 1),
    "narrow": lambda x: x.narrow(2, 1, 3),
    "unbind": lambda x: x.unbind(1)[2],
    "split_uneven": lambda x: torch.split(x, [1, 3], 1)[1] * 2.0,
    "mean": lambda x: x.mean((1, 2), keepdim=True),
    "sum": lambda x: x.sum(2) - x.sum((1, 2))[:, None],
    "cumsum": lambda x: x.cumsum(2),
    "pad": lambda x: F.pad(x, (1, 2), value=0.25),
    "tril": lambda x: x.tril(),
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "outer_difference": lambda x: x[:, :, :, None] - x[:, :, None, :],
    "subtract_from": lambda x: 1.0 - x,
    "divide": lambda x: x / 3.0 + x / torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 7.0]),
    "scale_shift": lambda x: -x * 2.0 - 1.0,
    "max_of_all": lambda x: x.amax((1, 2)),
    "minimum_constant": lambda x: torch.minimum(x, torch.tensor(0.5)),
    "maximum_row": lambda x: torch.maximum(x, torch.linspace(-1.0, 1.0, 6)),
    "l1_norm": lambda x: x.abs().sum(2),
    "double_cast": lambda x: x.double().float(),
    "square": lambda x: x**2,
    "cube_of_sum": lambda x: x.sum(1) ** 3,
    "exponential": lambda x: torch.exp(x),
    "logarithm": lambda x: torch.log(x.abs() + 1.0),
    "root": lambda x: torch.sqrt(x.abs() + 1.0),
    "product": lambda x: x[:, 0] * x[:, 1],
    "quotient": lambda x: x[:, 0] / (1.0 + x[:, 1].abs()),
    "reciprocal": lambda x: 1.0 / (1.0 + x.abs()),
    "softmax_axis": lambda x: x.softmax(1),
    "log_softmax_axis": lambda x: x.log_softmax(1),
    "addcmul": lambda x: torch.addcmul(x, x[:, :1], torch.ones(6), value=0.5),
    "lerp": lambda x: torch.lerp(x, 2.0 * x, 0.25),
    "sign": torch.sign,
    "floor": torch.floor,
    "round": torch.round,
    "argmax": lambda x: x.argmax(2).float(),
    "greater": lambda x: (x > 0).float(),
    "masked_jump": lambda x: torch.where(x > 0.5, x, torch.zeros_like(x)),
}

UNBOUNDED = {
    "square": {"Pow", "Mul"}, "cube_of_sum": {"Pow", "Mul"}, "exponential": {"Exp"},
    "logarithm": {"Log"}, "root": {"Sqrt"}, "product": {"Mul"}, "quotient": {"Div"},
    "reciprocal": {"Reciprocal", "Div"},
}  # fmt: skip


class Bilinear(nn.Module):
    """A quadratic form."""

    def __init__(self) -> None:
        super().__init__()
        self.form = nn.Bilinear(6, 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x, x)


def spectral() -> nn.Module:
    """Spectral normalisation, its power iteration frozen."""
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 4)), nn.ReLU())


NO_EINSUM = {"legacy-11": "aten::einsum needs opset 12"}
UNEXPORTED: dict[str, dict[str, str]] = {
    "tril": {"legacy-11": "aten::tril needs opset 14", "legacy-13": "aten::tril needs opset 14"},
    "diagonal": {"legacy-11": "aten::diagonal needs opset 13"},
    "bilinear": {"legacy": "aten::bilinear is not supported"},
    "spectral_norm": {"legacy": "aten::vdot is not supported"},
}
STEP = {"legacy": "is discontinuous", "dynamo": "is discontinuous"}
JUMP = {"legacy": "jumps by", "dynamo": "jumps by"}
REFUSED: dict[str, dict[str, str]] = {
    **dict.fromkeys(("floor", "round", "argmax", "sign"), STEP),
    "greater": {"legacy": "jumps by 1", "dynamo": "jumps by 1"},
    "masked_jump": {"legacy": "jumps by 0.5", "dynamo": "jumps by 0.5"},
    "diagonal": {"legacy": "has a subgraph"},
}
CONTRACTIONS: dict[str, tuple[str, tuple[int, ...]]] = {
    "einsum_last": ("bij,jk->bik", (6, 2)),
    "einsum_first": ("bij,ik->bkj", (4, 2)),
    "einsum_both": ("bij,ijk->bk", (4, 6, 2)),
    "einsum_shared": ("bij,ijk->bik", (4, 6, 2)),
    "einsum_scale": ("bij,j->bij", (6,)),
    "einsum_summed": ("bij,kl->bk", (2, 3)),
}
WEIGHTS: dict[str, Function] = {
    "centred_weight": lambda w: w - w.mean(1, keepdim=True),
    "normalised_weight": lambda w: F.normalize(w, dim=1),
    "rescaled_weight": lambda w: w / (w.abs().sum(1, keepdim=True) + 1.0),
    "gram_weight": lambda w: w @ w.T @ w / torch.linalg.norm(w @ w.T),
}


def _case(name: str, function: Function) -> Case:
    return Case(
        name,
        lambda: After(function),
        (4, 6),
        frozenset(UNBOUNDED.get(name, ())),
        refused=REFUSED.get(name, {}),
        unexported=UNEXPORTED.get(name, {}),
    )


CASES = [
    *(_case(name, function) for name, function in FUNCTIONS.items()),
    *(
        Case(name, lambda e=equation, s=shape: Contracted(e, *s), (4, 6), unexported=NO_EINSUM)
        for name, (equation, shape) in CONTRACTIONS.items()
    ),
    Case("multiplied", Multiplied, (4, 6)),
    Case(
        "bilinear",
        Bilinear,
        (6,),
        frozenset({"MatMul", "Mul", "Einsum"}),
        unexported=UNEXPORTED["bilinear"],
    ),
    Case("weight_norm", lambda: parametrizations.weight_norm(nn.Linear(6, 4))),
    Case("old_weight_norm", lambda: torch.nn.utils.weight_norm(nn.Linear(6, 4))),
    Case("spectral_norm", spectral, unexported=UNEXPORTED["spectral_norm"]),
    *(Case(name, lambda f=function: Centred(f)) for name, function in WEIGHTS.items()),
    Case("gated", Gated),
]
