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
    Sum,
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


def image_maps(operator: LinearOperator) -> list[ImageMap] | None:
    """The summands of an operator between images ``(1, C, *spatial)``; None where it is not one."""
    if isinstance(operator, Sum):
        parts = [image_maps(part) for part in operator.summands]
        if any(part is None for part in parts):
            return None
        return [single for part in parts if part is not None for single in part]
    found = _image_map(operator)
    return None if found is None else [found]


def is_image(shape: Shape) -> bool:
    """Whether a shape is ``(1, C, *spatial)`` with one to three spatial axes."""
    return 3 <= len(shape) <= 5 and shape[0] == 1 and min(shape) > 0


def _image_map(operator: LinearOperator) -> ImageMap | None:
    if not is_image(operator.in_shape) or not is_image(operator.out_shape):
        return None
    if is_identity(operator):
        return ImageMap()
    if isinstance(operator, Convolution) and operator.lead == 1:
        return ImageMap(operator)
    if isinstance(operator, Adjoint):
        inner = _image_map(operator.operator)
        plain = inner is not None and inner.period is None and not inner.adjoint
        return ImageMap(inner.convolution, adjoint=True) if plain and inner else None
    if isinstance(operator, Diagonal):
        return _scaling(operator)
    if isinstance(operator, Composed):
        return _circular(operator) or _pooling(operator)
    return None


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
