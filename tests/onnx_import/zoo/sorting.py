"""MaxMin and GroupSort in every way that one may write them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .case import Case

Function = Callable[[Tensor], Tensor]


class Sorted(nn.Module):
    """A function of 20 neurons between two linear layers."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first = nn.Linear(6, 20)
        self.function = function
        self.last = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


class SortedChannels(nn.Module):
    """A function of eight channels between two convolutions."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.function = function
        self.last = nn.Conv2d(8, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def chunked(x: Tensor) -> Tensor:
    """Halves of the neurons against each other."""
    a, b = x.chunk(2, 1)
    return torch.cat((torch.max(a, b), torch.min(a, b)), 1)


def split(x: Tensor) -> Tensor:
    """The same by split, minimum first."""
    a, b = torch.split(x, x.shape[1] // 2, 1)
    return torch.cat((torch.minimum(a, b), torch.maximum(b, a)), 1)


def halves(x: Tensor) -> Tensor:
    """The same by slices."""
    n = x.shape[1] // 2
    return torch.cat((torch.max(x[:, :n], x[:, n:]), torch.min(x[:, :n], x[:, n:])), 1)


def strided(x: Tensor) -> Tensor:
    """Neighbours, put back in place."""
    a, b = x[:, ::2], x[:, 1::2]
    return torch.stack((torch.maximum(a, b), torch.minimum(a, b)), 2).flatten(1, 2)


def strided_cat(x: Tensor) -> Tensor:
    """Neighbours, results side by side."""
    a, b = x[:, ::2], x[:, 1::2]
    return torch.cat((torch.maximum(a, b), torch.minimum(a, b)), 1)


def reshaped(x: Tensor) -> Tensor:
    """Pairs on an axis of their own."""
    pairs = x.reshape(x.shape[0], -1, 2)
    return torch.stack((pairs.amax(2), pairs.amin(2)), 2).reshape(x.shape)


def reshaped_cat(x: Tensor) -> Tensor:
    """Pairs on an axis of their own, dimensions kept."""
    pairs = x.reshape(x.shape[0], 2, -1)
    both = torch.cat((pairs.amax(1, keepdim=True), pairs.amin(1, keepdim=True)), 1)
    return both.reshape(x.shape)


def values(x: Tensor) -> Tensor:
    """Through ``max(dim)`` with its indices."""
    pairs = x.view(x.shape[0], -1, 2)
    return torch.cat((pairs.max(2).values, pairs.min(2).values), 1)


def selected(x: Tensor) -> Tensor:
    """Pairs taken apart by indexing."""
    pairs = x.view(x.shape[0], -1, 2)
    a, b = pairs[..., 0], pairs[..., 1]
    return torch.stack((torch.min(a, b), torch.max(a, b)), -1).view(x.shape)


def unbound(x: Tensor) -> Tensor:
    """Pairs taken apart by unbind."""
    a, b = x.view(x.shape[0], 2, -1).unbind(1)
    return torch.stack((torch.max(a, b), torch.min(a, b)), 1).flatten(1)


def indexed(x: Tensor) -> Tensor:
    """Neurons taken by index lists."""
    n = x.shape[1]
    a = x[:, torch.arange(0, n, 2)]
    b = x[:, torch.arange(1, n, 2)]
    return torch.cat((torch.max(a, b), torch.min(a, b)), 1)


def by_sort(size: int, axis: int = 2) -> Function:
    """Groups by torch.sort."""

    def sort(x: Tensor) -> Tensor:
        groups = x.reshape(x.shape[0], -1, size, *x.shape[2:])
        return groups.sort(axis).values.reshape(x.shape)

    return sort


def descending(x: Tensor) -> Tensor:
    """Groups of five, largest first."""
    return x.reshape(x.shape[0], -1, 5).sort(-1, descending=True)[0].flatten(1)


def by_topk(size: int) -> Function:
    """Groups by topk."""

    def top(x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, size).topk(size, -1).values.view(x.shape)

    return top


def full_sort(x: Tensor) -> Tensor:
    """All neurons in order."""
    return torch.sort(x, 1)[0]


def extremes_of_four(x: Tensor) -> Tensor:
    """The largest and smallest of four, each twice."""
    groups = x.view(x.shape[0], -1, 4)
    both = torch.cat((groups.amax(2), groups.amin(2)), 1)
    return torch.cat((both, both), 1)


def top_and_bottom(x: Tensor) -> Tensor:
    """The first of topk in both directions."""
    pairs = x.view(x.shape[0], -1, 2)
    high = pairs.topk(1, 2).values
    low = pairs.topk(1, 2, largest=False).values
    return torch.cat((high, low), 2).view(x.shape)


def maxout(x: Tensor) -> Tensor:
    """Only the maximum of five, repeated."""
    return x.view(x.shape[0], 5, -1).amax(1).repeat(1, 5)


def channel_groups(x: Tensor) -> Tensor:
    """MaxMin over channels of an image, pairs on an axis of their own."""
    n, c, h, w = x.shape
    pairs = x.view(n, c // 2, 2, h, w)
    return torch.stack((pairs.amax(2), pairs.amin(2)), 2).view(n, c, h, w)


NEURONS: dict[str, Function] = {
    "chunked": chunked, "split": split, "halves": halves, "strided": strided,
    "strided_cat": strided_cat, "reshaped": reshaped, "reshaped_cat": reshaped_cat,
    "values": values, "selected": selected, "unbound": unbound, "indexed": indexed,
    "sort_2": by_sort(2), "sort_4": by_sort(4), "sort_5": by_sort(5), "descending": descending,
    "topk_2": by_topk(2), "topk_4": by_topk(4), "topk_5": by_topk(5), "full_sort": full_sort,
    "extremes_of_four": extremes_of_four, "top_and_bottom": top_and_bottom, "maxout": maxout,
}  # fmt: skip

CHANNELS: dict[str, Function] = {
    "chunked": chunked, "split": split, "halves": halves, "strided": strided,
    "strided_cat": strided_cat, "channel_groups": channel_groups, "sort_4": by_sort(4),
}  # fmt: skip

CASES = [
    *(
        Case(f"{name}_neurons", lambda f=f: Sorted(f), joint=name != "maxout")
        for name, f in NEURONS.items()
    ),
    *(
        Case(f"{name}_channels", lambda f=f: SortedChannels(f), (2, 8, 6), joint=True)
        for name, f in CHANNELS.items()
    ),
]
