"""Convolutions with zeros around the image, and their adjoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import Floats, Integers
from .maps import Linear, Size

Shape = tuple[int, ...]
Slices = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Convolution(Linear):
    """A zero-padded convolution ``y[o] = Σ_t W[:, :, t] x[o·stride + t·dilation − pads]``.

    Parameters
    ----------
    weight : ``(out channels, in channels / groups, *kernel)``.
    spatial, out_spatial : sides of x and of y.
    """

    spatial: Shape
    out_spatial: Shape
    stride: Shape
    pads: Shape
    dilation: Shape
    groups: int

    @property
    def channels(self) -> tuple[int, int]:
        """Of x and of y."""
        out, inner = self.weight.mantissa.shape[:2]
        return inner * self.groups, out

    @property
    def shape(self) -> Shape:
        """Channels and sides of y."""
        return self.channels[1], *self.out_spatial

    @property
    def size(self) -> Size:
        """Of the map."""
        inner, out = self.channels
        taps, count = math.prod(self.weight.mantissa.shape[2:]), math.prod(self.out_spatial)
        terms = inner // self.groups * taps, out // self.groups * taps
        return Size(inner * math.prod(self.spatial), out * count, terms, inner * taps * count)

    @property
    def kernels(self) -> Integers:
        """What a patch of x is multiplied by, for each group."""
        return self.weight.mantissa.reshape(self.groups, self.channels[1] // self.groups, -1)

    @property
    def copies(self) -> int:
        """How many patches share an element: t·dilation has one residue mod stride in all."""
        axes = zip(self.weight.mantissa.shape[2:], self.stride, self.dilation, strict=True)
        return math.prod(-(-k * math.gcd(s, d) // s) for k, s, d in axes)

    def forward(self, own: Floats, rows: Floats) -> Floats:
        """Kernels times patches."""
        read = self.patches(rows.reshape(len(rows), -1, *self.spatial))
        parts = read.reshape(len(rows), self.groups, -1, math.prod(self.out_spatial))
        return np.asarray(own.reshape(self.kernels.shape) @ parts).reshape(len(rows), -1)

    def backward(self, own: Floats, rows: Floats) -> Floats:
        """Turned kernels times y, each added to where its patch was read."""
        grouped = rows.reshape(len(rows), self.groups, -1, math.prod(self.out_spatial))
        parts = own.reshape(self.kernels.shape).swapaxes(1, 2) @ grouped
        parts = parts.reshape(len(rows), self.channels[0], -1, *self.out_spatial)
        inside, places = self.windows
        found = np.zeros((len(rows), self.channels[0], *self.padded))
        for tap, place in enumerate(places):
            found[place] += parts[:, :, tap]
        return found[inside].reshape(len(rows), -1)

    def patches(self, x: NDArray[Any], fill: int = 0) -> NDArray[Any]:
        """``(N, channels, taps, outputs)`` from ``(N, channels, *spatial)`` amid ``fill``."""
        inside, places = self.windows
        padded = np.full((*x.shape[:2], *self.padded), fill, dtype=x.dtype)
        padded[inside] = x
        return np.stack([padded[place].reshape(*x.shape[:2], -1) for place in places], 2)

    @property
    def stops(self) -> Shape:
        """Where the starts of windows end along each axis."""
        axes = zip(self.out_spatial, self.stride, strict=True)
        return tuple((m - 1) * s + 1 for m, s in axes)

    @property
    def padded(self) -> Shape:
        """Sides of the image with all that is read around it."""
        kernel = self.weight.mantissa.shape[2:]
        reads = zip(self.spatial, self.pads, self.stops, kernel, self.dilation, strict=True)
        return tuple(max(p + n, stop + (k - 1) * d) for n, p, stop, k, d in reads)

    @cached_property
    def windows(self) -> tuple[Slices, list[Slices]]:
        """Where in the padded image the image lies, and what each tap reads."""
        every, places = (slice(None), slice(None)), []
        for tap in np.ndindex(*self.weight.mantissa.shape[2:]):
            axes = zip(tap, self.dilation, self.stops, self.stride, strict=True)
            places.append((*every, *(slice(t * d, t * d + stop, s) for t, d, stop, s in axes)))
        inside = (slice(p, p + n) for p, n in zip(self.pads, self.spatial, strict=True))
        return (*every, *inside), places


class Transposed(Convolution):
    """The adjoint of a convolution: from what it gives to what it reads, ``spatial`` its result."""

    @property
    def shape(self) -> Shape:
        """Channels and sides of the result."""
        return self.channels[0], *self.spatial

    @property
    def size(self) -> Size:
        """Of the map."""
        of = super().size
        return Size(of.y, of.x, of.terms[::-1], of.held)

    def forward(self, own: Floats, rows: Floats) -> Floats:
        """The convolution's transpose."""
        return super().backward(own, rows)

    def backward(self, own: Floats, rows: Floats) -> Floats:
        """The convolution."""
        return super().forward(own, rows)
