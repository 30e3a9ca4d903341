"""Input sets: what is known of every input, as a ball and a bound of its norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipcert.certification.evaluation import largest_norm
from lipcert.errors import InputError
from lipcert.operators import Shape
from lipcert.rounding import UNIT_ROUNDOFF, gamma, mul_up, sqrt_up, up

REMEDY = "give a norm, a pixel range, a clip radius or a data set"


@dataclass(frozen=True, eq=False)
class InputSet:
    """Inputs of l2 norm up to ``bound`` that lie within ``radius`` of ``centre``.

    Parameters
    ----------
    kind : where the bound comes from, in words.
    centre : of the shape of one sample; None for the origin.
    is_private : whether every possible input is in the set, and not only those of a data set.
    """

    kind: str
    bound: float
    radius: float
    centre: Tensor | None = None
    is_private: bool = True


def norm_ball(bound: float) -> InputSet:
    """All inputs of l2 norm up to ``bound``."""
    return _ball("norm", bound)


def clipped(radius: float) -> InputSet:
    """Inputs that the training script scales down to an l2 norm of at most ``radius``."""
    return _ball("clip radius", radius)


def _ball(kind: str, bound: float) -> InputSet:
    if not 0.0 < bound < math.inf:
        raise InputError("input bound", f"{bound:g} is not a positive finite number", REMEDY)
    return InputSet(kind, float(bound), float(bound))


def pixel_range(
    shape: Shape,
    low: float = 0.0,
    high: float = 1.0,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    channel_axis: int = 0,
) -> InputSet:
    """Inputs ``(pixel − mean)/std`` with every pixel in ``[low, high]``: a box.

    ``X_0² = Σ max(|lowest|, |highest|)²`` over all elements; the radius is half the diagonal.

    Parameters
    ----------
    shape : of one sample.
    mean, std : one number, or one per channel.
    """
    means, stds = (np.asarray(values, dtype=np.float64) for values in (mean, std))
    if not low <= high or not math.isfinite(low) or not math.isfinite(high):
        raise InputError("pixel range", f"[{low:g}, {high:g}] is not a finite range", REMEDY)
    if not bool(np.isfinite(means).all()) or not bool(((stds > 0) & np.isfinite(stds)).all()):
        raise InputError("pixel range", "a standard deviation is not positive", "give another std")
    spread = [1] * len(shape)
    for values, name in ((means, "mean"), (stds, "std")):
        if values.ndim != 1 or values.size == 0:
            raise InputError("pixel range", f"{name} is not a list of numbers", REMEDY)
        if values.size > 1:
            if not shape or values.size != shape[channel_axis]:
                finding = f"{values.size} numbers as {name} do not fit samples of shape {shape}"
                raise InputError("pixel range", finding, "give one per channel, or one")
            spread[channel_axis] = values.size
    means, stds = (
        np.broadcast_to(v.reshape(spread if v.size > 1 else (1,) * len(shape)), shape)
        for v in (means, stds)
    )
    lowest, highest = (low - means) / stds, (high - means) / stds
    # two roundings each, relative to what was subtracted
    slack = 4.0 * UNIT_ROUNDOFF * (max(abs(low), abs(high)) + np.abs(means)) / stds + 1e-300
    centre = (lowest + highest) / 2.0
    slack = slack + 4.0 * UNIT_ROUNDOFF * (np.abs(lowest) + np.abs(highest))
    exact = bool((means == 0.0).all()) and bool((stds == 1.0).all())
    most = np.maximum(np.abs(lowest), np.abs(highest)) + (0.0 if exact else slack)
    reach = np.maximum(highest - centre, centre - lowest) + slack
    words = f"pixels in [{low:g}, {high:g}]" + ("" if exact else ", standardised")
    middle = torch.from_numpy(np.array(centre))
    return InputSet(words, _length_up(most), _length_up(reach), middle)


def data_maximum(samples: NDArray[np.generic]) -> InputSet:
    """The samples of one data set: their largest norm says nothing of any other sample."""
    batch = torch.from_numpy(np.array(samples, dtype=np.float64))
    if batch.ndim < 2 or not batch.numel() or not bool(torch.isfinite(batch).all()):
        raise InputError("data set", "holds no finite samples", REMEDY)
    bound = up(largest_norm(batch))
    return InputSet("largest norm in the data", bound, bound, is_private=False)


def just_inside(elements: int) -> float:
    """Factor of a radius at which a computed norm ends, so that the true norm is inside of it."""
    return 1.0 - max(1e-12, 4.0 * gamma(elements + 4))


def _length_up(values: NDArray[np.float64]) -> float:
    """Bound of the l2 norm of an array, exact up to the last bits."""
    most = float(values.max(initial=0.0))
    if most == 0.0:
        return 0.0
    ratios = values / most
    total = math.fsum((ratios * ratios).reshape(-1).tolist())
    return mul_up(most, sqrt_up(mul_up(total, 1.0 + gamma(4))))
