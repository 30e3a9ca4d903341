"""Images in files or in columns of bytes, decoded by Pillow to channels first.

The first image decides the size and the channels: 1 for grey, 3 for colour (palettes too), 4 with
transparency.  Others are converted to its channels; another size is an error.  Nothing is decoded
before its header has told a sensible size.  The orientation that cameras note is not applied, and
decoders of JPEG and lossy WebP may differ by a step of 1/255 between versions.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipcert.certification.data.extras import imported
from lipcert.errors import InputError

FILE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 1 << 26
"""Most pixels of an image that is decoded."""

_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "P": "RGB",
    "PA": "RGB",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}
"""The mode of a first image, and the one all are then decoded to."""

_REMEDY = "save it as an 8-bit PNG or JPEG image"


def pixel_table(pixel_range: tuple[float, float]) -> np.ndarray:
    """(256,) float32: low + (high - low) * pixel / 255, in float64 and then rounded once."""
    low, high = pixel_range
    values: np.ndarray = low + (high - low) * np.arange(256, dtype=np.float64) / 255
    return values.astype(np.float32)


@dataclass(frozen=True)
class Pictures:
    """Images of one size and mode; ``shape`` is (channels, height, width)."""

    mode: str
    width: int
    height: int
    table: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.mode), self.height, self.width

    @classmethod
    def like(cls, first: bytes, pixel_range: tuple[float, float], place: str) -> Pictures:
        """As the first image is, by its header."""
        image = _opened(first, place)
        mode = _MODES.get(image.mode)
        if mode is None:
            finding = f"has pixels of mode {image.mode[:20]!r}, which are not read"
            raise InputError(place, finding, _REMEDY)
        width, height = image.size
        return cls(mode, width, height, pixel_table(pixel_range))

    def decode(self, content: bytes, place: str) -> np.ndarray:
        """One image as (channels, height, width) float32."""
        image = _opened(content, place)
        if image.size != (self.width, self.height):
            width, height = image.size
            finding = (
                f"is {width} x {height} pixels where the first image is {self.width} x "
                f"{self.height}"
            )
            raise InputError(place, finding, "resize the images to one size")
        if image.mode not in _MODES:
            finding = f"has pixels of mode {image.mode[:20]!r}, which are not read"
            raise InputError(place, finding, _REMEDY)
        try:
            converted = image if image.mode == self.mode else image.convert(self.mode)
            pixels = np.asarray(converted)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise of every kind on damage
            raise _damaged(place, error) from None
        channels_last = pixels.reshape(self.height, self.width, len(self.mode))
        return np.take(self.table, channels_last.transpose(2, 0, 1))


def _opened(content: bytes, place: str) -> Any:
    """The image, its header read and found sensible, its pixels not decoded."""
    pillow = imported("PIL.Image", place)
    try:
        image = pillow.open(io.BytesIO(content), formats=FILE_FORMATS)
        width, height = image.size
        animated = image.format != "MPO" and getattr(image, "is_animated", False)
        deep = any(";16" in str(tile[3]) for tile in image.tile)
    except pillow.DecompressionBombError:
        finding = f"declares far more than {MAX_PIXELS} pixels"
        raise InputError(place, finding, "resize it") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise of every kind on damage
        raise _damaged(place, error) from None
    if width * height > MAX_PIXELS:
        finding = f"declares {width} x {height} pixels, above the limit of {MAX_PIXELS}"
        raise InputError(place, finding, "resize it")
    if animated:
        raise InputError(place, "is an animation", "save each frame as an image")
    if deep:
        raise InputError(place, "has 16 bits a value, and 8 are read", _REMEDY)
    return image


def _damaged(place: str, error: Exception) -> InputError:
    """The sentence for an image that does not decode."""
    if type(error).__name__ == "UnidentifiedImageError":
        kinds = ", ".join(FILE_FORMATS)
        return InputError(place, f"is no image of the kinds {kinds}, or a damaged one", _REMEDY)
    reason = str(error)[:120] or type(error).__name__
    return InputError(place, f"is a damaged image ({reason})", _REMEDY)
