"""Zero-padded convolution in one, two or three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lipcert.operators.base import ZERO_NORMS, LinearOperator, Norms, Shape

CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


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
        return self._apply(x, self.weight)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._adjoint(y, self.weight)

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        magnitude = self.weight.abs()
        ones_in = torch.ones(1, *self.in_shape, dtype=torch.float64, device=self.device)
        ones_out = torch.ones(1, *self.out_shape, dtype=torch.float64, device=self.device)
        return self._apply(ones_in, magnitude)[0], self._adjoint(ones_out, magnitude)[0]

    def _apply(self, x: Tensor, weight: Tensor) -> Tensor:
        batch = x.reshape(x.shape[0] * self.lead, *self.in_shape[1:])
        padding: Shape | int = self.pads_begin
        if self.pads_begin != self.pads_end:
            pads = [p for pair in zip(self.pads_begin, self.pads_end, strict=True) for p in pair]
            batch = F.pad(batch, _last_axis_first(pads))
            padding = 0
        convolve = CONVOLVE[len(self.kernel)]
        with torch.backends.cudnn.flags(enabled=False):  # FFT algorithms would void the γ_n bound
            y = convolve(batch, weight, None, self.stride, padding, self.dilation, self.groups)
        return y.reshape(x.shape[0], *self.out_shape)

    def _adjoint(self, y: Tensor, weight: Tensor) -> Tensor:
        batch = y.reshape(y.shape[0] * self.lead, *self.out_shape[1:])
        transposed = TRANSPOSED[len(self.kernel)]
        with torch.backends.cudnn.flags(enabled=False):
            x = transposed(
                batch, weight, None, self.stride, 0, 0, self.groups, self.dilation
            )
        crop = []
        for size, n, before in zip(x.shape[2:], self.spatial, self.pads_begin, strict=True):
            crop += [-before, n + before - size]
        x = F.pad(x, _last_axis_first(crop))
        return x.reshape(y.shape[0], *self.in_shape)

    @property
    def terms(self) -> int:
        taps = math.prod(self.kernel)
        return taps * max(self.weight.shape[1], self.weight.shape[0] // self.groups)

    @property
    def cost(self) -> float:
        # float64 convolutions reach a fifth of the rate of matrix products
        return 10.0 * self.lead * self.weight.numel() * math.prod(self.out_spatial)

    def with_weight(self, weight: Tensor, error: Norms) -> Convolution:
        """The same geometry with other coefficients."""
        return Convolution(
            weight,
            self.spatial,
            stride=self.stride,
            dilation=self.dilation,
            pads_begin=self.pads_begin,
            pads_end=self.pads_end,
            groups=self.groups,
            lead=self.lead,
            error=error,
        )

    def to(self, device: torch.device) -> Convolution:
        return self.with_weight(self.weight.to(device), self.error)

    @property
    def device(self) -> torch.device:
        return self.weight.device


def _last_axis_first(pads: list[int]) -> list[int]:
    """Reorder (before, after) pairs from first-axis-first to what ``F.pad`` wants."""
    pairs = [pads[i : i + 2] for i in range(0, len(pads), 2)]
    return [pad for pair in reversed(pairs) for pad in pair]
