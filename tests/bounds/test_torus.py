"""LipSDP on the torus: equal to the dense inequality of a circular net, above it on a padded one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.images import on_line
from generators.soundness import sampled_slopes

from lipcert.bounds import BoundContext
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.relaxation import Part, relax
from lipcert.bounds.torus import part as part_module
from lipcert.bounds.torus import torus_lipsdp
from lipcert.bounds.torus.heads import TorusBound
from lipcert.bounds.torus.part import channel_slopes, torus_part
from lipcert.conic.hkm import solve
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Convolution, Indexing, LinearOperator, compose
from lipcert.signals import SignalForm, fold

RELU = (0.0, 1.0)


def convolution(
    rng: np.random.Generator, source: Sequence[int], out: int, kernel: int, stride: int, pad: int
) -> Convolution:
    """A random convolution of an image ``(1, C, n, n)``."""
    _, channels, *spatial = source
    weight = rng.standard_normal((out, channels, kernel, kernel)) / math.sqrt(channels * kernel)
    return Convolution(
        torch.from_numpy(weight),
        tuple(spatial),
        stride=(stride, stride),
        dilation=(1, 1),
        pads_begin=(pad, pad),
        pads_end=(pad, pad),
    )


def circular(
    rng: np.random.Generator, source: Sequence[int], out: int, kernel: int, stride: int, pad: int
) -> LinearOperator:
    """The same behind circular padding."""
    _, channels, n, _ = source
    around = (torch.arange(n + kernel - stride) - pad) % n
    index = torch.arange(channels * n * n).reshape(1, channels, n, n)[..., around, :][..., around]
    inner = Indexing(index.contiguous(), tuple(source))
    return compose(convolution(rng, inner.out_shape, out, kernel, stride, 0), inner)


def chain(
    seed: int, strides: Sequence[int], *, side: int, wraps: bool, slope: float = 0.0, ends: int = 2
) -> Graph:
    """Convolutions with activations between them; two channels each."""
    rng = np.random.default_rng(seed)
    make = circular if wraps else convolution
    d = Drawing(1, 2, side, side)
    value = "x"
    for place, stride in enumerate(strides):
        if place:
            value = d.add(ACTIVATIONS["LeakyRelu"](slope), value)
        kernel = 3 if stride == 1 else 4
        out = ends if place + 1 == len(strides) else 2
        value = d.add(Affine(make(rng, d.shapes[value], out, kernel, stride, 1)), value)
    return d.graph(value)


def dense(form: SignalForm) -> float:
    """The optimum of the explicit matrix inequality of a form, in one block."""
    problem = relax([Part(form)], BoundContext())
    scaled = problem.scaled(problem.start)
    found = solve(scaled, tolerance=1e-9)
    return math.sqrt(float(found.y[0]) * float(scaled.unit[0]))


def on_torus(form: SignalForm, **options: object) -> TorusBound:
    found = torus_lipsdp(form, BoundContext(**options), averaged_bound)  # type: ignore[arg-type]
    assert found is not None
    return found


# --- what the torus is worth -------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize(
    ("strides", "side"), [((1, 1), 5), ((1, 1, 1), 4), ((2, 1), 8), ((1, 2, 1), 6), ((2, 2), 8)]
)
def test_equal_to_the_dense_inequality_on_circular_images(
    strides: tuple[int, ...], side: int, slope: float
) -> None:
    """One multiplier for each channel and phase loses nothing; nor are slopes widened there."""
    form = fold(chain(3, strides, side=side, wraps=True, slope=slope))
    assert on_torus(form).value == pytest.approx(dense(form), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_above_the_dense_inequality_of_the_padded_net(seed: int) -> None:
    strides, side = [((1, 1, 1), 5), ((2, 1), 8), ((1, 2), 6), ((2, 2), 8)][seed]
    form = fold(chain(seed, strides, side=side, wraps=False))
    value, explicit = on_torus(form).value, dense(form)
    assert explicit * (1.0 - 1e-9) <= value <= 1.6 * explicit


def test_residual_blocks_are_equal_to_the_dense_inequality() -> None:
    rng = np.random.default_rng(5)
    d = Drawing(1, 2, 6, 6)
    v = d.add(Affine(circular(rng, d.shapes["x"], 2, 3, 1, 1)), "x")
    z = d.relu(v)
    w = d.relu(d.add(Affine(circular(rng, d.shapes[z], 2, 4, 2, 1)), z))
    inner = d.add(Affine(circular(rng, d.shapes[w], 2, 3, 1, 1)), w)
    skip = d.add(Affine(circular(rng, d.shapes[z], 2, 2, 2, 0)), z)
    form = fold(d.graph(d.total(inner, skip)))
    assert on_torus(form).value == pytest.approx(dense(form), rel=1e-6)


# --- where the padded net is cut off ------------------------------------------------------------


def test_slopes_hold_zero_wherever_an_image_is_smaller_than_its_torus() -> None:
    """Outside the window dz = 0 whatever dv is: [0.3, 1] would be wrong there."""
    for wraps, lowest in ((False, 0.0), (True, 0.3)):
        part = torus_part(fold(chain(0, (1, 1), side=5, wraps=wraps, slope=0.3)))
        assert part is not None
        assert part.geometry.fills(1) is wraps
        slopes = channel_slopes(part.form.stages[0])
        assert slopes is not None
        centre, square = slopes
        assert (centre - square.sqrt()).tolist() == pytest.approx([lowest, lowest])


def edge() -> Graph:
    """Sums over 13 of a line of eight, then differences of neighbours, almost nothing in between.

    On a torus the two are ``1 − shift^13``, of norm 2; on the line the last difference is taken
    from what lies outside, and the norm is 2.676.
    """
    d = Drawing(1, 1, 8)
    summed = d.add(Affine(on_line(8, [1.0] * 13, 6, 6)), "x")
    between = d.add(ACTIVATIONS["LeakyRelu"](0.999), summed)
    return d.graph(d.add(Affine(on_line(8, [1.0, -1.0], 0, 1)), between))


def test_slopes_as_they_are_would_give_less_than_the_truth_where_a_net_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = edge()
    form = fold(graph)
    slopes = sampled_slopes(graph, np.random.default_rng(0))
    lower = max(float(np.linalg.norm(slope.matrix, 2)) for slope in slopes)
    assert lower > 2.6
    assert on_torus(form).value >= dense(form) * (1.0 - 1e-9) >= lower * (1.0 - 1e-6)
    monkeypatch.setattr(part_module, "widened", lambda stage: stage)
    assert on_torus(form).value < 2.1
