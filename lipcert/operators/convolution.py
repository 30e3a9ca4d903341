"""Zero-padded convolution in one, two or three dimensions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lipcert.operators.base import ZERO_NORMS, LinearOperator, Norms, Shape

COLUMN_ELEMENTS = 1 << 20
"""Elements of the matrix of patches formed at once: what fits a processor's cache."""


class Convolution(LinearOperator):
    """Cross-correlation ``y[o, m] = Σ_{i,t} weight[o, i, t] x[i, s·m + d·t − p]``, zero outside.

    Parameters
    ----------
    weight : ``(out_channels, in_channels / groups, *kernel)``, one to three kernel axes.
    spatial : the input's spatial sizes.
    stride, dilation : one number per spatial axis.
    pads_begin, pads_end : zeros added before and after each spatial axis.
    groups : channel groups; the operator is block diagonal over them.
    lead : the leading axis, which the convolution leaves alone (ONNX's batch axis).
    """

    def __init__(
        self,
        weight: Tensor,
        spatial: Shape,
        *,
        stride: Shape,
        dilation: Shape,
        pads_begin: Shape,
        pads_end: Shape,
        groups: int = 1,
        lead: int = 1,
        error: Norms = ZERO_NORMS,
    ) -> None:
        self.weight = weight
        self.spatial = spatial
        self.stride = stride
        self.dilation = dilation
        self.pads_begin = pads_begin
        self.pads_end = pads_end
        self.groups = groups
        self.lead = lead
        self.error = error
        self.kernel = tuple(weight.shape[2:])
        self.padded = tuple(
            n + before + after
            for n, before, after in zip(spatial, pads_begin, pads_end, strict=True)
        )
        self.out_spatial = tuple(
            (n - (k - 1) * d - 1) // s + 1
            for n, k, d, s in zip(self.padded, self.kernel, dilation, stride, strict=True)
        )
        self.in_shape = (lead, weight.shape[1] * groups, *spatial)
        self.out_shape = (lead, weight.shape[0], *self.out_spatial)

    def apply(self, x: Tensor) -> Tensor:
        image: Tensor = _DifferentiatedByAdjoint.apply(x, self)  # type: ignore[no-untyped-call]
        return image

    def adjoint(self, y: Tensor) -> Tensor:
        return self._adjoint(y, self.weight)

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        magnitude = self.weight.abs()
        ones_in = torch.ones(1, *self.in_shape, dtype=torch.float64, device=self.device)
        ones_out = torch.ones(1, *self.out_shape, dtype=torch.float64, device=self.device)
        return self._apply(ones_in, magnitude)[0], self._adjoint(ones_out, magnitude)[0]

    def _apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Patches as columns, then one matrix product per group: plain sums of products.

        In float64 this is faster than the library's convolution, and on every device it is free
        of FFT and Winograd algorithms, which would void the γ_n bound.
        """
        batch = x.reshape(-1, *self.in_shape[1:])
        parts = [self._apply_chunk(part, weight) for part in torch.split(batch, self._chunk())]
        y = torch.cat(parts) if len(parts) > 1 else parts[0]
        return y.reshape(x.shape[0], *self.out_shape)

    def _chunk(self) -> int:
        columns = math.prod(self.weight.shape[1:]) * self.groups * math.prod(self.out_spatial)
        return max(1, COLUMN_ELEMENTS // max(1, columns))

    def _apply_chunk(self, batch: Tensor, weight: Tensor) -> Tensor:
        pads = [p for pair in zip(self.pads_begin, self.pads_end, strict=True) for p in pair]
        padded = F.pad(batch, _last_axis_first(pads)) if any(pads) else batch
        patches = padded.transpose(0, 1)
        for axis, (k, s, d) in enumerate(
            zip(self.kernel, self.stride, self.dilation, strict=True), start=2
        ):
            patches = patches.unfold(axis, (k - 1) * d + 1, s)[..., ::d]
        axes = len(self.kernel)
        order = (0, *range(2 + axes, 2 + 2 * axes), 1, *range(2, 2 + axes))
        columns = patches.permute(order).reshape(self.groups, -1, len(batch) * self._positions)
        image = weight.reshape(self.groups, weight.shape[0] // self.groups, -1) @ columns
        image = image.reshape(weight.shape[0], len(batch), *self.out_spatial)
        return image.transpose(0, 1)

    def _adjoint(self, y: Tensor, weight: Tensor) -> Tensor:
        batch = y.reshape(-1, *self.out_shape[1:])
        parts = [self._adjoint_chunk(part, weight) for part in torch.split(batch, self._chunk())]
        x = torch.cat(parts) if len(parts) > 1 else parts[0]
        return x.reshape(y.shape[0], *self.in_shape)

    def _adjoint_chunk(self, batch: Tensor, weight: Tensor) -> Tensor:
        """The columns that a product with Wᵀ gives, each tap's added where it reads."""
        image = batch.transpose(0, 1).reshape(self.groups, -1, len(batch) * self._positions)
        stacked = weight.reshape(self.groups, weight.shape[0] // self.groups, -1)
        columns = stacked.transpose(1, 2) @ image
        channels = self.in_shape[1]
        columns = columns.reshape(channels, -1, len(batch), *self.out_spatial)
        padded = columns.new_zeros(channels, len(batch), *self.padded)
        for position, tap in enumerate(itertools.product(*(range(k) for k in self.kernel))):
            where = tuple(
                slice(t * d, t * d + (out - 1) * s + 1, s)
                for t, d, s, out in zip(
                    tap, self.dilation, self.stride, self.out_spatial, strict=True
                )
            )
            padded[(slice(None), slice(None), *where)] += columns[:, position]
        inside = tuple(
            slice(before, before + n)
            for before, n in zip(self.pads_begin, self.spatial, strict=True)
        )
        return padded[(slice(None), slice(None), *inside)].transpose(0, 1)

    @property
    def _positions(self) -> int:
        return math.prod(self.out_spatial)

    @property
    def terms(self) -> int:
        taps = math.prod(self.kernel)
        return taps * max(self.weight.shape[1], self.weight.shape[0] // self.groups)

    @property
    def cost(self) -> float:
        # the thin products of patches reach a third of the rate of square ones
        return 6.0 * self.lead * self.weight.numel() * math.prod(self.out_spatial)

    def with_weight(
        self, weight: Tensor, error: Norms, *, groups: int | None = None, lead: int | None = None
    ) -> Convolution:
        """The same geometry with other coefficients, and other groups or leading axis if given."""
        return Convolution(
            weight,
            self.spatial,
            stride=self.stride,
            dilation=self.dilation,
            pads_begin=self.pads_begin,
            pads_end=self.pads_end,
            groups=self.groups if groups is None else groups,
            lead=self.lead if lead is None else lead,
            error=error,
        )

    def to(self, device: torch.device) -> Convolution:
        return self.with_weight(self.weight.to(device), self.error)

    @property
    def device(self) -> torch.device:
        return self.weight.device


class _DifferentiatedByAdjoint(torch.autograd.Function):
    """A convolution whose gradient is its adjoint: several times faster than through patches."""

    @staticmethod
    def forward(x: Tensor, operator: Convolution) -> Tensor:
        return operator._apply(x, operator.weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Convolution], output: Tensor) -> None:
        ctx.operator = inputs[1]

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        return ctx.operator.adjoint(cotangent), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        image: Tensor = ctx.operator.apply(tangent)
        return image


def _last_axis_first(pads: list[int]) -> list[int]:
    """Reorder (before, after) pairs from first-axis-first to what ``F.pad`` wants."""
    pairs = [pads[i : i + 2] for i in range(0, len(pads), 2)]
    return [pad for pair in reversed(pairs) for pad in pair]
