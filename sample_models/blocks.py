"""Layers of 1-Lipschitz residual families: free parameters to train, plain layers to export.

No layer of a block is 1-Lipschitz by itself; the block is, by the theorem of its family.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from train import SHRINK, Orthogonal, OrthogonalLinear, cayley

SIDE = 8  # of the images that convolutional blocks act on
CONTRACTION = 0.9  # Lipschitz constant of the branches of the i-ResNet
POWER_STEPS = 2  # on a convolution's norm, in each step of training


class Block(nn.Module):
    """A layer of free parameters that can be written out as plain ones."""

    def plain(self) -> nn.Module:
        """The same map in plain layers of float32 weights made in float64."""
        raise NotImplementedError


class Norm(nn.Module):
    """The norm of a zero-padded convolution by power iteration, kept warm between steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vector = nn.Buffer(F.normalize(torch.randn(channels * SIDE**2), dim=0))

    def forward(self, weight: Tensor, *, skip: bool = False) -> Tensor:
        """‖K‖, or ‖I + K‖ with ``skip``; differentiable in the weight."""

        def apply(x: Tensor) -> Tensor:
            y = F.conv2d(x, weight, padding=1)
            return y + x if skip else y

        v = self.vector.reshape(1, -1, SIDE, SIDE)
        if self.training:
            with torch.no_grad():
                for _ in range(POWER_STEPS):
                    y = apply(v)
                    back = F.conv_transpose2d(y, weight, padding=1)
                    back = back + y if skip else back
                    v = back / back.norm()
                self.vector.copy_(v.flatten())
        return apply(v.detach()).norm()


def conv_norm(weight: Tensor, *, skip: bool = False) -> float:
    """‖K‖, or ‖I + K‖ with ``skip``, of a zero-padded convolution from its explicit matrix."""
    basis = torch.eye(weight.shape[1] * SIDE**2, dtype=torch.float64)
    images = basis.reshape(len(basis), -1, SIDE, SIDE)
    matrix = F.conv2d(images, weight, padding=1).flatten(1)
    return float(torch.linalg.matrix_norm(matrix + basis if skip else matrix, 2))


def conv(weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """A plain 3x3 convolution, zero-padded."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None and bias is not None:
            layer.bias.copy_(bias)
    return layer


def dense(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A plain dense layer."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None and bias is not None:
            layer.bias.copy_(bias)
    return layer


class Residual(nn.Module):
    """x + scale · branch(x), or x − scale · branch(x), as exporters write it."""

    def __init__(self, branch: nn.Module, sign: int, after: float = 1.0) -> None:
        super().__init__()
        self.branch, self.sign, self.after = branch, sign, after

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.branch(x) if self.sign > 0 else x - self.branch(x)
        return y if self.after == 1.0 else self.after * y


class SLL(Block):
    """x − 2 W T⁻¹ relu(Wᵀx + b), ``T_ii = Σ_j |WᵀW|_ij q_j/q_i`` (Araujo et al. 2023, Thm 3)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.W = nn.Parameter(nn.init.orthogonal_(torch.empty(width, hidden)))
        self.log_q = nn.Parameter(torch.zeros(hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))

    def inverse(self) -> Tensor:
        """The diagonal of T⁻¹."""
        q = self.log_q.exp()
        return q / ((self.W.T @ self.W).abs() @ q)

    def forward(self, x: Tensor) -> Tensor:
        return x - 2.0 * (F.relu(x @ self.W + self.bias) * self.inverse()) @ self.W.T

    @torch.no_grad()
    def plain(self) -> nn.Module:
        exact = copy.deepcopy(self).double()
        backward = 2.0 * SHRINK * exact.W * exact.inverse()
        return Residual(nn.Sequential(dense(self.W.T, self.bias), nn.ReLU(), dense(backward)), -1)


class CPLBranch(nn.Module):
    """(2/h) Wᵀ* relu(W * x + b): one weight for a convolution and its transpose."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: float) -> None:
        super().__init__()
        self.weight, self.bias, self.scale = nn.Parameter(weight), nn.Parameter(bias), scale

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(F.conv2d(x, self.weight, self.bias, padding=1))
        return self.scale * F.conv_transpose2d(inner, self.weight, padding=1)


class CPL(Block):
    """x − 2/‖W‖² W relu(Wᵀx + b), convolutional (Meunier et al. 2022, Thm 1)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(hidden, channels, 3, 3)))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.norm = Norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.weight).square()
        inner = F.relu(F.conv2d(x, self.weight, self.bias, padding=1))
        return x - 2.0 / h * F.conv_transpose2d(inner, self.weight, padding=1)

    @torch.no_grad()
    def plain(self) -> nn.Module:
        weight = self.weight.double()
        h = conv_norm(weight) ** 2
        return Residual(CPLBranch(self.weight, self.bias, 2.0 * SHRINK / h), -1)


class Sandwich(Block):
    """√2 Aᵀ Ψ relu(√2 Ψ⁻¹ B x + b) with A Aᵀ + B Bᵀ = I (Wang & Manchester 2023, Thm 3.2)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(nn.init.orthogonal_(torch.empty(n_out, n_out + n_in)))
        self.log_psi = nn.Parameter(torch.zeros(n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def factors(self) -> tuple[Tensor, Tensor]:
        """√2 Aᵀ Ψ and √2 Ψ⁻¹ B."""
        both, count = math.sqrt(2.0) * cayley(self.raw), len(self.raw)
        psi = self.log_psi.exp()
        return both[:, :count].T * psi, both[:, count:] / psi[:, None]

    def forward(self, x: Tensor) -> Tensor:
        outer, inner = self.factors()
        return F.linear(F.relu(F.linear(x, inner, self.bias)), outer)

    @torch.no_grad()
    def plain(self) -> nn.Module:
        outer, inner = copy.deepcopy(self).double().factors()
        return nn.Sequential(dense(SHRINK * inner, self.bias), nn.ReLU(), dense(SHRINK * outer))


class LinearResidual(Block):
    """(x + K * x + b)/‖id + K‖, linear; an activation follows (LiResNet, Hu et al. 2023)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels, 3, 3)) / 3)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.norm = Norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        size: Tensor = self.norm(self.weight, skip=True)
        return (x + F.conv2d(x, self.weight, self.bias, padding=1)) / size

    @torch.no_grad()
    def plain(self) -> nn.Module:
        weight = self.weight.double()
        size = conv_norm(weight, skip=True)
        return Residual(conv(self.weight, self.bias), 1, SHRINK / size)


class InvertibleResidual(Block):
    """x + g(x), ``g = K₂ relu(K₁ x + b)`` of constant CONTRACTION (Behrmann et al. 2019, Thm 1).

    The head of the network divides by the product of all ``1 + CONTRACTION``.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Parameter(nn.init.orthogonal_(torch.empty(hidden, channels, 3, 3)))
        self.outer = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, hidden, 3, 3)))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.norms = nn.ModuleList([Norm(channels), Norm(hidden)])

    def forward(self, x: Tensor) -> Tensor:
        sizes = [norm(w) for norm, w in zip(self.norms, (self.inner, self.outer), strict=True)]
        hidden = F.relu(F.conv2d(x, self.inner / sizes[0], self.bias, padding=1))
        return x + CONTRACTION / sizes[1] * F.conv2d(hidden, self.outer, padding=1)

    @torch.no_grad()
    def plain(self) -> nn.Module:
        inner, outer = (
            SHRINK * w / conv_norm(w) for w in (self.inner.double(), self.outer.double())
        )
        branch = nn.Sequential(conv(inner, self.bias), nn.ReLU(), conv(CONTRACTION * outer))
        return Residual(branch, 1)


class ScaledHead(Orthogonal):
    """A dense layer of orthonormal rows divided by a constant."""

    def __init__(self, n_in: int, n_out: int, scale: float) -> None:
        super().__init__()
        self.rows, self.scale = OrthogonalLinear(n_in, n_out), scale

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        """Of the layer inside."""
        return self.rows.bias

    def weight(self) -> Tensor:
        return self.scale * self.rows.weight()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(), self.bias)

    def empty(self) -> nn.Linear:
        return self.rows.empty()
