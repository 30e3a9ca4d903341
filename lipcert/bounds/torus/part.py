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
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.torus.geometry import Geometry, geometry_of
from lipcert.bounds.torus.maps import ImageMap, image_maps, is_image
from lipcert.conic.fourier import FourierBlock, Reading, Row
from lipcert.nonlinear.activations import Activation
from lipcert.nonlinear.base import Slopes
from lipcert.operators import Shape
from lipcert.rounding import UNIT_ROUNDOFF, add_up
from lipcert.signals import SignalForm, Stage
from lipcert.spectral.polyphase import polyphase_blocks

SMALLEST_HALF_WIDTH = 1e-5
"""Least half-width of a slope interval, in units of its centre: a wider one is sound too."""


@dataclass(frozen=True, eq=False)
class TorusPart:
    """A stretch between two signals whose maps are all shift-invariant.

    Parameters
    ----------
    form : the stretch as a model, slopes widened where an image is cut off.
    reads : the maps into each stage, and into the output under the number beyond the last.
    geometry : where its images live.
    """

    form: SignalForm
    reads: dict[int, dict[int, list[ImageMap]]]
    geometry: Geometry

    @property
    def last(self) -> int:
        """The number of the output among the signals."""
        return len(self.form.stages) + 1

    def size(self, signal: int) -> int:
        """Coordinates of a signal: channels times phases."""
        return _shape(self.form, signal)[1] * self.geometry.count(signal)

    @property
    def side(self) -> int:
        """Side of each block."""
        return sum(self.size(signal) for signal in range(self.last))

    def labels(self, signal: int, common: Shape) -> Tensor:
        """Which (channel, phase modulo ``common``) each coordinate of a signal belongs to."""
        phases = self.geometry.phases[signal]
        folded = torch.zeros(1, dtype=torch.int64)
        for q, g in zip(phases, common, strict=True):
            folded = (folded[:, None] * g + torch.arange(q) % g).reshape(-1)
        channels = torch.arange(_shape(self.form, signal)[1])
        return (channels[:, None] * math.prod(common) + folded).reshape(-1)


def torus_part(form: SignalForm) -> TorusPart | None:
    """The part of a form whose stages and output are images; None where something is not."""
    if not is_image(form.input_shape) or not is_image(form.output_shape):
        return None
    reads: dict[int, dict[int, list[ImageMap]]] = {}
    for stage in form.stages:
        if not is_image(stage.shape) or stage.input_shapes != (stage.shape,):
            return None
        if channel_slopes(stage) is None:
            return None
    tables = [*(stage.terms for stage in form.stages), form.output_terms]
    for number, terms in enumerate(tables, start=1):
        maps = {j: image_maps(operator) for j, operator in terms.items()}
        if not maps or any(found is None for found in maps.values()):
            return None
        reads[number] = {j: found for j, found in maps.items() if found is not None}
    windows = {k: _shape(form, k)[2:] for k in range(len(form.stages) + 2)}
    if len({len(window) for window in windows.values()}) > 1:
        return None
    geometry = geometry_of(reads, windows)
    if geometry is None:
        return None
    stages = tuple(
        stage if geometry.fills(number) else widened(stage)
        for number, stage in enumerate(form.stages, start=1)
    )
    return TorusPart(replace(form, stages=stages), reads, geometry)


def _shape(form: SignalForm, signal: int) -> Shape:
    if signal == 0:
        return form.input_shape
    if signal > len(form.stages):
        return form.output_shape
    return form.stages[signal - 1].shape


def widened(stage: Stage) -> Stage:
    """The stage with slope intervals that hold 0: those of its activation, masked by 0 or 1."""
    slopes, own = stage.nonlinearity.slopes, stage.nonlinearity
    assert slopes is not None
    alpha, beta = (torch.as_tensor(end, dtype=torch.float64) for end in (slopes.alpha, slopes.beta))
    masked = Activation(own.name, own.evaluate, alpha.clamp(max=0.0), beta.clamp(min=0.0))
    return replace(stage, nonlinearity=masked)


def channel_slopes(stage: Stage) -> tuple[Tensor, Tensor] | None:
    """Centre and squared half-width of each channel's slopes; None where positions differ."""
    slopes = stage.nonlinearity.slopes
    if slopes is None:
        return None
    ends = []
    for value in (slopes.alpha, slopes.beta):
        full = torch.as_tensor(value, dtype=torch.float64).expand(stage.shape)[0].flatten(1)
        if not bool(torch.isfinite(full).all()) or not bool((full == full[:, :1]).all()):
            return None
        ends.append(full[:, 0].clone())
    return centre_and_square(Slopes(ends[0], ends[1]))


def centre_and_square(slopes: Slopes) -> tuple[Tensor, Tensor]:
    """Centres c and upper bounds of the squares r² of half-widths, elementwise."""
    centre = torch.as_tensor(slopes.centre, dtype=torch.float64)
    width = torch.as_tensor(slopes.half_width, dtype=torch.float64)
    width = torch.maximum(width, SMALLEST_HALF_WIDTH * centre.abs() + 1e-300)
    exact = (width * 2.0 == (width * 2.0).round()) & (width < 1e7)  # their squares are exact
    above = torch.nextafter(width.square(), torch.full_like(width, math.inf))
    return centre, torch.where(exact, width.square(), above)


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
    geometry = part.geometry
    rows = []
    for number, (stage, index) in enumerate(zip(part.form.stages, own, strict=True), start=1):
        slopes = channel_slopes(stage)
        assert slopes is not None
        centre, below = (
            value.repeat_interleave(geometry.count(number)).to(device) for value in slopes
        )
        reads = _reads(part, number, device)
        rows.append(Row(number, reads, centre, below, index))
    output = _reads(part, part.last, device)
    if exits is not None:
        zero = torch.zeros(len(exits), dtype=torch.float64, device=device)
        rows.append(Row(None, output, zero, zero + 1.0, exits))
        output = {}
    sizes = tuple(part.size(signal) for signal in range(part.last))
    return FourierBlock(sizes, heads, tuple(rows), output)


def _reads(part: TorusPart, number: int, device: torch.device) -> dict[int, Reading]:
    found = {}
    for source, maps in part.reads[number].items():
        total: Tensor | None = None
        errors = [0.0]
        for single in maps:
            matrix, error = _fourier(single, part, source, number, device)
            errors.append(error)
            if total is not None:
                size = float(matrix.abs().square().sum((1, 2)).max().sqrt())
                size += float(total.abs().square().sum((1, 2)).max().sqrt())
                errors.append(size * 4.0 * UNIT_ROUNDOFF)
                matrix = total + matrix
            total = matrix
        assert total is not None
        found[source] = Reading(total, add_up(*errors))
    return found


def _fourier(
    single: ImageMap, part: TorusPart, source: int, number: int, device: torch.device
) -> tuple[Tensor, float]:
    geometry = part.geometry
    if single.convolution is None:
        unit = torch.eye(part.size(source), dtype=torch.complex128, device=device)
        return unit.expand(geometry.frequencies, -1, -1), 0.0
    coarse_side = source if single.adjoint else number
    family = polyphase_blocks(
        single.convolution.to(device), geometry.phases[coarse_side], geometry.coarse, single.shift
    )
    matrix = family.blocks.mH if single.adjoint else family.blocks
    return matrix, add_up(family.error, single.error)
