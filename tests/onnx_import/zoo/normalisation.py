"""Normalisation layers, as modules and by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case


class Mixed(nn.Module):
    """A layer between two linear ones, its own parameters made uneven."""

    def __init__(self, layer: nn.Module, first: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.first, self.layer, self.last = first, layer, last
        for tensor in layer.parameters():
            nn.init.uniform_(tensor, 0.5, 1.5)
        for _, tensor in layer.named_buffers():
            if tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(self.first(x)))


class ByHand(nn.Module):
    """A normalisation written out, with a gain."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(8))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.gain)


def rms_rsqrt(x: Tensor, g: Tensor) -> Tensor:
    """As language models write it."""
    return g * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


def rms_sqrt(x: Tensor, g: Tensor) -> Tensor:
    """By division."""
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * g


def rms_norm_plus(x: Tensor, g: Tensor) -> Tensor:
    """By the l2 norm, epsilon outside."""
    return g * x / (x.norm(dim=-1, keepdim=True) * 8**-0.5 + 1e-3)


def rms_of_sum(x: Tensor, g: Tensor) -> Tensor:
    """By a sum of squares."""
    return g * x / torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-3)


def layer_by_hand(x: Tensor, g: Tensor) -> Tensor:
    """Layer normalisation by mean and mean square."""
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * g


def layer_by_var(x: Tensor, g: Tensor) -> Tensor:
    """Layer normalisation by torch.var."""
    variance = x.var(-1, keepdim=True, unbiased=False)
    return (x - x.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt() * g


def layer_by_std(x: Tensor, g: Tensor) -> Tensor:
    """With the sample deviation and epsilon outside, as tutorials write it."""
    return g * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-3)


def unit(x: Tensor, g: Tensor) -> Tensor:
    """On the unit sphere."""
    return g * F.normalize(x, dim=-1)


HAND = {
    "rms_rsqrt": rms_rsqrt, "rms_sqrt": rms_sqrt, "rms_norm_plus": rms_norm_plus,
    "rms_of_sum": rms_of_sum, "layer_by_hand": layer_by_hand, "layer_by_var": layer_by_var,
    "layer_by_std": layer_by_std, "unit": unit,
}  # fmt: skip

NEURONS: dict[str, Callable[[], nn.Module]] = {
    "layer_norm": lambda: nn.LayerNorm(8),
    "layer_norm_plain": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "layer_norm_no_bias": lambda: nn.LayerNorm(8, bias=False, eps=1e-3),
    "rms_norm": lambda: nn.RMSNorm(8, eps=1e-5),
    "rms_norm_default": lambda: nn.RMSNorm(8),
    "rms_norm_plain": lambda: nn.RMSNorm(8, eps=1e-4, elementwise_affine=False),
    "batch_norm1d": lambda: nn.BatchNorm1d(8),
    "group_norm_flat": lambda: nn.GroupNorm(2, 8),
    **{name: (lambda f=f: ByHand(f)) for name, f in HAND.items()},
}

CHANNELS: dict[str, Callable[[], nn.Module]] = {
    "batch_norm2d": lambda: nn.BatchNorm2d(8),
    "group_norm": lambda: nn.GroupNorm(4, 8),
    "group_norm_one": lambda: nn.GroupNorm(1, 8),
    "group_norm_plain": lambda: nn.GroupNorm(2, 8, affine=False),
    "instance_norm": lambda: nn.InstanceNorm2d(8),
    "instance_norm_affine": lambda: nn.InstanceNorm2d(8, affine=True),
    "instance_norm_tracked": lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
    "layer_norm_image": lambda: nn.LayerNorm((8, 5, 4)),
    "rms_norm_image": lambda: nn.RMSNorm((8, 5, 4), eps=1e-5),
    "local_response": lambda: nn.LocalResponseNorm(3),
}


def _neurons(make: Callable[[], nn.Module]) -> nn.Module:
    return Mixed(make(), nn.Linear(6, 8), nn.Linear(8, 3))


def _channels(make: Callable[[], nn.Module]) -> nn.Module:
    return Mixed(make(), nn.Conv2d(2, 8, (4, 3)), nn.Conv2d(8, 3, 2))


class LastChannels(nn.Module):
    """Layer normalisation of an image's channels, as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3)
        self.norm = nn.LayerNorm(8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x).permute(0, 2, 3, 1))
        return F.gelu(self.last(x)).permute(0, 3, 1, 2)


def _case(name: str, build: Callable[[], nn.Module], shape: tuple[int, ...] = (6,)) -> Case:
    refused, infinite, unexported = {}, frozenset(), {}
    if name.startswith("rms_norm") and name not in HAND:
        unexported = {"legacy": "aten::rms_norm is not supported"}
    if name == "instance_norm_tracked":
        reason = "aten::instance_norm with running statistics needs a fixed batch"
        unexported = {"legacy-13-any": reason, "legacy-17-any": reason}
    if name == "local_response":  # bounded in truth, but not recognised
        refused, infinite = {"legacy": "has a subgraph"}, frozenset({"Mul", "Pow", "Div"})
    return Case(name, build, shape, infinite, refused=refused, unexported=unexported)


CASES = [
    *(_case(name, lambda make=make: _neurons(make)) for name, make in NEURONS.items()),
    *(_case(name, lambda make=make: _channels(make), (2, 8, 6)) for name, make in CHANNELS.items()),
    Case("layer_norm_channels_last", LastChannels, (2, 8, 6)),
]
