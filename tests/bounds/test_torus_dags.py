"""LipSDP on the torus for random convolutional graphs: never below a slope, and for pairs too."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.soundness import differences, is_above, is_above_dual, sampled_slopes

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds import lipsdp as lipsdp_module
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.lipsdp import lipsdp_neuron_bound
from lipcert.bounds.plan import Stretch
from lipcert.bounds.torus import split, torus_lipsdp
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import (
    Adjoint,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Indexing,
    Reshape,
    compose,
)
from lipcert.signals import SignalForm, fold


class Images:
    """Draws a random graph of images."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        channels, side = int(self.rng.integers(1, 3)), int(self.rng.integers(4, 8))
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
        operator = Convolution(
            torch.from_numpy(weight / math.sqrt(channels // groups * kernel)),
            tuple(sides),
            stride=(stride, stride),
            dilation=(dilation, dilation),
            pads_begin=(before, before),
            pads_end=tuple(ends),
            groups=groups,
        )
        return self.d.add(Affine(operator), source)

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

    def pooled(self, source: str) -> str:
        """The mean over windows of 2×2, written with channels as a batch."""
        _, channels, n, _ = shape = self.d.shapes[source]
        pool = Convolution(
            torch.full((1, 1, 2, 2), 0.25, dtype=torch.float64),
            (n, n),
            stride=(2, 2),
            dilation=(1, 1),
            pads_begin=(0, 0),
            pads_end=(0, 0),
            lead=channels,
        )
        m = pool.out_spatial[0]
        inner = Reshape(shape, (channels, 1, n, n))
        outer = Reshape((channels, 1, m, m), (1, channels, m, m))
        return self.d.add(Affine(Composed((outer, pool, inner))), source)

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


def random_images(seed: int) -> Graph:
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
    ends = images.rng.random()
    if value == "x" or ends < 0.4:
        return images.d.graph(images.convolution(images.activated(images.convolution(value))))
    return images.d.graph(images.head(value))


@pytest.mark.parametrize("seed", range(48))
def test_never_below_a_slope(seed: int) -> None:
    """No tolerance on the unsound side: the references take off their own rounding."""
    graph = random_images(seed)
    found = torus_lipsdp(fold(graph), BoundContext(), lipsdp_neuron_bound)
    assert found is not None
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(found.value, slope, "l2")
        if found.pairs is not None:
            for i, j, row in differences(slope.matrix):
                assert is_above_dual(float(found.pairs[i, j]), row, slope.error, "l2")


@pytest.mark.parametrize("seed", range(8))
def test_the_method_takes_the_torus_where_one_block_is_too_large(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boxed(form: SignalForm, context: BoundContext) -> list[Stretch]:
        return [Stretch(1, len(form.stages) + 1, boxed=True)]

    graph = random_images(seed)
    form = fold(graph)
    monkeypatch.setattr(lipsdp_module, "plan", boxed)
    found = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    constants = METHODS["lipsdp"](form, BoundContext())
    averaged = averaged_bound(form, BoundContext()).value
    assert found is not None
    assert constants.value == pytest.approx(min(found.value, averaged), rel=1e-6)
    assert ("tori" in constants.details) is (found.value < averaged)
    table = constants.pairwise()
    assert (table <= math.sqrt(2.0) * constants.value * (1.0 + 1e-9)).all()
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(constants.value, slope, "l2")
        for i, j, row in list(differences(slope.matrix))[:20]:
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")


@pytest.mark.parametrize("seed", range(4))
def test_channels_that_share_couplings_cost_a_little_and_stay_a_bound(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Images(seed)
    value = images.activated(images.convolution("x", out=4))
    shape = images.d.shapes[images.activated(images.convolution(value, out=4))]
    value = f"v{len(images.d.nodes) - 1}"
    read = Reshape(shape, (1, math.prod(shape)))
    first = Dense(torch.from_numpy(images.rng.standard_normal((3, math.prod(shape)))), (1,))
    value = images.activated(images.d.add(Affine(compose(first, read)), value))
    last = Dense(torch.from_numpy(images.rng.standard_normal((2, 3))), (1,))
    graph = images.d.graph(images.d.add(Affine(last), value))
    every = torus_lipsdp(fold(graph), BoundContext(), lipsdp_neuron_bound)
    monkeypatch.setattr(split, "MOST_ENTRY", (6,))
    shared = torus_lipsdp(fold(graph), BoundContext(), lipsdp_neuron_bound)
    assert every is not None
    assert shared is not None
    assert every.value * (1.0 - 1e-6) <= shared.value <= 2.0 * every.value
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(shared.value, slope, "l2")
