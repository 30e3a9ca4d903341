"""Labels as they are read, and checked to be class indices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipcert.errors import InputError

LABEL_NAMES = ("label", "y", "class", "target", "labels")
"""Names of the label column in tables, in lower case; the first is taken where several are."""

MAX_EXACT_WHOLE = 2.0**53
"""Whole numbers of at most this size are exact in float64."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels as read, with the place they came from, such as ``data.npz[y]``."""

    values: np.ndarray
    place: str


def label_index(names: list[str], place: str) -> int | None:
    """The index of the label column among the column names; None if there is none."""
    lower = [name.lower() for name in names]
    named = [index for index, name in enumerate(lower) if name in LABEL_NAMES]
    named = [index for index in named if lower[index] == LABEL_NAMES[0]] or named
    if len(named) > 1:
        found = ", ".join(repr(names[index]) for index in named)
        raise InputError(place, f"has several label columns: {found}", "call one of them label")
    return named[0] if named else None


def checked_labels(labels: Labels, samples: int) -> np.ndarray:
    """The labels as (samples,) int64; a column of shape (samples, 1) is accepted.

    Raises
    ------
    InputError : another number or shape, or a label that is neither a class index nor -1 or +1.
    """
    y, place = labels.values, labels.place
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2:
        finding = f"has shape {y.shape}: one-hot labels or scores, not class indices"
        raise InputError(place, finding, "save y.argmax(axis=1)")
    if y.ndim != 1:
        finding = f"has shape {y.shape} where labels take ({samples},)"
        raise InputError(place, finding, "save one class index a sample")
    if len(y) != samples:
        finding = f"holds {len(y)} labels for {samples} samples"
        raise InputError(place, finding, "give one label a sample")
    if y.dtype.kind == "f":
        y = y.astype(np.float64)
        whole = (np.abs(y) <= MAX_EXACT_WHOLE) & (y == np.floor(y))
    else:
        whole = y <= np.iinfo(np.int64).max
    _refuse_label(place, y, ~whole, "not a class index", "save whole numbers counted from 0")
    negative = (y < 0) & ~np.all((y == -1) | (y == 1))
    _refuse_label(place, y, negative, "below zero", "number the classes from 0")
    return y.astype(np.int64)


def _refuse_label(place: str, y: np.ndarray, wrong: np.ndarray, what: str, remedy: str) -> None:
    """Raise for the first sample whose label is ``wrong``."""
    if wrong.any():
        first = int(np.argmax(wrong))
        finding = f"the label of sample {first} is {y[first]}, {what}"
        raise InputError(place, finding, remedy)
