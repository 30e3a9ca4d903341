"""What a data format is: a file that says which paths it recognises, and how they are opened.

An entry of ``FORMATS`` takes no memory that the file's own size does not justify, runs nothing
found in the file, and opens no path that the file names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lipcert.certification.data.dataset import Samples
from lipcert.certification.data.files import Origin
from lipcert.certification.data.labels import Labels
from lipcert.errors import InputError, NothingEvaluatedError
from lipcert.registry import Registry

MAX_SAMPLE_BYTES = 1 << 30
"""Most bytes of one sample."""


@dataclass(frozen=True)
class Request:
    """What is asked of a format.

    Parameters
    ----------
    path : a file or folder that the format recognises.
    wanted : of {"x", "y"}: samples, labels or both.
    pixel_range : the values that the pixels 0 and 255 of an image become.
    """

    path: Path
    wanted: frozenset[str]
    pixel_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Opened:
    """What a format found: what was wanted, and a file with the labels where they are elsewhere."""

    origin: Origin
    samples: Samples | None = None
    labels: Labels | None = None
    labels_beside: Path | None = None


@dataclass(frozen=True)
class Format:
    """One data format.

    Parameters
    ----------
    written : how its files are called, for a list of formats: ".npz", "a folder of images".
    recognises : whether a path is for this format, by its name or by a look at a folder.
    open : opens it: cheap, and the samples unread.
    """

    written: str
    recognises: Callable[[Path], bool]
    open: Callable[[Request], Opened]


FORMATS: Registry[Format] = Registry("data format")


def by_suffix(suffix: str) -> Callable[[Path], bool]:
    """Recognises files by their suffix, in capitals too."""

    def recognises(path: Path) -> bool:
        return path.suffix.lower() == suffix and not path.is_dir()

    return recognises


def check_sample_shape(samples: int, shape: tuple[int, ...], itemsize: int, place: str) -> None:
    """Refuse no samples, samples without values, and samples larger than ``MAX_SAMPLE_BYTES``."""
    if samples == 0:
        raise NothingEvaluatedError(place, "holds no samples", "give at least one sample")
    size = math.prod(shape) * itemsize
    if size == 0:
        finding = f"has shape {(samples, *shape)}: its samples hold no values"
        raise InputError(place, finding, "save an array of shape (samples, ...)")
    if size > MAX_SAMPLE_BYTES:
        finding = f"has samples of {size} bytes each, above the limit of {MAX_SAMPLE_BYTES}"
        raise InputError(place, finding, "save an array of shape (samples, ...)")
