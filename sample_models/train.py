"""Train the sample networks on scikit-learn's 8x8 digits and export them to ONNX.

``python sample_models/train.py [--out DIR]`` writes three models and two test files: a plain
ReLU network, and two networks that are 1-Lipschitz in the l2 norm by construction (one dense,
one convolutional).  All seeds are fixed and one thread is used.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

EPS = (0.1, 0.25, 0.5, 0.75, 1.0)
SHRINK = 1.0 - 1e-6  # leaves room for the rounding of the weights to float32
TEST_SIZE = 450


def cayley(raw: Tensor) -> Tensor:
    """Map a free matrix (or a batch of them) to orthonormal columns, or rows if it is wide.

    Cayley transform of a skew-symmetric matrix, extended to rectangular matrices (Trockman and
    Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform", 2021).
    """
    if raw.shape[-2] < raw.shape[-1]:
        return cayley(raw.mT).mT
    n = raw.shape[-1]
    top, low = raw[..., :n, :], raw[..., n:, :]
    skew = top - top.mT + low.mT @ low
    eye = torch.eye(n, dtype=raw.dtype)
    inverse = torch.linalg.inv(eye + skew)
    return torch.cat([inverse @ (eye - skew), -2.0 * low @ inverse], dim=-2)


def block_convolve(a: Tensor, b: Tensor) -> Tensor:
    """Kernel of "convolve by b, then by a"; kernels are (height, width, out, in).

    The block convolution of Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs"
    (2018): a product of polynomials with matrix coefficients.
    """
    rows: list[Tensor] = []
    for i in range(a.shape[0] + b.shape[0] - 1):
        for j in range(a.shape[1] + b.shape[1] - 1):
            terms = [
                a[k, m] @ b[i - k, j - m]
                for k in range(a.shape[0])
                for m in range(a.shape[1])
                if 0 <= i - k < b.shape[0] and 0 <= j - m < b.shape[1]
            ]
            rows.append(torch.stack(terms).sum(dim=0))
    height, width = a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1
    return torch.stack(rows).reshape(height, width, a.shape[2], b.shape[3])


def projector_kernel(p: Tensor, q: Tensor) -> Tensor:
    """Orthogonal 2x2 kernel from two symmetric projectors (Xiao et al., 2018)."""
    eye = torch.eye(p.shape[0], dtype=p.dtype)
    column = torch.stack([p, eye - p])[:, None]
    row = torch.stack([q, eye - q])[None, :]
    return block_convolve(column, row)


class OrthogonalLinear(nn.Module):
    """Dense layer with orthonormal rows or columns (Cayley parametrisation)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.empty(n_out, n_in))
        nn.init.orthogonal_(self.raw)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def weight(self) -> Tensor:
        return cayley(self.raw)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(), self.bias)

    def plain(self) -> nn.Linear:
        layer = nn.Linear(self.raw.shape[1], self.raw.shape[0])
        return fill(layer, self)


class PatchConv(nn.Module):
    """2x2 convolution of stride 2: one orthonormal matrix applied to disjoint patches."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.c_in, self.c_out = c_in, c_out
        self.raw = nn.Parameter(torch.empty(c_out, 4 * c_in))
        nn.init.orthogonal_(self.raw)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def weight(self) -> Tensor:
        return cayley(self.raw).reshape(self.c_out, self.c_in, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, stride=2)

    def plain(self) -> nn.Conv2d:
        return fill(nn.Conv2d(self.c_in, self.c_out, 2, stride=2), self)


class OrthogonalConv(nn.Module):
    """3x3 convolution, orthogonal under circular and 1-Lipschitz under zero padding.

    Block convolution orthogonal parametrisation (Li et al., "Preventing Gradient Attenuation in
    Lipschitz Constrained Convolutional Networks", 2019), for c_out >= c_in.  A zero-padded
    convolution is a circular one on a larger grid between two coordinate projections, so
    zero padding cannot raise the norm.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.c_in, self.c_out = c_in, c_out
        self.raw_matrix = nn.Parameter(torch.empty(c_out, c_in))
        self.raw_frames = nn.Parameter(torch.empty(4, c_out, c_out // 2))
        nn.init.orthogonal_(self.raw_matrix)
        for frame in self.raw_frames:
            nn.init.orthogonal_(frame)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def weight(self) -> Tensor:
        frames = cayley(self.raw_frames)
        p = frames @ frames.mT
        kernel = block_convolve(projector_kernel(p[0], p[1]), projector_kernel(p[2], p[3]))
        return (kernel @ cayley(self.raw_matrix)).permute(2, 3, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, padding=1)

    def plain(self) -> nn.Conv2d:
        return fill(nn.Conv2d(self.c_in, self.c_out, 3, padding=1), self)


class MaxMin(nn.Module):
    """Sort pairs of channels (Anil, Lucas and Grosse, "Sorting out Lipschitz function
    approximation", 2019); channel i is paired with channel i + C/2."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


@torch.no_grad()
def fill(layer, source):
    """Copy the source's weight, computed in float64 and shrunk, into a plain float32 layer."""
    weight = copy.deepcopy(source).double().weight()
    layer.weight.copy_((SHRINK * weight).float())
    layer.bias.copy_(source.bias)
    return layer


def materialise(net: nn.Sequential) -> nn.Sequential:
    """The same network with plain nn.Linear and nn.Conv2d layers."""
    layers = [m.plain() if hasattr(m, "plain") else copy.deepcopy(m) for m in net]
    return nn.Sequential(*layers).eval()


def relu_mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def lip_mlp() -> nn.Sequential:
    layers: list[nn.Module] = [OrthogonalLinear(64, 128), MaxMin()]
    for _ in range(2):
        layers += [OrthogonalLinear(128, 128), MaxMin()]
    return nn.Sequential(*layers, OrthogonalLinear(128, 10))


def lip_conv() -> nn.Sequential:
    return nn.Sequential(
        OrthogonalConv(1, 8), MaxMin(),
        PatchConv(8, 32), MaxMin(),
        OrthogonalConv(32, 32), MaxMin(),
        PatchConv(32, 64), MaxMin(), nn.Flatten(),
        OrthogonalLinear(256, 128), MaxMin(), OrthogonalLinear(128, 10),
    )  # fmt: skip


def margin_loss(tau: float, margin: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of tau * (logits - margin at the true class), over tau.

    The temperature is that of Bethune et al., "Pay attention to your loss" (2022); the margin
    offset follows Tsuzuku et al., "Lipschitz-Margin Training" (2018).
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        offset = margin * F.one_hot(target, logits.shape[1])
        return F.cross_entropy(tau * (logits - offset), target) / tau

    return loss


def train(
    net: nn.Sequential,
    x: Tensor,
    y: Tensor,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    rate: float,
    noise: float = 0.0,
    batch: int = 128,
) -> None:
    """Adam with a one-cycle learning rate; Gaussian noise of the given scale on the inputs."""
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for index in order[: steps * batch].split(batch):
            inputs = x[index] + noise * torch.randn_like(x[index])
            optimiser.zero_grad()
            loss_fn(net(inputs), y[index]).backward()
            optimiser.step()
            schedule.step()
