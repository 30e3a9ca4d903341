"""Convolutional nets: every geometry, padding mode and pooling."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case

Modules = dict[str, Callable[[], nn.Module]]


class Call(nn.Module):
    """A function behind a first layer."""

    def __init__(self, first: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = first
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.first(x))


class Residual(nn.Module):
    """A residual net with a shortcut of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.short = nn.Conv2d(2, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.two(F.relu(self.one(x))) + self.short(x))
        return self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))


class DenseNet(nn.Module):
    """Layers that see all earlier ones side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 3, 3, padding=1)
        self.two = nn.Conv2d(5, 3, 3, padding=1)
        self.three = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((x, F.relu(self.one(x))), 1)
        x = torch.cat((x, F.relu(self.two(x))), 1)
        return self.three(x).flatten(1)


LINE: Modules = {
    "conv1d": lambda: nn.Conv1d(2, 3, 3, padding=1),
    "conv1d_stride": lambda: nn.Conv1d(2, 3, 3, stride=2, dilation=2),
    "conv1d_circular": lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"),
    "conv1d_transposed": lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1),
    "max_pool1d": lambda: nn.Sequential(nn.Conv1d(2, 3, 2), nn.MaxPool1d(3, 2, 1)),
    "avg_pool1d": lambda: nn.AvgPool1d(3, 2, 1),
    "adaptive_avg_pool1d": lambda: nn.AdaptiveAvgPool1d(3),
    "batch_norm1d_line": lambda: nn.BatchNorm1d(2),
    "upsample1d": lambda: nn.Upsample(scale_factor=2),
    "upsample1d_linear": lambda: nn.Upsample(scale_factor=2, mode="linear"),
}

PLANE: Modules = {
    "conv": lambda: nn.Conv2d(2, 3, 3),
    "conv_no_bias": lambda: nn.Conv2d(2, 3, 3, bias=False),
    "conv_pad": lambda: nn.Conv2d(2, 3, 3, padding=1),
    "conv_stride": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "conv_dilated": lambda: nn.Conv2d(2, 3, 3, dilation=2, padding=2),
    "conv_groups": lambda: nn.Conv2d(2, 4, 3, groups=2),
    "conv_depthwise": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 3, 1)),
    "conv_asymmetric": lambda: nn.Conv2d(2, 3, (1, 4), stride=(2, 1), padding=(0, 2)),
    "conv_same": lambda: nn.Conv2d(2, 3, 4, padding="same"),
    "conv_same_dilated": lambda: nn.Conv2d(2, 3, 3, padding="same", dilation=2),
    "conv_valid": lambda: nn.Conv2d(2, 3, 3, padding="valid"),
    "conv_circular": lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
    "conv_circular_wide": lambda: nn.Conv2d(2, 3, (5, 3), padding=(2, 1), padding_mode="circular"),
    "conv_reflect": lambda: nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect"),
    "conv_replicate": lambda: nn.Conv2d(2, 3, 3, padding=2, padding_mode="replicate"),
    "conv_constant_pad": lambda: nn.Sequential(
        nn.ConstantPad2d((1, 0, 2, 1), 0.5), nn.Conv2d(2, 3, 3)
    ),
    "zero_pad": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(2, 3, 3)),
    "crop": lambda: nn.Sequential(nn.ZeroPad2d(-1), nn.Conv2d(2, 3, 3)),
    "conv_transposed": lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
    "conv_transposed_groups": lambda: nn.ConvTranspose2d(2, 4, (2, 3), stride=(1, 3), groups=2),
    "conv_transposed_dilated": lambda: nn.ConvTranspose2d(2, 3, 2, dilation=2, padding=1),
    "conv_transposed_extra": lambda: nn.ConvTranspose2d(2, 3, 2, stride=3, output_padding=2),
    "batch_norm": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
    "batch_norm_first": lambda: nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 3)),
    "batch_norm_plain": lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2, affine=False)),
    "max_pool": lambda: nn.MaxPool2d(2),
    "max_pool_overlap": lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(3, 2, 1)),
    "max_pool_ceil": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "max_pool_ceil_pad": lambda: nn.MaxPool2d((2, 3), (3, 2), (1, 1), ceil_mode=True),
    "max_pool_dilated": lambda: nn.MaxPool2d(2, 1, dilation=2),
    "avg_pool": lambda: nn.AvgPool2d(2),
    "avg_pool_pad": lambda: nn.AvgPool2d(3, 2, 1),
    "avg_pool_exclude": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "avg_pool_ceil": lambda: nn.AvgPool2d(3, 2, ceil_mode=True),
    "avg_pool_ceil_pad": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "avg_pool_ceil_exclude": lambda: nn.AvgPool2d(
        (2, 3), 2, 1, ceil_mode=True, count_include_pad=False
    ),
    "avg_pool_divisor": lambda: nn.AvgPool2d(2, divisor_override=3),
    "global_avg_pool": lambda: nn.AdaptiveAvgPool2d(1),
    "adaptive_avg_pool": lambda: nn.AdaptiveAvgPool2d((4, 2)),
    "global_max_pool": lambda: nn.AdaptiveMaxPool2d(1),
    "adaptive_max_pool": lambda: nn.AdaptiveMaxPool2d((4, 2)),
    "lp_pool": lambda: nn.LPPool2d(2, 2),
    "upsample": lambda: nn.Upsample(scale_factor=2),
    "upsample_size": lambda: nn.Upsample(size=(16, 18)),
    "upsample_uneven": lambda: nn.Upsample(size=(11, 9)),
    "downsample": lambda: nn.Upsample(scale_factor=0.5),
    "upsample_bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "upsample_aligned": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "upsample_to_size": lambda: nn.Upsample(size=(11, 9), mode="bilinear"),
    "upsample_bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "pixel_shuffle": lambda: nn.Sequential(nn.Conv2d(2, 8, 1), nn.PixelShuffle(2)),
    "pixel_unshuffle": lambda: nn.PixelUnshuffle(2),
    "channel_shuffle": lambda: nn.Sequential(nn.Conv2d(2, 6, 1), nn.ChannelShuffle(3)),
    "unfold": lambda: nn.Unfold(2, stride=2),
    "prelu_conv": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.PReLU(3)),
    "residual": Residual,
    "dense_net": DenseNet,
    "dropout2d": lambda: nn.Sequential(nn.Dropout2d(), nn.Conv2d(2, 3, 3)),
    "flatten_linear": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 6 * 4, 4)
    ),
    "mean_std": lambda: Call(nn.Identity(), lambda x: (x - 0.4) / 0.25),
    "functional_pools": lambda: Call(
        nn.Conv2d(2, 3, 3), lambda x: F.max_pool2d(x, 2).mean((2, 3)) + x.amax((2, 3))
    ),
}

SPACE: Modules = {
    "conv3d": lambda: nn.Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1), stride=(1, 2, 1)),
    "conv3d_transposed": lambda: nn.ConvTranspose3d(2, 3, 2, stride=2),
    "max_pool3d": lambda: nn.MaxPool3d(2, 1),
    "avg_pool3d": lambda: nn.AvgPool3d((1, 2, 2), 1),
    "batch_norm3d": lambda: nn.BatchNorm3d(2),
    "upsample3d": lambda: nn.Upsample(scale_factor=2),
}

INFINITE = {"lp_pool": frozenset({"Pow"})}
UNEXPORTED = {"channel_shuffle": {"legacy": "aten::channel_shuffle is not supported"}}
ORACLES = {"conv_same_dilated": "torch"}  # ONNX Runtime has no dilation with auto_pad


def _case(name: str, build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Case:
    return Case(
        name,
        build,
        shape,
        INFINITE.get(name, frozenset()),
        unexported=UNEXPORTED.get(name, {}),
        oracle=ORACLES.get(name, "onnxruntime"),
    )


CASES = [
    *(_case(name, make, (2, 9)) for name, make in LINE.items()),
    *(_case(name, make, (2, 8, 6)) for name, make in PLANE.items()),
    *(_case(name, make, (2, 3, 4, 3)) for name, make in SPACE.items()),
]
