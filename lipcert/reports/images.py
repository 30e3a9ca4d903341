"""Pixels as PNG files in a data URL (PNG specification, second edition; zlib alone)."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

LARGEST = 64
"""Pixels of a side beyond which an image is thinned out."""


def png_url(pixels: np.ndarray) -> str:
    """Grey or RGB pixels ``(1 or 3, height, width)`` as a ``data:image/png`` URL.

    Values are stretched from their own range to 0..255 unless they lie in [0, 1] or [0, 255].
    """
    step = max(1, -(-max(pixels.shape[1:]) // LARGEST))
    thinned = np.asarray(pixels, dtype=np.float64)[:, ::step, ::step]
    low, high = float(thinned.min()), float(thinned.max())
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    elif low >= 0.0 and high <= 255.0:
        low, high = 0.0, 255.0
    scaled = (thinned - low) * (255.0 / ((high - low) or 1.0))
    data = np.rint(scaled).astype(np.uint8).transpose(1, 2, 0)
    height, width, channels = data.shape
    lines = b"".join(b"\0" + data[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, body)
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
