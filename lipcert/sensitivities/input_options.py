"""The input set as it is asked for, and how the samples of a data set become inputs in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipcert.certification.data import Dataset
from lipcert.certification.normalization import Normalization
from lipcert.errors import InputError
from lipcert.operators import Shape
from lipcert.sensitivities.inputs import (
    InputSet,
    clipped,
    data_maximum,
    just_inside,
    norm_ball,
    pixel_range,
)

AS_THEY_ARE = Normalization((0.0,), (1.0,))
BLOCK = 256
"""Samples read at once."""
ROUNDING = 1e-9
"""What the rounding of a sample's preparation may take it outside, relative to the set's size.  It
is moved back by as much: the bounds are of inputs inside."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """An input set, and what a training script does to reach it.

    Parameters
    ----------
    normalization : of raw samples.
    radius, box : where a search may go, one of the two: l2 ball around the origin, or lowest and
        highest values, ``sample_shape``.
    clip : norm that longer inputs are scaled down to, None for no scaling.
    """

    set: InputSet
    normalization: Normalization
    radius: float | None = None
    box: tuple[Tensor, Tensor] | None = None
    clip: float | None = None

    def prepared(self, raw: np.ndarray, shape: Shape, *, first: int = 0) -> np.ndarray:
        """Model inputs ``(N, *shape)`` of raw samples, the first of which has index ``first``.

        All of them are in the set.  Raises InputError for a sample that is outside by more than
        rounding.
        """
        x = normalised(raw, self.normalization, shape)
        flat = x.reshape(len(x), -1)
        norms = np.linalg.norm(flat, axis=1)
        if self.clip is not None:
            return _shortened(x, norms, self.clip)
        if self.box is not None:
            low, high = (side.numpy().reshape(1, -1) for side in self.box)
            slack = ROUNDING * (1.0 + np.abs(high) + np.abs(low))
            outside = ((flat < low - slack) | (flat > high + slack)).any(1)
        else:
            outside = norms > self.set.bound * (1.0 + ROUNDING)
        if outside.any():
            raise InputError(
                f"--data, sample {first + int(outside.argmax())}",
                f"lies outside the input set ({self.set.kind})",
                "give the input bound and the --normalize that training keeps to",
            )
        if self.box is not None:
            return np.asarray(np.clip(flat, low, high).reshape(x.shape))
        return _shortened(x, norms, self.set.bound)

    def restored(self, x: np.ndarray) -> np.ndarray:
        """A model input ``sample_shape`` in the data's units, rounded."""
        mean, std = self.normalization.arrays(x.shape)
        return np.asarray(x * std + mean)


def _shortened(x: np.ndarray, norms: np.ndarray, most: float) -> np.ndarray:
    """Samples ``(N, …)`` with norms ``(N,)`` up to rounding, none of them longer than ``most``."""
    inside = most * just_inside(x[0].size)
    scale = np.where(norms > inside, inside / np.maximum(norms, 1e-300), 1.0)
    return np.asarray(x * scale.reshape(-1, *(1,) * (x.ndim - 1)))


class PreparedSamples:
    """The samples of a data set as inputs of the model."""

    def __init__(self, others: Dataset, inputs: Inputs, shape: Shape) -> None:
        self._others, self._inputs = others, inputs
        self.place, self.shape = others.samples.place, shape

    def __len__(self) -> int:
        return len(self._others)

    def read(self, start: int, stop: int) -> np.ndarray:
        raw = self._others.read(start, stop)
        return self._inputs.prepared(raw, self.shape, first=start)

    def original(self, index: int) -> np.ndarray:
        """A sample as the data set holds it."""
        return np.asarray(self._others.read(index, index + 1)[0].reshape(self.shape))

    def restored(self, x: np.ndarray) -> np.ndarray:
        """A model input in the data's units."""
        return self._inputs.restored(x)

    def close(self) -> None:
        self._others.close()


def normalised(raw: np.ndarray, normalization: Normalization, shape: Shape) -> np.ndarray:
    """``(raw − mean)/std`` in float64, ``(N, *shape)``."""
    mean, std = normalization.arrays(shape)
    return np.asarray((raw.reshape(len(raw), *shape).astype(np.float64) - mean) / std)


def read_inputs(
    bound: float | str,
    shape: Shape,
    *,
    pixels: tuple[float, float],
    normalization: Normalization | None,
    dataset: Dataset | None,
) -> Inputs:
    """A norm, ``pixels``, ``clip:R`` or ``data``, as :func:`sensitivity` takes it.

    Raises InputError.
    """
    known = AS_THEY_ARE if normalization is None else normalization
    text = str(bound).strip()
    if text == "pixels":
        return _pixels(shape, pixels, known)
    if text == "data":
        if dataset is None:
            raise InputError("--input-bound data", "needs the data", "pass --data")
        found = _maximum(dataset, known, shape)
        return Inputs(found, known, radius=found.bound)
    if text.startswith("clip:"):
        radius = _number(text.removeprefix("clip:"), text)
        return Inputs(clipped(radius), known, radius=radius, clip=radius)
    radius = _number(text, text)
    return Inputs(norm_ball(radius), known, radius=radius)


def _pixels(shape: Shape, pixels: tuple[float, float], normalization: Normalization) -> Inputs:
    mean, std = normalization.arrays(shape)
    ends = [np.array(np.broadcast_to((end - mean) / std, shape)) for end in pixels]
    found = pixel_range(
        shape,
        *pixels,
        mean=normalization.mean,
        std=normalization.std,
        channel_axis=normalization.channel_axis(shape),
    )
    low, high = map(torch.from_numpy, ends)
    return Inputs(found, normalization, box=(low, high))


def _maximum(dataset: Dataset, normalization: Normalization, shape: Shape) -> InputSet:
    """The ball of the largest norm in a data set, read a block at a time."""
    blocks = (
        dataset.read(start, min(start + BLOCK, len(dataset)))
        for start in range(0, len(dataset), BLOCK)
    )
    balls = (data_maximum(normalised(raw, normalization, shape)) for raw in blocks)
    return max(balls, key=lambda ball: ball.bound)


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0.0:
        raise InputError(
            f"--input-bound {whole}",
            "is not a positive number",
            "give a norm such as 28, pixels, clip:1.5 or data",
        )
    return value
