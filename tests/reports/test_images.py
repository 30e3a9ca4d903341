"""Images: PNG files that a decoder reads back, and nothing else is taken for one."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from lipcert.reports.images import LARGEST, SIGNATURE, START, png_size, png_url


def png_bytes(url: str) -> bytes:
    assert url.startswith(START)
    return base64.b64decode(url.removeprefix(START), validate=True)


def chunks(png: bytes) -> dict[bytes, bytes]:
    """Type and content of every chunk, their sums checked."""
    assert png.startswith(SIGNATURE)
    rest, found = png[len(SIGNATURE) :], {}
    while rest:
        (length,) = struct.unpack_from(">I", rest)
        kind, body = rest[4:8], rest[8 : 8 + length]
        assert struct.unpack_from(">I", rest, 8 + length) == (zlib.crc32(kind + body),)
        found[kind], rest = body, rest[12 + length :]
    return found


def decoded(url: str) -> np.ndarray:
    """Values ``(channels, height, width)``, read as the specification says."""
    found = chunks(png_bytes(url))
    width, height, depth, color = struct.unpack_from(">IIBB", found[b"IHDR"])
    assert (depth, list(found)) == (8, [b"IHDR", b"IDAT", b"IEND"])
    channels = {0: 1, 2: 3}[color]
    lines = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8)
    lines = lines.reshape(height, 1 + width * channels)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, channels).transpose(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (5, 7), (28, 28)])
def test_pixels_come_back(channels: int, size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (channels, *size))
    assert np.array_equal(decoded(png_url(values / 255.0)), values)
    assert png_size(png_url(values / 255.0)) == size[::-1]


def test_another_decoder_agrees() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is an extra")
    values = np.random.default_rng(1).random((3, 9, 6))
    opened: Any = image.open(io.BytesIO(png_bytes(png_url(values))))
    assert opened.mode == "RGB"
    assert np.array_equal(np.asarray(opened).transpose(2, 0, 1), decoded(png_url(values)))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0, 0.25, 0.5], [0, 64, 128]),
        ([0.0, 51.0, 255.0], [0, 51, 255]),
        ([0.0, 2.0, 4.0], [0, 2, 4]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([100.0, 300.0, 500.0], [0, 128, 255]),
        ([-3.0, -3.0, -3.0], [0, 0, 0]),
        ([-1e308, 0.0, 1e308], [0, 128, 255]),
        ([0.0, np.nan, 1.0], [0, 0, 255]),
    ],
)
def test_ranges(values: list[float], shown: list[int]) -> None:
    assert decoded(png_url(np.array(values).reshape(1, 1, 3))).ravel().tolist() == shown


@pytest.mark.parametrize("size", [(224, 224), (65, 3), (1, 4000)])
def test_large_images_are_thinned_out(size: tuple[int, int]) -> None:
    url = png_url(np.random.default_rng(2).random((3, *size)))
    assert max(decoded(url).shape[1:]) <= LARGEST
    assert png_size(url) is not None
    assert len(url) < 20_000


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 channels"):
        png_url(np.zeros((2, 4, 4)))


def altered(place: int, new: bytes) -> str:
    png = bytearray(png_bytes(png_url(np.zeros((1, 4, 4)))))
    png[place : place + len(new)] = new
    return START + base64.b64encode(bytes(png)).decode()


@pytest.mark.parametrize(
    "url",
    [
        "",
        START,
        "https://example.org/a.png",
        "javascript:alert(1)",
        "data:image/svg+xml;base64,PHN2Zy8+",
        f'{START}AAAA" onerror="alert(1)',
        f"{START}AAAA\n",
        f"{START}AAAAA",
        f"{START}{'A' * 400}",
        START + base64.b64encode(SIGNATURE).decode(),
        png_url(np.zeros((1, 4, 4))).replace("png", "PNG"),
        png_url(np.zeros((1, 4, 4))) + " ",
        altered(16, struct.pack(">I", 100_000)),
        altered(20, struct.pack(">I", 0)),
        altered(24, b"\x10"),
        altered(25, b"\x03"),
        altered(12, b"tEXt"),
    ],
)
def test_nothing_else_is_taken_for_an_image(url: str) -> None:
    assert png_size(url) is None
