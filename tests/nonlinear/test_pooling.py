"""Maxima and sorting: windows counted by hand, and constants that sampled changes do not exceed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from lipcert.nonlinear import Extremes, GroupMax, GroupSort, Larger, MaxMin, MaxPool, Nonlinearity


def pool(kernel: int, stride: int = 1, dilation: int = 1, begin: int = 0, end: int = 0) -> MaxPool:
    return MaxPool(
        (kernel,), stride=(stride,), dilation=(dilation,), pads_begin=(begin,), pads_end=(end,)
    )


@pytest.mark.parametrize(
    ("window", "n", "windows"),
    [
        (pool(2, 2), 6, 1),  # side by side
        (pool(3, 3), 9, 1),
        (pool(3, 2), 7, 2),  # each end shared by two
        (pool(3, 1), 7, 3),
        (pool(3, 1), 3, 1),  # one window only
        (pool(3, 1), 4, 2),  # two windows only
        (pool(5, 2), 11, 3),
        (pool(2, 1, dilation=3), 9, 2),
        (pool(3, 2, dilation=2), 9, 3),
        (pool(3, 3, dilation=2), 9, 1),  # taps 0, 2, 4 and 3, 5, 7 never meet
        (pool(3, 1, begin=1, end=1), 1, 1),
        (pool(3, 1, begin=1, end=1), 2, 2),
        (pool(3, 1, begin=1, end=1), 5, 3),
        (pool(2, 3), 8, 1),  # gaps between windows
    ],
)
def test_most_windows_that_hold_one_element(window: MaxPool, n: int, windows: int) -> None:
    assert window.most_windows((n,)) == windows
    found = window.lipschitz((1, 2, n))
    assert found.l1 == windows and found.linf == 1.0
    assert math.sqrt(windows) <= found.l2 <= math.nextafter(math.sqrt(windows), math.inf)


def test_windows_of_two_axes_multiply() -> None:
    window = MaxPool((3, 2), stride=(2, 2), dilation=(1, 1), pads_begin=(0, 0), pads_end=(0, 0))
    assert window.most_windows((7, 6)) == 2
    overlapping = MaxPool(
        (3, 3), stride=(1, 2), dilation=(1, 1), pads_begin=(1, 1), pads_end=(1, 1)
    )
    assert overlapping.most_windows((5, 5)) == 3 * 2


def by_counting(window: MaxPool, n: int) -> int:
    counts = [0] * n
    k, s, d, before = window.kernel[0], window.stride[0], window.dilation[0], window.pads_begin[0]
    room = n + before + window.pads_end[0] - (k - 1) * d - 1
    for m in range(room // s + 1):
        for t in range(k):
            place = m * s + t * d - before
            if 0 <= place < n:
                counts[place] += 1
    return max(counts)


def test_windows_against_counting() -> None:
    grid = itertools.product(range(1, 9), range(1, 5), range(1, 4), range(1, 3), range(3), range(3))
    for n, k, s, d, before, after in grid:
        if n + before + after >= (k - 1) * d + 1 and max(before, after) < k:
            window = pool(k, s, d, before, after)
            assert window.most_windows((n,)) == by_counting(window, n)


def test_padding_never_wins() -> None:
    x = torch.tensor([[[-5.0, -7.0]]], dtype=torch.float64)[None]
    assert pool(3, 1, begin=1, end=1).evaluate(x[0][None]).max() == -5.0


# --- constants by sampling ------------------------------------------------------------------------


KINDS: list[tuple[Nonlinearity, list[tuple[int, ...]]]] = [
    (pool(3, 1, begin=1, end=1), [(1, 2, 5)]),
    (pool(3, 2), [(1, 1, 7)]),
    (
        MaxPool((2, 2), stride=(1, 1), dilation=(1, 1), pads_begin=(0, 0), pads_end=(0, 0)),
        [(1, 1, 3, 3)],
    ),
    (GroupMax((1,)), [(1, 4, 2)]),
    (GroupMax((1, 2), sign=-1.0), [(1, 3, 2)]),
    (GroupSort(1, 4, descending=True), [(2, 4)]),
    (GroupSort(1, 2, descending=False), [(2, 4)]),
    (MaxMin(), [(2, 3), (2, 3)]),
    (Extremes((1,)), [(2, 4)]),
    (Larger(), [(3,), (3,)]),
    (Larger(sign=-1.0), [(3,), (3,), (3,)]),
]


@pytest.mark.parametrize(("operation", "shapes"), KINDS, ids=lambda item: type(item).__name__)
@pytest.mark.parametrize(("norm", "order"), [("l1", 1.0), ("l2", 2.0), ("linf", math.inf)])
def test_constant_holds_for_pairs_of_integers(
    operation: Nonlinearity, shapes: list[tuple[int, ...]], norm: str, order: float
) -> None:
    """Joint changes of all inputs, ties included; integers, so l1 and linf compare exactly."""
    constant = getattr(operation.lipschitz(*shapes), norm)
    generator = torch.Generator().manual_seed(0)
    draws = 4000
    x = [torch.randint(-4, 5, (draws, *s), generator=generator).double() for s in shapes]
    steps = [torch.randint(-2, 3, (draws, *s), generator=generator).double() for s in shapes]
    y = [a + b for a, b in zip(x, steps, strict=True)]
    rise = (operation.evaluate(*y) - operation.evaluate(*x)).flatten(1)
    run = torch.cat([s.flatten(1) for s in steps], 1)
    up, along = (torch.linalg.vector_norm(v, order, dim=1) for v in (rise, run))
    assert bool((up <= constant * along * (1.0 + (4e-16 if order == 2.0 else 0.0))).all())
    assert operation.ulps == 0


@pytest.mark.parametrize("window", [pool(3, 1), pool(5, 2), pool(2, 1, dilation=2)])
def test_constant_of_overlapping_windows_is_reached(window: MaxPool) -> None:
    """One element that wins in all of its windows."""
    n, most = 12, window.most_windows((12,))
    counts = []
    for place in range(n):
        x = torch.zeros(1, 1, 1, n, dtype=torch.float64)
        x[..., place] = 1.0
        y = window.evaluate(x.reshape(1, 1, 1, n))
        counts.append(int((y == 1.0).sum()))
    assert max(counts) == most


def test_max_and_min_apart_would_cost_the_root_of_two() -> None:
    """Jointly they permute: a change of one operand moves one output."""
    a, b = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    moved = MaxMin().evaluate(a + 1.0, b) - MaxMin().evaluate(a, b)
    assert moved.flatten().tolist() == [1.0, 0.0]
    assert MaxMin().lipschitz((1,), (1,)).l2 == 1.0
    np.testing.assert_array_equal(MaxMin().evaluate(a, b + 2.0).flatten(), [2.0, 0.0])
