"""Which operators between images are shift-invariant but for what they cut off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.operators import (
    Adjoint,
    Composed,
    Convolution,
    Diagonal,
    Indexing,
    LinearOperator,
    Reshape,
    Shape,
    is_identity,
)
from lipcert.operators.base import Norms
from lipcert.rounding import mul_up
from lipcert.spectral.circular import circular_period

MOST_CHANNELS = 1024
"""Channels up to which a pooling of each channel is written out as a convolution."""


@dataclass(frozen=True, eq=False)
class ImageMap:
    """One shift-invariant map between images.

    Parameters
    ----------
    convolution : the convolution, or the one whose adjoint this is; None for the identity.
    adjoint : whether the map runs from the convolution's output to its input.
    shift : what is added to every tap's offset, where that is not minus the leading pads.
    period : the torus of an image that is itself circular; None with zero padding.
    extension : norm of the index map that pads it.
    """

    convolution: Convolution | None = None
    adjoint: bool = False
    shift: Shape | None = None
    period: Shape | None = None
    extension: float = 1.0

    @property
    def stride(self) -> Shape | None:
        """Of the convolution; None for the identity."""
        return None if self.convolution is None else self.convolution.stride

    @property
    def error(self) -> float:
        """Bound of the spectral norm of what is not known exactly of the coefficients."""
        if self.convolution is None:
            return 0.0
        return mul_up(self.convolution.error.l2, self.extension)

    @property
    def stays_inside(self) -> bool:
        """Whether outputs inside their window read nothing outside that of the input.

        A convolution: no zeros are read.  An adjoint: position f reads every m that has a tap t
        with ``s·m + d·t − p = f``; m ≥ n writes from ``s·n − p`` on, m ≤ −1 up to
        ``k − 1 − s − p``.
        """
        if self.convolution is None or self.period is not None:
            return True  # circular padding is met on a torus that is the image itself
        if self.adjoint:
            return all(
                s * own - p >= fine and reach <= s + p
                for s, own, p, fine, reach in _axes(self.convolution)
            )
        return all(
            p == 0 and s * (out - 1) + reach <= n for s, out, p, n, reach in _axes(self.convolution)
        )

    @property
    def keeps_zeros(self) -> bool:
        """Whether outputs outside their window are 0 for an input that is 0 outside its own.

        A convolution: windows do not overlap, so that none that begins beyond ``s·out ≥ n`` reads
        the input, nor wraps around.  An adjoint: nothing that is written is cut off.
        """
        if self.convolution is None:
            return True
        if self.period is not None:
            return False
        if self.adjoint:
            return all(
                p == 0 and s * (own - 1) + reach <= fine
                for s, own, p, fine, reach in _axes(self.convolution)
            )
        return all(
            p == 0 and reach <= s and s * out >= n
            for s, out, p, n, reach in _axes(self.convolution)
        )


def _axes(convolution: Convolution) -> list[tuple[int, int, int, int, int]]:
    """By axis: stride, output side, leading pad, input side, side of the dilated kernel."""
    return [
        (s, out, p, n, (k - 1) * d + 1)
        for s, out, p, n, k, d in zip(
            convolution.stride,
            convolution.out_spatial,
            convolution.pads_begin,
            convolution.spatial,
            convolution.kernel,
            convolution.dilation,
            strict=True,
        )
    ]


def is_image(shape: Shape) -> bool:
    """Whether a shape is ``(1, C, *spatial)`` with one to three spatial axes."""
    return 3 <= len(shape) <= 5 and shape[0] == 1 and min(shape) > 0


def image_map(operator: LinearOperator) -> ImageMap | None:
    """An operator between images ``(1, C, *spatial)`` as one map; None where it is not one."""
    if not is_image(operator.in_shape) or not is_image(operator.out_shape):
        return None
    if is_identity(operator):
        return ImageMap()
    if isinstance(operator, Convolution) and operator.lead == 1:
        return ImageMap(operator)
    if isinstance(operator, Adjoint):
        inner = image_map(operator.operator)
        plain = inner is not None and inner.period is None and not inner.adjoint
        return ImageMap(inner.convolution, adjoint=True) if plain and inner else None
    if isinstance(operator, Diagonal):
        return _scaling(operator)
    if isinstance(operator, Composed):
        return _circular(operator) or _pooling(operator)
    return _selection(operator) if isinstance(operator, Indexing) else None


def _selection(operator: Indexing) -> ImageMap | None:
    """Channels taken, rearranged, or put beside one another: a 1×1 convolution by 0 and 1."""
    (_, channels, *spatial), count = operator.in_shape, operator.out_shape[1]
    if operator.out_shape[2:] != tuple(spatial) or max(channels, count) > MOST_CHANNELS:
        return None
    index = operator.index.reshape(count, -1).cpu()
    places = math.prod(spatial)
    chosen = torch.where(index[:, 0] >= 0, index[:, 0] // places, -1)
    expected = chosen[:, None] * places + torch.arange(places)
    if not torch.equal(index, torch.where(chosen[:, None] >= 0, expected, -1)):
        return None
    weight = (chosen[:, None] == torch.arange(channels)).double()
    ones, zeros = tuple(1 for _ in spatial), tuple(0 for _ in spatial)
    return ImageMap(
        Convolution(
            weight.reshape(count, channels, *ones),
            tuple(spatial),
            stride=ones,
            dilation=ones,
            pads_begin=zeros,
            pads_end=zeros,
        )
    )


def _scaling(operator: Diagonal) -> ImageMap | None:
    full = operator.scale.expand(operator.in_shape)[0].flatten(1)
    if not bool((full == full[:, :1]).all()):
        return None
    spatial = operator.in_shape[2:]
    return ImageMap(_depthwise(full[:, :1], spatial, operator.error))


def _depthwise(scale: Tensor, spatial: Shape, error: Norms) -> Convolution:
    """Each channel times a number."""
    ones, zeros = tuple(1 for _ in spatial), tuple(0 for _ in spatial)
    return Convolution(
        scale.reshape(-1, 1, *ones).contiguous(),
        spatial,
        stride=ones,
        dilation=ones,
        pads_begin=zeros,
        pads_end=zeros,
        groups=len(scale),
        error=error,
    )


def _circular(operator: Composed) -> ImageMap | None:
    """A convolution behind circular padding that comes out as large as its torus asks for."""
    if len(operator.factors) != 2:
        return None
    outer, inner = operator.factors
    if not isinstance(outer, Convolution) or not isinstance(inner, Indexing) or outer.lead != 1:
        return None
    period = circular_period(outer, inner)
    if period is None or period.repeats > 1.0:
        return None
    first = torch.tensor(int(inner.index.reshape(-1)[0]))
    start = tuple(int(axis) for axis in torch.unravel_index(first, inner.in_shape)[2:])
    return ImageMap(outer, shift=start, period=period.torus, extension=inner.absolute_norms.l2)


def _pooling(operator: Composed) -> ImageMap | None:
    """The same one-channel convolution of every channel, written with channels as a batch."""
    if len(operator.factors) != 3:
        return None
    outer, pool, inner = operator.factors
    if not isinstance(outer, Reshape) or not isinstance(inner, Reshape):
        return None
    if not isinstance(pool, Convolution) or pool.in_shape[1] != 1 or pool.out_shape[1] != 1:
        return None
    channels = operator.in_shape[1]
    if pool.lead != channels or operator.out_shape[1] != channels or channels > MOST_CHANNELS:
        return None
    if math.prod(operator.in_shape[2:]) != math.prod(pool.spatial):
        return None
    if operator.in_shape[2:] != pool.spatial or operator.out_shape[2:] != pool.out_spatial:
        return None
    weight = pool.weight.expand(channels, *pool.weight.shape[1:]).contiguous()
    return ImageMap(pool.with_weight(weight, pool.error, groups=channels, lead=1))
