"""Activations, and the maxima or means over windows beside them, as one stage; and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.torus.maps import MOST_CHANNELS, ImageMap, image_map, is_image
from lipcert.bounds.torus.slopes import channel_ends
from lipcert.bounds.torus.windows import Windowed
from lipcert.nonlinear.pooling import MaxPool
from lipcert.operators import (
    Convolution,
    LinearOperator,
    Reshape,
    compose,
    factors_of,
    identity,
    is_identity,
    simplify,
)
from lipcert.signals import SignalForm, Stage, Terms

MOST_COORDINATES = 128
"""Channels times positions of a window up to which a mean leaves its activation as it is."""


def fused(form: SignalForm) -> SignalForm:
    """The same map with a :class:`Windowed` stage for every maximum over windows of an image.

    With it go the activations right before and behind; means over windows that do not overlap, and
    are large, take in the activation that they alone read.
    """
    stages: list[Stage] = []
    place: dict[int, int] = {0: 0}
    pooled: set[int] = set()  # signals that give way to means of theirs
    number = 1
    while number <= len(form.stages):
        group = _maximum_from(form, number)
        own = _maximum(group) if group else _mean(form, number)
        group = group or [form.stages[number - 1]]
        stage = first = group[0]
        if own is not None:
            stage = replace(first, nonlinearity=own, shape=own.window.out_shape)
        stages.append(replace(stage, terms=_moved(first.terms, place, pooled)))
        number += len(group)
        place[number - 1] = len(stages)
        if own is not None and own.pool is not None:
            pooled.add(number - 1)
    output = _moved(form.output_terms, place, pooled)
    return replace(form, stages=tuple(stages), output_terms=output)


def unfused(form: SignalForm) -> SignalForm:
    """The same map with the stages that :class:`Windowed` ones stand for."""
    stages: list[Stage] = []
    place, pools = {0: 0}, dict[int, LinearOperator]()

    def moved(terms: Terms) -> Terms:
        return {
            place[j]: compose(operator, pools[j]) if j in pools else operator
            for j, operator in terms.items()
        }

    for number, stage in enumerate(form.stages, start=1):
        own = stage.nonlinearity
        first, *rest = own.stages if isinstance(own, Windowed) else (stage,)
        stages.append(replace(first, terms=moved(stage.terms)))
        for later in rest:
            stages.append(replace(later, terms={len(stages): identity(stages[-1].shape)}))
        place[number] = len(stages)
        if isinstance(own, Windowed) and own.pool is not None:
            pools[number] = own.pool
    return replace(form, stages=tuple(stages), output_terms=moved(form.output_terms))


def _moved(terms: Terms, place: dict[int, int], pooled: set[int]) -> Terms:
    found = {}
    for j, operator in terms.items():
        if j in pooled:
            mean = _first_mean(operator)
            assert mean is not None
            operator = mean.rest
        found[place[j]] = operator
    return found


def _readers(form: SignalForm, signal: int) -> list[tuple[int, LinearOperator]]:
    """The stages that read a signal, the output as one beyond the last, and how."""
    tables = [*(stage.terms for stage in form.stages), form.output_terms]
    return [(k, terms[signal]) for k, terms in enumerate(tables, start=1) if signal in terms]


def _follows(form: SignalForm, number: int) -> bool:
    """Whether the stage behind ``number`` reads it, and nothing else, and no other stage does."""
    if number + 1 > len(form.stages) or set(form.stages[number].terms) != {number}:
        return False
    readers = _readers(form, number)
    return len(readers) == 1 and is_identity(readers[0][1])


def _maximum_from(form: SignalForm, number: int) -> list[Stage]:
    """The stages from ``number`` on that are one maximum over windows with its activations."""
    group: list[Stage] = []
    has_maximum = False
    for k in range(number, len(form.stages) + 1):
        stage = form.stages[k - 1]
        own = _is_maximum(stage)
        if not own and (not is_image(stage.shape) or channel_ends(stage) is None):
            break
        if own and has_maximum:
            break
        group.append(stage)
        has_maximum = has_maximum or own
        if not _follows(form, k):
            break
    return group if has_maximum else []


def _is_maximum(stage: Stage) -> bool:
    if not isinstance(stage.nonlinearity, MaxPool):
        return False
    shape = stage.input_shapes[0]
    images = is_image(shape) and is_image(stage.shape) and shape[1] <= MOST_CHANNELS
    return images and _window(stage, stage.nonlinearity).out_shape == stage.shape


def _window(stage: Stage, own: MaxPool) -> Convolution:
    """The sum over each window."""
    _, channels, *spatial = stage.input_shapes[0]
    return Convolution(
        torch.ones(channels, 1, *own.kernel, dtype=torch.float64),
        tuple(spatial),
        stride=own.stride,
        dilation=own.dilation,
        pads_begin=own.pads_begin,
        pads_end=own.pads_end,
        groups=channels,
    )


def _maximum(group: list[Stage]) -> Windowed:
    (window,) = (
        _window(stage, stage.nonlinearity)
        for stage in group
        if isinstance(stage.nonlinearity, MaxPool)
    )
    low = high = torch.ones(window.groups, dtype=torch.float64)
    for stage in group:
        ends = channel_ends(stage)
        if ends is not None:
            low, high = _products(low, high, *ends)
    return Windowed(tuple(group), None, window, (low, high))


def _products(low: Tensor, high: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of products of two intervals, rounded outward."""
    every = torch.stack((low * alpha, low * beta, high * alpha, high * beta))
    least, most = every.amin(0), every.amax(0)
    plain = bool((low == 1.0).all() and (high == 1.0).all())
    if plain:
        return least, most
    infinity = torch.full_like(least, math.inf)
    down = torch.where(least == 0.0, least, torch.nextafter(least, -infinity))
    return down, torch.where(most == 0.0, most, torch.nextafter(most, infinity))


def _mean(form: SignalForm, number: int) -> Windowed | None:
    """An activation with the mean over windows that all of its readers begin with."""
    stage = form.stages[number - 1]
    ends = channel_ends(stage) if is_image(stage.shape) else None
    found = [_first_mean(operator) for _, operator in _readers(form, number)]
    if ends is None or not found or stage.input_shapes != (stage.shape,):
        return None
    first = found[0]
    if first is None or any(
        mean is None or not _same_mean(first.window, mean.window) for mean in found
    ):
        return None
    if stage.shape[1] * math.prod(first.window.kernel) <= MOST_COORDINATES:
        return None
    return Windowed((stage,), first.pool, first.window, ends)


@dataclass(frozen=True, eq=False)
class _Mean:
    """An operator as a mean over windows that do not overlap, and what follows it."""

    pool: LinearOperator
    window: Convolution
    rest: LinearOperator


def _first_mean(operator: LinearOperator) -> _Mean | None:
    """The mean over windows that an operator begins with; None where it begins otherwise."""
    factors = factors_of(operator)
    for count in (1, 2):
        if len(factors) < count:
            return None
        last = factors[-count]
        if not isinstance(last, Convolution):
            continue
        outer = factors[:-count]
        inner = compose(*factors[-count:])
        if count == 2:  # channels as a batch, and perhaps all elements in a row after that
            shape = (1, last.lead, *last.out_spatial)
            inner = compose(Reshape(last.out_shape, shape), inner)
            outer = (*outer, Reshape(shape, last.out_shape))
        single = image_map(inner)
        if single is not None and single.convolution is not None and _is_mean(single):
            rest = simplify(compose(*outer, identity(inner.out_shape)))
            return _Mean(inner, single.convolution, rest)
    return None


def _is_mean(single: ImageMap) -> bool:
    window = single.convolution
    if window is None or single.adjoint or single.period is not None:
        return False
    channels = window.weight.shape[0]
    ones = tuple(1 for _ in window.kernel)
    apart = window.kernel == window.stride and window.dilation == ones
    by_channel = window.groups == channels == window.in_shape[1]
    return apart and by_channel and math.prod(window.kernel) > 1


def _same_mean(one: Convolution, other: Convolution) -> bool:
    sides = [(w.kernel, w.in_shape, w.out_shape, w.pads_begin, w.pads_end) for w in (one, other)]
    same = sides[0] == sides[1] and one.error == other.error
    return same and torch.equal(one.weight, other.weight)
