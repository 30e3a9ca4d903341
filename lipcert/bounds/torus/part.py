"""A convolutional stretch of a model as one matrix inequality per frequency.

Differences of two runs are embedded in the torus with zeros outside the window.  There the circular
convolution gives some ``dv`` that the model does not know, while ``dz`` stays 0.  The constraint of
slopes in [α, β] on such a pair, ``(dz − α dv)(β dv − dz) = −αβ dv² ≥ 0``, holds only where
``αβ ≤ 0``.  So wherever an image is smaller than its torus, the interval is widened to hold 0:
LeakyRelu with slope 0.01 counts as [0, 1] there, and keeps [0.01, 1] on an image that is itself
circular, or that is read by 1×1 convolutions alone.  With zero in the interval all constraints hold
everywhere on the torus, multipliers may be the same at all positions, and the inequality splits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.torus.geometry import Geometry, geometry_of
from lipcert.bounds.torus.images import Images, images_of
from lipcert.bounds.torus.maps import ImageMap
from lipcert.bounds.torus.readings import Readings
from lipcert.bounds.torus.slopes import channel_slopes, widened
from lipcert.bounds.torus.windows import Windowed, taps
from lipcert.conic.cost import FamilySize, RowSize
from lipcert.conic.cuts import Cut, Stretch, groups_to_cut_at, stretches_between
from lipcert.conic.fourier import FourierBlock, Row
from lipcert.nonlinear.activations import Activation
from lipcert.operators import Shape
from lipcert.signals import SignalForm

ITERATIONS = 30
"""Of the solver, about."""
TAKING_PART = 12
"""Frequencies of a part that have a primal matrix, about, and one more for each ..."""
BINDING = 8
"""... of so many multipliers."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A stage of windows with its inequality: c and ν by channel."""

    windowed: Windowed
    centre: Tensor
    below: Tensor


@dataclass(frozen=True, eq=False)
class TorusPart:
    """A stretch between two signals whose maps are all shift-invariant.

    Parameters
    ----------
    form : the stretch as a model, slopes widened where an image is cut off.
    images : its images and the maps between them.
    selections : by stage of windows, its inequality.
    geometry : where its images live.
    """

    form: SignalForm
    images: Images
    selections: Mapping[int, Selection]
    geometry: Geometry

    @property
    def last(self) -> int:
        """The number of the output among the signals."""
        return len(self.form.stages) + 1

    def size(self, signal: int) -> int:
        """Coordinates of a signal: channels times phases."""
        return self.images.shapes[signal][1] * self.geometry.count(signal)

    def labels(self, signal: int, common: Shape) -> Tensor:
        """Which (channel, phase modulo ``common``) each coordinate of a signal belongs to."""
        phases = self.geometry.phases[signal]
        folded = torch.zeros(1, dtype=torch.int64)
        for q, g in zip(phases, common, strict=True):
            folded = (folded[:, None] * g + torch.arange(q) % g).reshape(-1)
        channels = torch.arange(self.images.shapes[signal][1])
        return (channels[:, None] * math.prod(common) + folded).reshape(-1)


def torus_part(form: SignalForm) -> TorusPart | None:
    """The part of a form whose stages and output are images; None where something is not."""
    images = images_of(form)
    if images is None:
        return None
    for stage in images.form.stages:
        if not isinstance(stage.nonlinearity, Windowed) and channel_slopes(stage) is None:
            return None
    windows = {number: shape[2:] for number, shape in images.shapes.items()}
    if len({len(window) for window in windows.values()}) > 1:
        return None
    geometry = geometry_of(images.reads, windows)
    if geometry is None:
        return None
    stages, selections = [], {}
    for number, stage in enumerate(images.form.stages, start=1):
        own, masked = stage.nonlinearity, not geometry.fills(number)
        if isinstance(own, Windowed):
            masked = masked or not geometry.fills(images.before[number])
            selections[number] = Selection(own, *own.centre_and_below(masked=masked))
            slopes = own.as_slopes(masked=masked)
            steep = Activation(own.name, own.evaluate, slopes.alpha, slopes.beta)
            stage = replace(stage, nonlinearity=steep)
        stages.append(widened(stage) if masked and number not in selections else stage)
    form = replace(images.form, stages=tuple(stages))
    return TorusPart(form, images, selections, geometry)


def solving_work(part: TorusPart) -> float:
    """Operations that finding the multipliers takes, about: of all stretches of a deep part."""
    reads = [(number, own) for number in range(1, part.last) for own in _rows_read(part, number)]
    reads.append((part.last, part.images.signals_read(part.last)))
    cuts = [Cut(0, g, g) for g in (0, *groups_to_cut_at(part.last, reads))]
    stretches = stretches_between(cuts, part.last - 1)
    return ITERATIONS * sum(family_size(part, stretch).work for stretch in stretches)


def family_size(part: TorusPart, stretch: Stretch) -> FamilySize:
    """What the cost of the blocks of a stretch depends on."""
    first, last = stretch.start.group, part.last - 1
    last = last if stretch.stop is None else stretch.stop.group
    sizes = tuple(part.size(signal) for signal in range(first, last + 1))
    rows = []
    for number in range(first + 1, last + 1):
        own, *taps_read = (tuple(g - first for g in read) for read in _rows_read(part, number))
        rows.append(RowSize(part.size(number), number - first, own))
        for read in taps_read:
            count = part.selections[number].windowed.most * part.size(number)
            rows.append(RowSize(count, None, read))
    output: tuple[int, ...] = (last - first,)
    if stretch.stop is None:
        output = tuple(g - first for g in part.images.signals_read(part.last))
    frequencies = part.geometry.frequencies
    return FamilySize(
        sizes,
        rows,
        output,
        entry_is_diagonal=0 not in output and _only_couples(part, first, last),
        is_complex=True,
        frequencies=frequencies,
        taking_part=min(frequencies, TAKING_PART + sum(sizes[1:]) // BINDING),
    )


def _rows_read(part: TorusPart, number: int) -> list[tuple[int, ...]]:
    """What the rows of a stage read: its own, and those of the taps of windows."""
    found = [part.images.signals_read(number)]
    if number in part.selections:
        before = part.images.before[number]
        found.append((before,) if before >= 0 else part.images.signals_read(before))
    return found


def _only_couples(part: TorusPart, entry: int, last: int) -> bool:
    """Whether no stage up to the last that reads an entry has a square of what it reads."""
    for number in range(entry + 1, last + 1):
        stage = part.form.stages[number - 1]
        if entry in part.images.signals_read(number):
            slopes = None if number in part.selections else channel_slopes(stage)
            if slopes is None or not bool((slopes[0].square() == slopes[1]).all()):
                return False
    return True


def torus_block(
    part: TorusPart, heads: Tensor, own: list[Tensor], exits: Tensor | None, device: torch.device
) -> FourierBlock:
    """The blocks of all frequencies.

    Parameters
    ----------
    heads : the multiplier of each coordinate of the entry.
    own : of each coordinate of every stage.
    exits : of each coordinate of the output; None where the output's square is what is bounded.
    """
    readings = Readings(part.images, part.geometry, device)
    rows: list[Row] = []
    for number, index in enumerate(own, start=1):
        if number in part.selections:
            rows += _window_rows(part, number, index, readings)
        else:
            rows.append(_stage_row(part, number, index, readings))
    output = readings.of(part.last)
    if exits is not None:
        zero = torch.zeros(len(exits), dtype=torch.float64, device=device)
        rows.append(Row(None, output, zero, zero + 1.0, exits))
        output = {}
    sizes = tuple(part.size(signal) for signal in range(part.last))
    return FourierBlock(sizes, heads, tuple(rows), output)


def _stage_row(part: TorusPart, number: int, index: Tensor, readings: Readings) -> Row:
    slopes = channel_slopes(part.form.stages[number - 1])
    assert slopes is not None
    count, device = part.geometry.count(number), readings.device
    centre, below = (value.repeat_interleave(count).to(device) for value in slopes)
    return Row(number, readings.of(number), centre, below, index)


def _window_rows(part: TorusPart, number: int, index: Tensor, readings: Readings) -> list[Row]:
    """``λ [(dz − c Σ_i w_i dv_i)² − ν Σ_i dv_i²]``: a row for dz, and one for each tap."""
    selection, device = part.selections[number], readings.device
    count, most = part.geometry.count(number), selection.windowed.most
    centre = selection.centre.repeat_interleave(count).to(device)
    own = Row(number, readings.of(number), centre, torch.zeros_like(centre), index)
    each = ImageMap(taps(selection.windowed.window))
    reads = readings.through(number, {part.images.before[number]: [each]})
    below = selection.below.repeat_interleave(most * count).to(device)
    of_tap = index.reshape(-1, 1, count).expand(-1, most, -1).reshape(-1)
    return [own, Row(None, reads, torch.zeros_like(below), below, of_tap)]
