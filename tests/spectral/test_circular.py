"""Circular padding: recognised only where it is that, and bounded on the image's own torus."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from generators.operators import definition

from lipcert.operators import Composed, Convolution, Indexing
from lipcert.spectral import NORMS, NormSettings
from lipcert.spectral.circular import circular_period


def wrapped(shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]) -> Indexing:
    """The index map of circular padding."""
    positions = np.arange(np.prod(shape)).reshape(shape)
    for axis, (b, a) in enumerate(zip(before, after, strict=True), start=2):
        line = np.arange(-b, shape[axis] + a) % shape[axis]
        positions = np.take(positions, line, axis=axis)
    return Indexing(torch.from_numpy(np.ascontiguousarray(positions)), shape)


def behind(
    extension: Indexing, weight: np.ndarray, stride: tuple[int, ...], **pads: object
) -> Convolution:
    dims = len(stride)
    zero = (0,) * dims
    return Convolution(
        torch.from_numpy(weight),
        extension.out_shape[2:],
        stride=stride,
        dilation=(1,) * dims,
        pads_begin=pads.get("begin", zero),
        pads_end=pads.get("end", zero),
    )


CASES = list(itertools.product((2, 3, 5, 6), (1, 2, 3), (1, 2, 3), (0, 1, 2, 4), (0, 1, 3, 7)))


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_one_dimension_against_the_matrix(kernel: int) -> None:
    """Any period, stride, lead and length: outputs that repeat on the torus are counted."""
    recognised = 0
    for seed, (n, k, stride, before, after) in enumerate(CASES):
        if k != kernel or n + before + after < k:
            continue
        weight = np.random.default_rng(seed).standard_normal((2, 2, k))
        extension = wrapped((1, 2, n), (before,), (after,))
        operator = behind(extension, weight, (stride,))
        chain = Composed((operator, extension))
        truth = float(np.linalg.norm(definition(chain), 2)) * (1.0 - 1e-13)
        for work in (0.0, 2e11):
            assert NORMS["l2"](chain, NormSettings(max_work=work)).value >= truth
        period = circular_period(operator, extension)
        recognised += period is not None
        assert (period is not None) == (n % stride == 0)
    assert recognised > 20


def test_two_dimensions_exact_where_the_image_is_covered_once() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 2, 3, 3))
    extension = wrapped((1, 2, 5, 4), (1, 1), (1, 1))
    chain = Composed((behind(extension, weight, (1, 1)), extension))
    truth = float(np.linalg.norm(definition(chain), 2))
    found = NORMS["l2"](chain, NormSettings(max_work=0.0)).value
    assert truth * (1.0 - 1e-13) <= found <= truth * (1.0 + 1e-9)


def test_only_circular_padding_is_taken_for_it() -> None:
    weight = np.random.default_rng(1).standard_normal((1, 1, 3))
    extension = wrapped((1, 1, 5), (1,), (1,))
    assert circular_period(behind(extension, weight, (1,)), extension) is not None
    for index in (
        [1, 0, 1, 2, 3, 4, 3],  # reflect
        [0, 0, 1, 2, 3, 4, 4],  # edge
        [-1, 0, 1, 2, 3, 4, -1],  # zeros
        [4, 0, 1, 2, 4, 3, 0],  # two elements exchanged
        [0, 4, 3, 2, 1, 0, 4],  # backwards
        [4, 0, 1, 2, 3, 4, 1],  # a jump at the end
    ):
        other = Indexing(torch.tensor(index).reshape(1, 1, 7), (1, 1, 5))
        operator = behind(other, weight, (1,))
        assert circular_period(operator, other) is None
        chain = Composed((operator, other))
        truth = float(np.linalg.norm(definition(chain), 2)) * (1.0 - 1e-13)
        for work in (0.0, 2e11):
            assert NORMS["l2"](chain, NormSettings(max_work=work)).value >= truth


def test_channels_that_change_places_are_not_circular() -> None:
    index = wrapped((1, 2, 4), (1,), (1,)).index.flip(1)
    extension = Indexing(index, (1, 2, 4))
    weight = np.random.default_rng(2).standard_normal((2, 2, 3))
    assert circular_period(behind(extension, weight, (1,)), extension) is None


def test_zeros_added_by_the_convolution_break_the_circle() -> None:
    extension = wrapped((1, 1, 4), (1,), (1,))
    operator = behind(extension, np.ones((1, 1, 3)), (1,), begin=(1,), end=(0,))
    assert circular_period(operator, extension) is None
