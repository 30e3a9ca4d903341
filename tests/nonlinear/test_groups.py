"""Groups within which a map is Lipschitz, against sampled differences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from lipcert.nonlinear import (
    Extremes,
    GroupMax,
    Groups,
    GroupSort,
    Larger,
    LogSoftmax,
    MaxMin,
    MaxPool,
    Nonlinearity,
    RootMeanSquare,
    Softmax,
)
from lipcert.nonlinear.reductions import REDUCTIONS

Case = tuple[Nonlinearity, list[tuple[int, ...]]]


def pool(
    kernel: tuple[int, ...],
    *,
    stride: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    begin: tuple[int, ...] | None = None,
    end: tuple[int, ...] | None = None,
) -> MaxPool:
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    return MaxPool(
        kernel,
        stride=stride or ones,
        dilation=dilation or ones,
        pads_begin=begin or zeros,
        pads_end=end or zeros,
    )


SELECTING: list[Case] = [
    (pool((3,)), [(1, 2, 5)]),
    (pool((3,), stride=(2,), begin=(1,), end=(2,)), [(1, 2, 5)]),
    (pool((2,), dilation=(3,)), [(2, 1, 7)]),
    (pool((1,)), [(1, 3, 4)]),
    (pool((2, 3), stride=(1, 2), begin=(1, 0), end=(0, 2)), [(1, 2, 3, 4)]),
    (pool((2, 2), dilation=(2, 1)), [(2, 2, 4, 3)]),
    (pool((2, 1, 2), stride=(2, 1, 1)), [(1, 2, 4, 2, 3)]),
    (GroupMax((1,)), [(2, 4, 3)]),
    (GroupMax((0, 2), sign=-1.0), [(2, 4, 3)]),
    (GroupMax((1,)), [(2, 4)]),
    (GroupSort(0, 3, descending=True), [(3, 4)]),
    (GroupSort(1, 4, descending=False), [(3, 4)]),
    (GroupSort(1, 4, descending=True), [(2, 4, 3)]),
    (GroupSort(1, 5, descending=True), [(2, 5)]),
    (GroupSort(1, 1, descending=True), [(3, 1)]),
    (GroupSort(1, 2, descending=False), [(3, 4)]),
    (GroupSort(0, 1, descending=True), [(4, 2)]),
    (MaxMin(), [(3,), (3,)]),
    (MaxMin(), [(2, 3), (2, 3)]),
    (Extremes((1,)), [(3, 2)]),
    (Extremes((0,)), [(2, 3)]),
    (Extremes((0, 2)), [(2, 3, 2)]),
    (Larger(), [(3,), (3,)]),
    (Larger(sign=-1.0), [(2, 2), (2, 2), (2, 2)]),
]

SMOOTH: list[Case] = [
    (Softmax((1,)), [(2, 5)]),
    (LogSoftmax((1,)), [(2, 5)]),
    (RootMeanSquare((1,), 0.1), [(2, 5)]),
    *((REDUCTIONS[name]((1,)), [(3, 4)]) for name in ("ReduceL2", "ReduceL1", "ReduceLogSumExp")),
]

LABELS = [f"{type(operation).__name__}-{place}" for place, (operation, _) in enumerate(SELECTING)]


def groups_of(operation: Nonlinearity, shapes: list[tuple[int, ...]]) -> tuple[Groups, int]:
    example = [torch.zeros(1, *shape, dtype=torch.float64) for shape in shapes]
    outputs = operation.evaluate(*example).numel()
    return operation.groups(*shapes, outputs=outputs), outputs


def sums(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Sums over each group of a batch of flat vectors."""
    return values.new_zeros(len(values), count).index_add_(1, labels, values)


def differences(operation: Nonlinearity, v: list[Tensor], w: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Flat differences of inputs, put behind one another, and of outputs."""
    moved = torch.cat([(b - a).flatten(1) for a, b in zip(v, w, strict=True)], 1)
    return moved, (operation.evaluate(*w) - operation.evaluate(*v)).flatten(1)


@pytest.mark.parametrize(("operation", "shapes"), SELECTING, ids=LABELS)
def test_no_group_grows_by_more_than_its_constant(
    operation: Nonlinearity, shapes: list[tuple[int, ...]]
) -> None:
    """Integers, so that squares compare exactly; ties and changes of few elements included."""
    found, outputs = groups_of(operation, shapes)
    elements, labels = found.reads
    count = int(torch.cat((found.outputs, labels)).max()) + 1
    assert found.outputs.shape == (outputs,) and elements.shape == labels.shape
    assert int(elements.max()) < sum(math.prod(shape) for shape in shapes)
    generator = torch.Generator().manual_seed(0)
    draws = 3000

    def drawn(low: int, high: int) -> list[Tensor]:
        return [torch.randint(low, high, (draws, *s), generator=generator).double() for s in shapes]

    v = drawn(-4, 5)
    few = [a * (b == 0) for a, b in zip(drawn(-3, 4), drawn(0, 4), strict=True)]
    for step in (drawn(-3, 4), few):
        moved, risen = differences(operation, v, [a + b for a, b in zip(v, step, strict=True)])
        up = sums(risen.square(), found.outputs, count)
        along = sums(moved[:, elements].square(), labels, count)
        assert bool((up <= found.constant**2 * along).all())
        if found.rearranges:
            raised = sums(risen, found.outputs, count)
            assert torch.equal(raised, sums(moved[:, elements], labels, count))


@pytest.mark.parametrize(("operation", "shapes"), SMOOTH, ids=lambda case: type(case).__name__)
def test_maps_without_groups_of_their_own_have_one(
    operation: Nonlinearity, shapes: list[tuple[int, ...]]
) -> None:
    found, outputs = groups_of(operation, shapes)
    assert not found.rearranges and found.outputs.tolist() == [0] * outputs
    assert found.reads[0].tolist() == list(range(math.prod(shapes[0])))
    generator = torch.Generator().manual_seed(1)
    for scale in (1e-2, 1.0, 10.0):
        v = [torch.randn(500, *s, dtype=torch.float64, generator=generator) for s in shapes]
        w = [a + scale * torch.randn(a.shape, dtype=torch.float64, generator=generator) for a in v]
        moved, risen = differences(operation, v, w)
        assert bool((risen.norm(dim=1) <= found.constant * moved.norm(dim=1) + 1e-13).all())


@pytest.mark.parametrize(("operation", "shapes"), SELECTING, ids=LABELS)
def test_an_output_depends_on_what_its_group_reads_alone(
    operation: Nonlinearity, shapes: list[tuple[int, ...]]
) -> None:
    found, _ = groups_of(operation, shapes)
    elements, labels = found.reads
    generator = torch.Generator().manual_seed(2)
    v = [torch.randn(40, *s, dtype=torch.float64, generator=generator) for s in shapes]
    sizes = [math.prod(shape) for shape in shapes]
    for element in range(sum(sizes)):
        w, place = [a.clone() for a in v], element
        for part, size in zip(w, sizes, strict=True):
            if 0 <= place < size:
                part.view(40, -1)[:, place] += 3.0
            place -= size
        _, risen = differences(operation, v, w)
        touched = set(found.outputs[(risen != 0.0).any(0)].tolist())
        assert touched <= set(labels[elements == element].tolist())


def test_which_maps_rearrange() -> None:
    """Whole sorts and pairs do; parts of a sort, maxima and pools do not."""
    rearranging = [
        place
        for place, (operation, shapes) in enumerate(SELECTING)
        if groups_of(operation, shapes)[0].rearranges
    ]
    names = [type(SELECTING[place][0]).__name__ for place in rearranging]
    assert names == ["GroupSort"] * 5 + ["MaxMin"] * 2 + ["Extremes"] * 2


def test_groups_of_a_rearrangement_are_of_one_size() -> None:
    for operation, shapes in SELECTING:
        found, _ = groups_of(operation, shapes)
        if found.rearranges:
            outputs, reads = found.outputs.bincount(), found.reads[1].bincount()
            assert torch.equal(outputs, reads) and len(set(reads.tolist())) == 1


def test_windows_of_a_pool_are_those_that_it_reads() -> None:
    """By hand: 3 elements, windows of 2 with one pad on either side."""
    found = pool((2,), begin=(1,), end=(1,)).groups((1, 1, 3), outputs=4)
    read = [sorted(found.reads[0][found.reads[1] == window].tolist()) for window in range(4)]
    assert read == [[0], [0, 1], [1, 2], [2]]
    assert found.outputs.tolist() == [0, 1, 2, 3]


def test_lines_along_axes() -> None:
    shape = (2, 3, 2)
    for axes in ((0,), (1,), (2,), (-1,), (0, 2), (0, 1, 2)):
        labels = Groups.along(shape, axes).reshape(shape)
        fixed = [axis for axis in range(3) if axis not in {a % 3 for a in axes}]
        places = list(itertools.product(*(range(n) for n in shape)))
        for a, b in itertools.product(places, places):
            together = all(a[axis] == b[axis] for axis in fixed)
            assert (labels[a] == labels[b]) == together
