"""Pixels as PNG files in a data URL (PNG specification, second edition; zlib alone)."""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LARGEST = 64
"""Pixels of a side beyond which an image is thinned out."""
START = "data:image/png;base64,"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">I4sIIBBBBB")
"""Length, type and content of the first chunk."""
COLORS = {1: 0, 3: 2}
"""PNG's type of colour for a number of channels."""
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)


def png_url(pixels: np.ndarray) -> str:
    """Grey or RGB pixels ``(1 or 3, height, width)`` as a ``data:image/png`` URL.

    Values are stretched from their own range to 0..255 unless they lie in [0, 1] or [0, 255].
    Raises ValueError for another number of channels.
    """
    import numpy as np

    step = max(1, -(-max(pixels.shape[1:]) // LARGEST))
    thinned = np.nan_to_num(np.asarray(pixels, dtype=np.float64)[:, ::step, ::step])
    if thinned.shape[0] not in COLORS:
        raise ValueError(f"{thinned.shape[0]} channels are neither grey nor RGB")
    low, high = float(thinned.min()), float(thinned.max())
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    elif low >= 0.0 and high <= 255.0:
        low, high = 0.0, 255.0
    unit = (thinned / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    data = np.rint(unit * 255.0).astype(np.uint8).transpose(1, 2, 0)
    height, width, channels = data.shape
    lines = b"".join(b"\0" + data[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, COLORS[channels], 0, 0, 0)
    png = SIGNATURE + b"".join(
        _chunk(kind, body)
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    )
    return START + base64.b64encode(png).decode("ascii")


def png_size(url: str) -> tuple[int, int] | None:
    """Width and height of an image that :func:`png_url` could have made; None for any other text.

    An image of another kind or larger than ``LARGEST`` is refused by its header alone.
    """
    code = url.removeprefix(START)
    if code == url or not BASE64.fullmatch(code):
        return None
    try:
        png = base64.b64decode(code, validate=True)
    except binascii.Error:
        return None
    rest = png.removeprefix(SIGNATURE)
    if len(png) == len(rest) or len(rest) < HEADER.size:
        return None
    length, kind, width, height, depth, color, *others = HEADER.unpack_from(rest)
    known = (length, kind, depth, others) == (13, b"IHDR", 8, [0, 0, 0])
    sized = 1 <= width <= LARGEST and 1 <= height <= LARGEST
    return (width, height) if known and sized and color in COLORS.values() else None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
