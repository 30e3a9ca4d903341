"""Opening a data set: the format that recognises it, its labels, and the checks of both."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from lipcert.certification.data.arrays import ArraySamples
from lipcert.certification.data.dataset import Dataset
from lipcert.certification.data.files import MemoryOrigin, Origin, failures_told, regular_size
from lipcert.certification.data.formats import FORMATS, Format, Opened, Request
from lipcert.certification.data.labels import Labels, checked_labels
from lipcert.errors import InputError, NothingEvaluatedError


def open_dataset(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> Dataset:
    """Open a labelled data set: cheap, with the labels read and the samples not.

    Parameters
    ----------
    path : a file or folder that one of ``FORMATS`` recognises.
    labels : a file with the labels, which then replace any in ``path``; for a format without
        labels, the file beside it that holds them by its name (``y.npy`` beside ``x.npy``) is
        found unasked.
    pixel_range : the values that the pixels 0 and 255 of an image become.

    Raises
    ------
    InputError : a file that cannot be used, or samples and labels that do not go together.
    NothingEvaluatedError : no sample.
    """
    path = Path(path)
    low, high = pixel_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        finding = f"runs from {low} to {high}"
        raise InputError("pixel range", finding, "give a lowest and a higher value")
    wanted = frozenset({"x", "y"} if labels is None else {"x"})
    opened = _opened(Request(path, wanted, pixel_range))
    if opened.samples is None:
        raise InputError(path.name, "holds labels and no samples", "name the file of the samples")
    try:
        origins: tuple[Origin, ...] = (opened.origin,)
        found = opened.labels
        elsewhere = opened.labels_beside if labels is None else Path(labels)
        if elsewhere is not None:
            second = _opened(Request(elsewhere, frozenset({"y"})))
            origins, found = (opened.origin, second.origin), second.labels
        if found is None:
            raise InputError(path.name, "holds samples without labels", "pass --labels")
        y = checked_labels(found, len(opened.samples))
    except BaseException:
        opened.samples.close()
        raise
    return Dataset(opened.samples, y, str(path), _short_name(path), origins)


def dataset_of_arrays(x: np.ndarray, y: np.ndarray) -> Dataset:
    """A data set of arrays in memory: x (samples, *shape), y (samples,) class indices.

    Raises
    ------
    InputError : arrays that do not go together, or not of numbers.
    NothingEvaluatedError : no sample.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0:
        raise InputError("data", "is a single number", "give arrays of shape (samples, ...)")
    if not len(x):
        raise NothingEvaluatedError("data", "holds no samples", "give at least one")
    if len(x) != len(y):
        raise InputError("data", f"has {len(x)} samples and {len(y)} labels")
    if x.dtype.kind not in "fiub" or y.dtype.kind not in "iub":
        raise InputError("data", f"has types {x.dtype} and {y.dtype}", "give numbers")
    if x.size == 0:
        raise InputError("data", f"has shape {x.shape}: its samples hold no values")
    checked = checked_labels(Labels(y, "data"), len(x))
    return Dataset(
        ArraySamples(x, "data"), checked, "", "arrays in memory", (MemoryOrigin((x, y)),)
    )


def _opened(request: Request) -> Opened:
    """What the format of a path finds in it."""
    with failures_told(request.path):
        try:
            return _format_of(request.path).open(request)
        except MemoryError:
            finding = "needs more memory to be opened than there is"
            raise InputError(request.path.name, finding, "keep fewer samples") from None


def _format_of(path: Path) -> Format:
    """The format that recognises a path."""
    place = path.name or str(path)
    found = path.is_dir()
    if not found:
        regular_size(path, place)
    for name in FORMATS:
        if FORMATS[name].recognises(path):
            return FORMATS[name]
    known = ", ".join(sorted(FORMATS[name].written for name in FORMATS))
    finding = "is a folder" if found else f"has the suffix {path.suffix.lower()!r}"
    raise InputError(place, f"{finding}, which no data format reads", f"choose one of: {known}")


def _short_name(path: Path) -> str:
    """A name for reports: without suffixes, and without the ``_x`` of samples alone."""
    if path.is_dir():
        return path.resolve().name
    return path.stem.removesuffix("_x")
