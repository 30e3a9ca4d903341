"""Norms of convolutions against the singular values of the explicit matrix."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from generators.operators import definition

from lipcert.operators import Adjoint, Convolution, Shape
from lipcert.spectral import NORMS, NormSettings, explicit_bound, torus_bound
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.spectral.torus import torus_size

SPECTRAL = [name for name in EIGENVALUE_BOUNDS if name != "auto"]


def built(
    seed: int,
    spatial: Shape,
    kernel: Shape,
    *,
    stride: Shape,
    begin: Shape,
    end: Shape,
    dilation: Shape,
    groups: int = 1,
    channels: tuple[int, int] = (2, 2),
) -> Convolution | None:
    """A convolution of random weights, None where its window does not fit."""
    sizes = zip(spatial, kernel, begin, end, dilation, strict=True)
    if any(n + b + e < (k - 1) * d + 1 for n, k, b, e, d in sizes):
        return None
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((channels[0] * groups, channels[1], *kernel))
    return Convolution(
        torch.from_numpy(weight),
        spatial,
        stride=stride,
        dilation=dilation,
        pads_begin=begin,
        pads_end=end,
        groups=groups,
    )


def largest_singular_value(operator: Convolution) -> tuple[float, float]:
    """Of the explicit matrix, written down by the definition, and the SVD's own error."""
    matrix = definition(operator)
    value = float(np.linalg.svd(matrix, compute_uv=False)[0])
    return value, value * max(matrix.shape) * 2.0**-52


def assert_sound(operator: Convolution) -> tuple[float, float]:
    """Torus and explicit norms by every spectral method; returns torus and true norm."""
    truth, error = largest_singular_value(operator)
    explicit = [explicit_bound(operator, NormSettings(spectral=name)).value for name in SPECTRAL]
    torus = [torus_bound(operator, NormSettings(spectral=name)).value for name in SPECTRAL]
    adjoint = NORMS["l2"](Adjoint(operator), NormSettings()).value
    chosen = NORMS["l2"](operator, NormSettings()).value
    for found in (*explicit, *torus, adjoint, chosen):
        assert found >= truth - error
    if operator.groups == 1:
        assert max(explicit) <= truth * (1.0 + 1e-9) + 1e-70
    assert chosen <= truth * (1.0 + 1e-9) + 1e-70
    assert max(explicit) <= min(explicit) * (1.0 + 1e-9) + 1e-70
    assert max(torus) <= min(torus) * (1.0 + 1e-9) + 1e-70
    return torus[0], truth


@pytest.mark.parametrize("kernel", range(1, 6))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_two_dimensions(kernel: int, stride: int) -> None:
    """Every pad, dilation and group, on odd and non-square images."""
    count = 0
    grid = itertools.product((0, 1, 2), (0, 1, 2), (1, 2), (1, 2))
    for seed, (before, after, dilation, groups) in enumerate(grid):
        spatial = ((5, 6), (7, 4), (4, 5))[seed % 3]
        operator = built(
            seed,
            spatial,
            (kernel, kernel),
            stride=(stride, stride),
            begin=(before, before),
            end=(after, after),
            dilation=(dilation, dilation),
            groups=groups,
            channels=((1, 2), (2, 1))[seed % 2],
        )
        if operator is not None:
            assert_sound(operator)
            count += 1
    assert count > 5


@pytest.mark.parametrize("seed", range(40))
def test_two_dimensions_with_axes_that_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [
        tuple(int(v) for v in rng.integers(low, high, 2))
        for low, high in ((2, 9), (1, 6), (1, 4), (0, 3), (0, 3), (1, 3))
    ]
    spatial, kernel, stride, begin, end, dilation = pairs
    operator = built(
        seed,
        spatial,
        kernel,
        stride=stride,
        begin=begin,
        end=end,
        dilation=dilation,
        groups=int(rng.integers(1, 3)),
        channels=(int(rng.integers(1, 4)), int(rng.integers(1, 3))),
    )
    if operator is not None:
        assert_sound(operator)


@pytest.mark.parametrize("kernel", range(1, 6))
def test_one_dimension(kernel: int) -> None:
    grid = itertools.product((1, 2, 3), (0, 1, 2), (0, 2), (1, 2), (1, 2), (1, 7))
    for seed, (stride, before, after, dilation, groups, n) in enumerate(grid):
        operator = built(
            seed,
            (n,),
            (kernel,),
            stride=(stride,),
            begin=(before,),
            end=(after,),
            dilation=(dilation,),
            groups=groups,
        )
        if operator is not None:
            assert_sound(operator)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_three_dimensions(stride: int) -> None:
    for seed, (kernel, pad, dilation) in enumerate(itertools.product((1, 2, 3), (0, 1), (1, 2))):
        operator = built(
            seed,
            (4, 3, 2),
            (kernel, kernel, min(kernel, 2)),
            stride=(stride, stride, 1),
            begin=(pad, pad, pad),
            end=(pad, 0, pad),
            dilation=(dilation, dilation, 1),
            channels=(2, 1),
        )
        if operator is not None:
            assert_sound(operator)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (4, 2), (3, 2)])
def test_torus_tends_to_the_explicit_norm(kernel: int, stride: int) -> None:
    """The excess falls with the size of the image, about as its square."""
    excess = []
    for n in (4, 8, 16, 24):
        operator = built(
            1,
            (n, n),
            (kernel, kernel),
            stride=(stride, stride),
            begin=(kernel // 2,) * 2,
            end=(kernel // 2,) * 2,
            dilation=(1, 1),
            channels=(1, 1),
        )
        assert operator is not None
        settings = NormSettings()
        torus = torus_bound(operator, settings).value
        excess.append(torus / explicit_bound(operator, settings).value - 1.0)
    assert excess[3] < excess[2] < excess[0]
    assert 0.0 <= excess[3] < 0.05


def test_torus_is_as_small_as_the_argument_allows() -> None:
    """No tap that wraps around meets the window, and one position fewer would not do."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n, k, s, d, p, e = (int(v) for v in rng.integers((1, 1, 1, 1, 0, 0), (9, 6, 4, 3, 4, 4)))
        operator = built(
            0, (n,), (k,), stride=(s,), begin=(p,), end=(e,), dilation=(d,), channels=(1, 1)
        )
        if operator is None:
            continue
        (side,) = torus_size(operator)
        assert side % s == 0
        outputs = operator.out_spatial[0]
        assert len({s * m % side for m in range(outputs)}) == outputs
        for m, t in itertools.product(range(outputs), range(k)):
            read = s * m + d * t - p
            assert 0 <= read < n or not 0 <= read % side < n


def test_torus_is_exact_for_a_circular_convolution_that_fills_it() -> None:
    """Kernel 1: the torus is the image, and the norm that of the matrix of channels."""
    operator = built(
        3, (5, 4), (1, 1), stride=(1, 1), begin=(0, 0), end=(0, 0), dilation=(1, 1), channels=(3, 4)
    )
    assert operator is not None
    truth = float(np.linalg.norm(operator.weight[:, :, 0, 0].numpy(), 2))
    assert truth <= torus_bound(operator, NormSettings()).value <= truth * (1.0 + 1e-9)


def test_multiplying_groups_would_be_wrong() -> None:
    """Two groups of norm 1/2 have norm 1/2, not 1/4."""
    operator = Convolution(
        torch.full((2, 1, 1), 0.5, dtype=torch.float64),
        (3,),
        stride=(1,),
        dilation=(1,),
        pads_begin=(0,),
        pads_end=(0,),
        groups=2,
    )
    for norm in NORMS:
        assert 0.5 <= NORMS[norm](operator, NormSettings()).value <= 0.5 * (1.0 + 1e-9), norm
    assert torus_bound(operator, NormSettings()).value >= 0.5


@pytest.mark.parametrize("max_side", [0, 4096])
def test_auto_takes_the_explicit_operator_where_its_side_allows(max_side: int) -> None:
    operator = built(5, (6, 6), (3, 3), stride=(1, 1), begin=(1, 1), end=(1, 1), dilation=(1, 1))
    assert operator is not None
    found = NORMS["l2"](operator, NormSettings(max_side=max_side))
    assert found.how == ("explicit" if max_side else "torus")
    assert found.value >= largest_singular_value(operator)[0] * (1.0 - 1e-13)


def test_window_that_reads_only_padding_has_norm_zero() -> None:
    operator = Convolution(
        torch.ones(1, 1, 2, dtype=torch.float64),
        (1,),
        stride=(3,),
        dilation=(3,),
        pads_begin=(2,),
        pads_end=(2,),
    )
    assert not definition(operator).any()
    for norm in NORMS:
        assert 0.0 <= NORMS[norm](operator, NormSettings()).value < 1e-70


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_absolute_sums_count_the_taps_that_fall_inside(norm: str) -> None:
    """Exact for dyadic weights up to one outward rounding."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        weight = rng.integers(-8, 9, (2, 2, 3, 2)) / 4.0
        operator = Convolution(
            torch.from_numpy(weight),
            (4, 3),
            stride=(1 + seed % 2, 1),
            dilation=(1, 1 + seed % 2),
            pads_begin=(seed % 3, 1),
            pads_end=(1, seed % 2),
        )
        truth = float(np.linalg.norm(definition(operator), 1 if norm == "l1" else np.inf))
        assert truth <= NORMS[norm](operator, NormSettings()).value <= truth * (1.0 + 1e-13)


def test_deadline_falls_back_to_the_torus() -> None:
    operator = built(5, (6, 6), (3, 3), stride=(1, 1), begin=(1, 1), end=(1, 1), dilation=(1, 1))
    assert operator is not None
    found = NORMS["l2"](operator, NormSettings(deadline=-math.inf))
    assert found.how == "torus"
    assert found.value >= largest_singular_value(operator)[0]
