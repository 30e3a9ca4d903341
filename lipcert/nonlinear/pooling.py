"""Max-pooling, sorting and maxima: maps that select among their inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lipcert.nonlinear.base import Groups, Nonlinearity
from lipcert.operators import Norms, Shape
from lipcert.operators.indexing import exact_root

MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


class MaxPool(Nonlinearity):
    """Maximum over windows; padding never wins.

    Each output selects one input of its window, so an input is selected by at most U windows, U
    the most windows that hold one element: the constants are U (l1), √U (l2), 1 (linf).
    """

    name = "MaxPool"

    def __init__(
        self,
        kernel: Shape,
        *,
        stride: Shape,
        dilation: Shape,
        pads_begin: Shape,
        pads_end: Shape,
    ) -> None:
        self.kernel = kernel
        self.stride = stride
        self.dilation = dilation
        self.pads_begin = pads_begin
        self.pads_end = pads_end

    def evaluate(self, *inputs: Tensor) -> Tensor:
        x = inputs[0]
        pads: list[int] = []
        for before, after in zip(reversed(self.pads_begin), reversed(self.pads_end), strict=True):
            pads += [before, after]
        batch = functional.pad(x.reshape(-1, *x.shape[2:]), pads, value=-math.inf)
        pool = MAX_POOL[len(self.kernel)]
        y = pool(batch, self.kernel, self.stride, 0, self.dilation)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def most_windows(self, spatial: Shape) -> int:
        """The most windows that hold one input element, counted on the actual shape."""
        most = 1
        for axis, n in enumerate(spatial):
            reads = self._reads(axis, n)
            inside = reads[reads >= 0]
            most *= int(torch.bincount(inside, minlength=1).max()) if inside.numel() else 0
        return most

    def lipschitz(self, *shapes: Shape) -> Norms:
        most = self.most_windows(shapes[0][2:])
        return Norms(float(most), exact_root(most), min(float(most), 1.0))

    def groups(self, *shapes: Shape, outputs: int) -> Groups:
        """Each output and the window that it selects from; windows may overlap."""
        lead, spatial = math.prod(shapes[0][:2]), shapes[0][2:]
        read = torch.arange(lead)[:, None]  # (windows, elements of each); −1 in the padding
        for axis, n in enumerate(spatial):
            inside = self._reads(axis, n)
            elements = read[:, None, :, None] * n + inside[None, :, None, :]
            padded = (read < 0)[:, None, :, None] | (inside < 0)[None, :, None, :]
            elements = torch.where(padded, -1, elements)
            read = elements.reshape(len(read) * len(inside), -1)
        window, place = (read >= 0).nonzero(as_tuple=True)
        return Groups(torch.arange(outputs), (read[window, place], window), 1.0)

    def _reads(self, axis: int, n: int) -> Tensor:
        """Positions along an axis that each window reads, −1 in the padding."""
        k, d = self.kernel[axis], self.dilation[axis]
        padded = n + self.pads_begin[axis] + self.pads_end[axis]
        out = (padded - (k - 1) * d - 1) // self.stride[axis] + 1
        starts = torch.arange(out)[:, None] * self.stride[axis] - self.pads_begin[axis]
        reads = starts + torch.arange(k)[None, :] * d
        return torch.where((reads >= 0) & (reads < n), reads, -1)

    @property
    def ulps(self) -> int:
        return 0


class GroupMax(Nonlinearity):
    """Maximum (``sign`` −1: minimum) over ``axes``, which stay as dimensions of 1.

    One selection from each of disjoint groups, hence 1-Lipschitz.
    """

    name = "GroupMax"

    def __init__(self, axes: tuple[int, ...], *, sign: float = 1.0) -> None:
        self.axes = axes
        self.sign = sign

    def evaluate(self, *inputs: Tensor) -> Tensor:
        axes = [axis + 1 for axis in self.axes]
        return self.sign * torch.amax(self.sign * inputs[0], axes, keepdim=True)

    def lipschitz(self, *shapes: Shape) -> Norms:
        return Norms(1.0, 1.0, 1.0)

    def groups(self, *shapes: Shape, outputs: int) -> Groups:
        labels = Groups.along(shapes[0], self.axes)
        return Groups(torch.arange(outputs), (torch.arange(len(labels)), labels), 1.0)

    @property
    def ulps(self) -> int:
        return 0


class GroupSort(Nonlinearity):
    """The first ``count`` values of each sorted line along ``axis`` (Anil et al. 2019).

    Sorting is 1-Lipschitz in l1, l2 and linf (the rearrangement inequality); keeping some of the
    outputs cannot increase that.
    """

    name = "GroupSort"

    def __init__(self, axis: int, count: int, *, descending: bool) -> None:
        self.axis = axis
        self.count = count
        self.descending = descending

    def evaluate(self, *inputs: Tensor) -> Tensor:
        ordered = inputs[0].sort(self.axis + 1, descending=self.descending).values
        return ordered.narrow(self.axis + 1, 0, self.count)

    def lipschitz(self, *shapes: Shape) -> Norms:
        return Norms(1.0, 1.0, 1.0)

    def groups(self, *shapes: Shape, outputs: int) -> Groups:
        labels = Groups.along(shapes[0], (self.axis,))
        kept = labels.reshape(shapes[0]).narrow(self.axis, 0, self.count).reshape(-1)
        whole = self.count == shapes[0][self.axis]
        return Groups(kept, (torch.arange(len(labels)), labels), 1.0, rearranges=whole)

    @property
    def ulps(self) -> int:
        return 0


class MaxMin(Nonlinearity):
    """Elementwise maximum and minimum of two tensors, stacked on a new first axis.

    ``(a, b) ↦ (max, min)`` permutes each pair, so it is 1-Lipschitz jointly, though its two halves
    taken apart would cost √2.
    """

    name = "MaxMin"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        first, second = inputs
        return torch.stack((torch.maximum(first, second), torch.minimum(first, second)), 1)

    def lipschitz(self, *shapes: Shape) -> Norms:
        return Norms(1.0, 1.0, 1.0)

    def groups(self, *shapes: Shape, outputs: int) -> Groups:
        pairs = Groups.elementwise(outputs // 2, 2, 1.0)
        return Groups(pairs.outputs.repeat(2), pairs.reads, 1.0, rearranges=True)

    @property
    def ulps(self) -> int:
        return 0


class Extremes(Nonlinearity):
    """Maximum and minimum over ``axes``, stacked on a new first axis; 1-Lipschitz jointly.

    They are two entries of the sorted group (one and the same entry where the group is single,
    which the constructor's caller excludes).
    """

    name = "MaxMin"

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def evaluate(self, *inputs: Tensor) -> Tensor:
        axes = [axis + 1 for axis in self.axes]
        largest, smallest = inputs[0].amax(axes, keepdim=True), inputs[0].amin(axes, keepdim=True)
        return torch.stack((largest, smallest), 1)

    def lipschitz(self, *shapes: Shape) -> Norms:
        return Norms(1.0, 1.0, 1.0)

    def groups(self, *shapes: Shape, outputs: int) -> Groups:
        labels = Groups.along(shapes[0], self.axes)
        both = torch.arange(outputs // 2).repeat(2)
        pairs = len(labels) == outputs
        return Groups(both, (torch.arange(len(labels)), labels), 1.0, rearranges=pairs)

    @property
    def ulps(self) -> int:
        return 0


class Larger(Nonlinearity):
    """Elementwise maximum (or, with ``sign = −1``, minimum) of several tensors of one shape.

    Each output selects one of its operands, which are distinct elements of the joint input.
    """

    name = "Max"

    def __init__(self, *, sign: float = 1.0) -> None:
        self.sign = sign
        self.name = "Max" if sign > 0 else "Min"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        largest = inputs[0]
        choose = torch.maximum if self.sign > 0 else torch.minimum
        for other in inputs[1:]:
            largest = choose(largest, other)
        return largest

    def lipschitz(self, *shapes: Shape) -> Norms:
        return Norms(1.0, 1.0, 1.0)

    def groups(self, *shapes: Shape, outputs: int) -> Groups:
        return Groups.elementwise(outputs, len(shapes), 1.0)

    @property
    def ulps(self) -> int:
        return 0
