"""Maps behind one another, maxima and means on the torus, held against explicit matrices."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.images import Images, on_line, random_dag
from generators.soundness import is_above, sampled_slopes

from lipcert.bounds import BoundContext
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.relaxation import Part, relax
from lipcert.bounds.torus import fusing, method, split, torus_lipsdp
from lipcert.bounds.torus.chain import Chain
from lipcert.bounds.torus.fusing import fused, unfused
from lipcert.bounds.torus.images import Images as TorusImages
from lipcert.bounds.torus.images import images_of
from lipcert.bounds.torus.maps import ImageMap
from lipcert.bounds.torus.part import torus_part
from lipcert.bounds.torus.split import Segment, segments_of
from lipcert.bounds.torus.windows import Windowed
from lipcert.conic.hkm import solve
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Convolution, Dense, Reshape, compose
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NormSettings
from lipcert.spectral.torus import torus_size


def on_torus(graph: Graph) -> float:
    found = torus_lipsdp(fold(graph), BoundContext(), averaged_bound)
    assert found is not None
    return found.value


def dense(form: SignalForm) -> float:
    """The optimum of the explicit matrix inequality of a form, in one block."""
    problem = relax([Part(form)], BoundContext())
    scaled = problem.scaled(problem.start)
    found = solve(scaled, tolerance=1e-9)
    return math.sqrt(float(found.y[0]) * float(scaled.unit[0]))


def woven(graph: Graph) -> TorusImages:
    found = images_of(fused(fold(graph)))
    assert found is not None
    return found


def masks(graph: Graph) -> int:
    return sum(stage.node.onnx_type == "Mask" for stage in woven(graph).form.stages)


def drawn(seed: int, draw: Callable[[Images], str], *, circular: bool = False) -> Graph:
    images = Images(seed, circular=circular)
    return images.d.graph(draw(images))


# --- two maps with nothing between them ---------------------------------------------------------


def pointwise_behind(images: Images) -> str:
    value = images.convolution(images.convolution("x", out=2), kernel=1, out=2)
    return images.convolution(images.activated(value), out=2)


def mean_behind(images: Images) -> str:
    value = images.pooled(images.convolution("x", out=2))
    return images.convolution(images.d.relu(value), out=2)


def padded_behind(images: Images) -> str:
    value = images.convolution(images.convolution("x", out=2), out=2)
    return images.convolution(images.d.relu(value), out=2)


def concatenation(images: Images) -> str:
    value = images.concatenated(images.d.relu(images.convolution("x", out=1)))
    return images.convolution(images.d.relu(images.convolution(value, out=2)), out=1)


@pytest.mark.parametrize("draw", [pointwise_behind, mean_behind, padded_behind])
@pytest.mark.parametrize("seed", [1, 6])
def test_equal_to_the_dense_inequality_on_circular_images(
    draw: Callable[[Images], str], seed: int
) -> None:
    """What nothing cuts off is multiplied out, and nothing is lost."""
    graph = drawn(seed, draw, circular=True)
    assert masks(graph) == 0
    assert on_torus(graph) == pytest.approx(dense(fold(graph)), rel=1e-6)


@pytest.mark.parametrize("draw", [pointwise_behind, mean_behind, padded_behind, concatenation])
def test_above_the_dense_inequality_of_padded_images(draw: Callable[[Images], str]) -> None:
    graph = drawn(2, draw)
    assert masks(graph) == (1 if draw is padded_behind else 0)
    value, explicit = on_torus(graph), dense(fold(graph))
    assert explicit * (1.0 - 1e-9) <= value <= 2.5 * explicit  # images of 5×5


def sums_then_differences() -> Graph:
    """Sums over 13 of a line of eight, then differences of neighbours; 1 behind ReLU.

    On a torus the product of the first two is ``1 − shift^13``, of norm 2; on the line the last
    difference is taken from what lies outside, and the norm is 2.676.
    """
    d = Drawing(1, 1, 8)
    summed = d.add(Affine(on_line(8, [1.0] * 13, 6, 6)), "x")
    apart = d.relu(d.add(Affine(on_line(8, [1.0, -1.0], 0, 1)), summed))
    return d.graph(d.add(Affine(on_line(8, [1.0], 0, 0)), apart))


def test_multiplying_out_where_an_image_is_cut_off_would_give_less_than_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = sums_then_differences()
    steepest = max(
        float(np.linalg.norm(slope.matrix, 2))
        for slope in sampled_slopes(graph, np.random.default_rng(0))
    )
    assert masks(graph) == 1
    assert on_torus(graph) >= steepest > 2.5
    monkeypatch.setattr(ImageMap, "stays_inside", property(lambda self: True))
    assert on_torus(graph) < 2.1


LINES = [
    (n, k, s, d, before, after)
    for n, k, s, d, before, after in itertools.product(
        (4, 5, 6), (1, 2, 3), (1, 2, 3), (1, 2), (0, 1), (0, 1)
    )
    if (k - 1) * d + 1 <= n + before + after
]


@pytest.mark.parametrize("adjoint", [False, True])
def test_what_looks_outside_a_window_and_what_fills_its_surroundings(adjoint: bool) -> None:
    """Both properties against the circular matrix itself; they hold for some maps, not for all."""
    inside, zeros = set(), set()
    for n, k, s, d, before, after in LINES:
        weight = torch.arange(1.0, k + 1.0, dtype=torch.float64).reshape(1, 1, k)
        operator = Convolution(
            weight, (n,), stride=(s,), dilation=(d,), pads_begin=(before,), pads_end=(after,)
        )
        (side,), (out,) = torus_size(operator), operator.out_spatial
        matrix = np.zeros((side // s, side))
        for m, t in itertools.product(range(side // s), range(k)):
            matrix[m, (s * m + d * t - before) % side] += t + 1.0
        single = ImageMap(operator, adjoint=adjoint)
        matrix, rows, columns = (matrix.T, n, out) if adjoint else (matrix, out, n)
        if single.stays_inside:
            assert not matrix[:rows, columns:].any()
        if single.keeps_zeros:
            assert not matrix[rows:, :columns].any()
        inside.add(single.stays_inside)
        zeros.add(single.keeps_zeros)
    assert inside == zeros == {False, True}


# --- maxima and means over windows --------------------------------------------------------------


def maximum(images: Images, kernel: int = 2, pad: int = 0) -> str:
    value = images.d.relu(images.convolution("x", out=2))
    value = images.largest(value, kernel, 2, pad)
    return images.convolution(images.d.relu(images.convolution(value, out=2)), out=2)


@pytest.mark.parametrize("seed", [3, 4])
def test_maxima_are_equal_to_the_dense_inequality_on_circular_images(seed: int) -> None:
    """One multiplier for each window, as for the explicit groups of the dense inequality."""
    graph = drawn(seed, maximum, circular=True)
    value = on_torus(graph)
    assert value == pytest.approx(dense(fold(graph)), rel=1e-5)
    assert value < averaged_bound(fold(graph), BoundContext()).value


@pytest.mark.parametrize(("kernel", "pad"), [(2, 0), (3, 1), (3, 0)])
def test_maxima_join_in_one_inequality_with_what_surrounds_them(kernel: int, pad: int) -> None:
    graph = drawn(5, lambda images: maximum(images, kernel, pad))
    form = fused(fold(graph))
    assert [isinstance(stage.nonlinearity, Windowed) for stage in form.stages] == [True, False]
    value = on_torus(graph)
    for slope in sampled_slopes(graph, np.random.default_rng(0)):
        assert is_above(value, slope, "l2")


def mean_and_head(images: Images) -> str:
    value = images.pooled(images.activated(images.convolution("x", out=3)))
    shape = images.d.shapes[value]
    read = compose(
        Dense(torch.from_numpy(images.rng.standard_normal((3, math.prod(shape)))), (1,)),
        Reshape(shape, (1, math.prod(shape))),
    )
    return images.d.add(Affine(read), value)


@pytest.mark.parametrize("circular", [False, True])
def test_a_mean_takes_in_its_activation(circular: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows share a multiplier, and the head is coupled behind the mean."""
    graph = drawn(7, mean_and_head, circular=circular)
    monkeypatch.setattr(fusing, "MOST_COORDINATES", 1)
    form = fused(fold(graph))
    assert isinstance(form.stages[0].nonlinearity, Windowed)
    assert form.stages[0].shape[2] == fold(graph).stages[0].shape[2] // 2
    value = on_torus(graph)
    for slope in sampled_slopes(graph, np.random.default_rng(0)):
        assert is_above(value, slope, "l2")
    explicit = dense(fold(graph))
    assert explicit * (1.0 - 1e-9) <= value <= 2.0 * explicit


@pytest.mark.parametrize("seed", range(12))
def test_fused_and_unfused_forms_are_the_same_map(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusing, "MOST_COORDINATES", 1)
    form = fold(random_dag(seed))
    short = fused(form)
    back = unfused(short)
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((3, *form.input_shape)))
    assert [s.node.name for s in back.stages] == [s.node.name for s in form.stages]
    assert torch.allclose(short.evaluate(x), form.evaluate(x), rtol=1e-12, atol=1e-12)
    assert torch.allclose(back.evaluate(x), form.evaluate(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["Relu", "Gelu", "Tanh"])
@pytest.mark.parametrize("kind", ["maximum", "mean"])
def test_the_inequality_of_windows_holds_for_differences(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``(dz − c Σ w dv)² ≤ ν Σ dv²`` at random points, and not far from it at some."""
    monkeypatch.setattr(fusing, "MOST_COORDINATES", 1)
    images = Images(11)
    value = images.d.add(ACTIVATIONS[name](), images.convolution("x", out=2))
    value = images.pooled(value) if kind == "mean" else images.largest(value)
    stage = fused(fold(images.d.graph(images.convolution(value, out=1)))).stages[0]
    own = stage.nonlinearity
    assert isinstance(own, Windowed)
    rng = np.random.default_rng(1)
    tightest = 0.0
    for size, masked in itertools.product((1e-3, 0.1, 3.0), (False, True)):
        centre, below = own.centre_and_below(masked=masked)
        v = torch.from_numpy(2.0 * rng.standard_normal((200, *stage.input_shapes[0])))
        dv = torch.from_numpy(size * rng.standard_normal(v.shape))
        dv *= torch.from_numpy(rng.random(v.shape) < 0.3)  # few elements of a window move
        dz = own.evaluate(v + dv) - own.evaluate(v)
        linear = own.window.apply(dv)
        squares = own.window.with_weight(
            torch.ones_like(own.window.weight), own.window.error
        ).apply(dv.square())
        left = (dz - centre.reshape(-1, 1, 1) * linear).square()
        right = below.reshape(-1, 1, 1) * squares
        assert bool((left <= right * (1.0 + 1e-9) + 1e-18).all())
        tightest = max(tightest, float((left / right.clamp(min=1e-12)).max()))
    assert tightest > (0.9 if kind == "maximum" else 0.6)


@pytest.mark.parametrize("seed", range(40, 60))
def test_parts_of_random_graphs_are_never_below_a_slope(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With means taken in wherever that is possible."""
    monkeypatch.setattr(fusing, "MOST_COORDINATES", 1)
    graph = random_dag(seed)
    found = torus_lipsdp(fold(graph), BoundContext(), averaged_bound)
    if found is None:
        assert torus_part(fused(fold(graph))) is None
        return
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(found.value, slope, "l2")


# --- time ------------------------------------------------------------------------------------------


def deep(channels: int) -> SignalForm:
    """Four convolutions on 8×8 with activations between them."""
    images = Images(1)
    images.d.shapes["x"] = (1, 2, 8, 8)
    value = "x"
    for out in (channels, 2 * channels, 2 * channels):
        value = images.d.relu(images.convolution(value, 2 if value == "x" else 1, out=out))
    return fold(images.d.graph(images.convolution(value, out=1)))


def test_plans_keep_to_the_time_and_join_what_it_allows() -> None:
    """More time, never more segments; no plan takes more than its share of the time."""
    form, counts = deep(16), []
    for seconds in (0.6, 2.0, 8.0, 1e5):
        settings = NormSettings(deadline=time.monotonic() + seconds)
        segments = segments_of(form, BoundContext(settings=settings))
        assert segments[0].start == 0 and segments[-1].stop is None
        assert all(a.stop == b.start for a, b in itertools.pairwise(segments))
        work = sum(segment.work for segment in segments)
        assert work <= split.SHARE * split.RATE * max(seconds, 0.5)
        counts.append(sum(len(s.chain.parts) if s.chain else 2 for s in segments))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1 < counts[0]


def test_what_one_segment_leaves_over_goes_to_those_behind_it() -> None:
    chain = Chain([])
    segments = [Segment(0, 1, chain, 3.0), Segment(1, 2, None), Segment(2, None, chain, 1.0)]
    context = BoundContext(settings=NormSettings(deadline=time.monotonic() + 100.0))
    shares = [method._end_of_share(context, segments[k:]) - time.monotonic() for k in (0, 2)]
    assert shares == pytest.approx([75.0, 100.0], abs=0.5)
    outside = [Segment(0, 1, chain, 2.0), Segment(1, None, None)]
    share = method._end_of_share(context, outside) - time.monotonic()
    assert share == pytest.approx(100.0 * 2.0 / 3.0, abs=0.5)
    assert method._end_of_share(BoundContext(), segments) == math.inf
