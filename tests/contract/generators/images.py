"""Random graphs of images: convolutions of all kinds, poolings, skips, concatenations, heads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.nonlinear.pooling import MaxPool
from lipcert.operators import (
    Adjoint,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Indexing,
    LinearOperator,
    Reshape,
    compose,
)

from .drawing import Drawing


def on_line(n: int, weights: list[float], before: int, after: int) -> Convolution:
    """A kernel on a line of n numbers, zeros ``before`` and ``after`` it."""
    return Convolution(
        torch.tensor(weights, dtype=torch.float64).reshape(1, 1, -1),
        (n,),
        stride=(1,),
        dilation=(1,),
        pads_begin=(before,),
        pads_end=(after,),
    )


class Images:
    """Draws a random graph of images; ``circular`` ones wrap around instead of adding zeros."""

    def __init__(self, seed: int, *, circular: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.circular = circular
        channels, side = int(self.rng.integers(1, 3)), int(self.rng.integers(4, 8))
        side = side - side % 4 + 4 if circular else side
        self.d = Drawing(1, channels, side, side)

    def convolution(
        self, source: str, stride: int = 1, kernel: int | None = None, out: int | None = None
    ) -> str:
        """A convolution that keeps ``ceil(n / stride)`` positions, sometimes in groups."""
        _, channels, *sides = self.d.shapes[source]
        kernel = kernel or (3 if stride == 1 else int(self.rng.integers(2, 4)))
        dilation = 2 if stride == 1 and kernel == 3 and self.rng.random() < 0.2 else 1
        groups = channels if out is None and self.rng.random() < 0.2 else 1
        out = out or (channels if groups > 1 else int(self.rng.integers(1, 4)))
        before = (kernel - 1) * dilation // 2
        ends = []
        for n in sides:
            reach = (math.ceil(n / stride) - 1) * stride + (kernel - 1) * dilation + 1
            ends.append(max(0, reach - n - before))
        weight = self.rng.standard_normal((out, channels // groups, kernel, kernel))
        weight /= math.sqrt(channels // groups * kernel)
        around = self.circular and kernel > 1
        read = wrapped(self.d.shapes[source], before, ends) if around else None
        operator: LinearOperator = Convolution(
            torch.from_numpy(weight),
            read.out_shape[2:] if read else tuple(sides),
            stride=(stride, stride),
            dilation=(dilation, dilation),
            pads_begin=(0, 0) if read else (before, before),
            pads_end=(0, 0) if read else tuple(ends),
            groups=groups,
        )
        return self.d.add(Affine(compose(operator, read) if read else operator), source)

    def transposed(self, source: str) -> str:
        """Twice as many positions: the adjoint of a convolution of stride 2, kernel 2 or 3."""
        _, channels, *sides = self.d.shapes[source]
        kernel, out = int(self.rng.integers(2, 4)), int(self.rng.integers(1, 3))
        before = int(self.rng.integers(0, 2)) if kernel == 3 else 0
        weight = self.rng.standard_normal((channels, out, kernel, kernel)) / math.sqrt(channels * 2)
        fine = tuple(2 * n for n in sides)
        operator = Convolution(
            torch.from_numpy(weight),
            fine,
            stride=(2, 2),
            dilation=(1, 1),
            pads_begin=(before, before),
            pads_end=(kernel - 2 - before,) * 2 if kernel - 2 > before else (0, 0),
        )
        assert operator.out_spatial == tuple(sides)
        return self.d.add(Affine(Adjoint(operator)), source)

    def activated(self, source: str) -> str:
        name = self.rng.choice(["Relu", "Relu", "LeakyRelu", "Gelu", "Tanh"])
        operation = ACTIVATIONS["LeakyRelu"](0.2) if name == "LeakyRelu" else ACTIVATIONS[name]()
        return self.d.add(operation, source)

    def scaled(self, source: str) -> str:
        """A batch normalisation: a number for each channel."""
        shape = self.d.shapes[source]
        scale = torch.from_numpy(self.rng.uniform(0.5, 1.5, (1, shape[1], 1, 1)))
        return self.d.add(Affine(Diagonal(scale, shape)), source)

    def residual(self, source: str) -> str:
        """A block with a skip, the identity or a 1×1 convolution with the block's stride."""
        stride = int(self.rng.integers(1, 3))
        inner = self.activated(self.scaled(self.convolution(source, stride)))
        if stride == 1 and self.rng.random() < 0.5:
            last = self.convolution(inner, out=self.d.shapes[source][1])
            return self.d.total(last, source)
        last = self.convolution(inner)
        skip = self.convolution(source, stride, kernel=1, out=self.d.shapes[last][1])
        return self.d.total(last, skip)

    def concatenated(self, source: str) -> str:
        """An image and a convolution of it, channels beside one another."""
        return self.joined(source, self.activated(self.convolution(source)))

    def joined(self, *sources: str) -> str:
        """The channels of several images of one size."""
        shapes = [self.d.shapes[source] for source in sources]
        total, start, parts = sum(shape[1] for shape in shapes), 0, []
        for source, (_, channels, *sides) in zip(sources, shapes, strict=True):
            index = torch.full((1, total, *sides), -1, dtype=torch.int64)
            count = channels * math.prod(sides)
            index[:, start : start + channels] = torch.arange(count).reshape(1, channels, *sides)
            start += channels
            parts.append(self.d.add(Affine(Indexing(index, self.d.shapes[source])), source))
        return self.d.total(*parts)

    def pooled(self, source: str, kernel: int = 2, stride: int = 2) -> str:
        """The mean over windows, written with channels as a batch."""
        _, channels, n, _ = shape = self.d.shapes[source]
        pool = Convolution(
            torch.full((1, 1, kernel, kernel), 1.0 / kernel**2, dtype=torch.float64),
            (n, n),
            stride=(stride, stride),
            dilation=(1, 1),
            pads_begin=(0, 0),
            pads_end=(0, 0),
            lead=channels,
        )
        m = pool.out_spatial[0]
        inner = Reshape(shape, (channels, 1, n, n))
        outer = Reshape((channels, 1, m, m), (1, channels, m, m))
        return self.d.add(Affine(Composed((outer, pool, inner))), source)

    def largest(self, source: str, kernel: int = 2, stride: int = 2, pad: int = 0) -> str:
        """The maximum over windows."""
        _, channels, n, _ = self.d.shapes[source]
        pool = MaxPool(
            (kernel, kernel),
            stride=(stride, stride),
            dilation=(1, 1),
            pads_begin=(pad, pad),
            pads_end=(pad, pad),
        )
        m = (n + 2 * pad - kernel) // stride + 1
        return self.d.add(pool, source, shape=(1, channels, m, m))

    def head(self, source: str) -> str:
        """Dense layers behind all elements, or behind the mean of every channel."""
        shape = self.d.shapes[source]
        size = math.prod(shape)
        if self.rng.random() < 0.4:
            index = torch.arange(shape[1]).reshape(1, -1, 1, 1).expand(shape).contiguous()
            total = Adjoint(Indexing(index, (1, shape[1], 1, 1)))
            read = compose(Reshape(total.out_shape, (1, shape[1])), total)
            factor = 1.0 / math.prod(shape[2:])
            size = shape[1]
        else:
            read, factor = Reshape(shape, (1, size)), 1.0
        first = Dense(torch.from_numpy(self.rng.standard_normal((4, size)) * factor), (1,))
        value = self.d.add(Affine(compose(first, read)), source)
        if self.rng.random() < 0.5:
            value = self.activated(value)
            last = Dense(torch.from_numpy(self.rng.standard_normal((3, 4))), (1,))
            value = self.d.add(Affine(last), value)
        return value


def wrapped(shape: Sequence[int], before: int, ends: Sequence[int]) -> Indexing:
    """The index map that continues an image around."""
    index = torch.arange(math.prod(shape)).reshape(tuple(shape))
    for axis, (n, after) in enumerate(zip(shape[2:], ends, strict=True), start=2):
        around = (torch.arange(n + before + after) - before) % n
        index = index.index_select(axis, around)
    return Indexing(index.contiguous(), tuple(shape))


def random_images(seed: int) -> Graph:
    """Plain convolutions, residual blocks and means over windows behind one another."""
    images = Images(seed)
    value = "x"
    for _ in range(int(images.rng.integers(1, 4))):
        kind = images.rng.random()
        if kind < 0.4:
            value = images.activated(images.convolution(value, int(images.rng.integers(1, 3))))
        elif kind < 0.85:
            value = images.activated(images.residual(value))
        elif images.d.shapes[value][2] >= 4:
            value = images.activated(images.pooled(images.activated(images.convolution(value))))
    return finished(images, value)


def finished(images: Images, value: str) -> Graph:
    """The graph with a convolution or dense layers at its end."""
    ends = images.rng.random()
    if value == "x" or ends < 0.4:
        return images.d.graph(images.convolution(images.activated(images.convolution(value))))
    return images.d.graph(images.head(value))


def random_dag(seed: int) -> Graph:
    """Everything: two maps behind one another, transposed ones, concatenations, maxima, circles."""
    images = Images(seed, circular=seed % 6 == 5)
    value = "x"
    for _ in range(int(images.rng.integers(1, 4))):
        value = _extended(images, value)
    return finished(images, value)


def _extended(images: Images, value: str) -> str:
    side = images.d.shapes[value][2]
    kind = int(images.rng.integers(0, 7))
    stride = int(images.rng.integers(1, 3))
    if kind == 0:
        return images.activated(images.convolution(value, stride))
    if kind == 1:
        return images.activated(images.residual(value))
    if kind == 2:
        joined = images.concatenated(value)
        return images.activated(images.convolution(joined, out=2))
    if kind == 3:  # two maps with nothing between them
        return images.activated(images.convolution(images.convolution(value, stride), out=2))
    if kind == 4 and side >= 4:
        inner = images.convolution(value)
        activated = images.activated(inner) if images.rng.random() < 0.5 else inner
        kernel = int(images.rng.integers(2, 4))
        return images.activated(images.convolution(images.pooled(activated, kernel), out=2))
    if kind == 5 and side >= 4:
        inner = images.convolution(value)
        if images.rng.random() < 0.5:
            inner = images.activated(inner)
        kernel = int(images.rng.integers(2, 4))
        found = images.largest(inner, kernel, 2, pad=kernel - 2)
        return images.activated(images.convolution(found, out=2))
    if kind == 6 and side <= 4 and not images.circular:
        return images.activated(images.transposed(value))
    return images.activated(images.convolution(value))
