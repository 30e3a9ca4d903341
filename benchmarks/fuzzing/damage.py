"""Damage to bytes: flipped bits, cuts, splices, forged numbers and lengths."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence

WHOLE = (
    0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 1 << 15, 1 << 16, (1 << 20) + 1, (1 << 31) - 1,
    1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
    -1, -2, -128, -(1 << 31), -(1 << 63),
)  # fmt: skip
"""Numbers at which something is apt to break."""
REAL = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, 1e308, float("inf"), float("nan"))
WORDS = (
    b"nan", b"-inf", b"1e999", b"9" * 400, b"-1", b"0x10", b"1_000", b"\xff\xfe", b"\x00",
    b"\xed\xa0\x80", b"../", b"/etc/passwd", b'"', b"'", b"{", b"[" * 2000, b"\n", b"\r", b",",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")

Damage = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def varint(value: int) -> bytes:
    """A number as protocol buffers write it; negative ones in ten bytes."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes([value])


def flip_bits(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def set_bytes(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 2, 4))):
        content[rng.randrange(len(content))] = rng.choice((0, 1, 127, 128, 254, 255, 65, 47))


def cut_off(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    near = rng.random() < 0.3
    del content[max(0, len(content) - rng.randint(1, 16)) if near else _place(content, rng) :]


def delete(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = _place(content, rng)
    del content[start : start + rng.choice((1, 1, 2, 4, 16, 256))]


def repeat(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = _place(content, rng)
    part = content[start : start + rng.choice((1, 4, 16, 64, 512))]
    content[start:start] = part * rng.choice((1, 1, 2, 10, 100))


def splice(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    start, length = rng.randrange(len(other) + 1), rng.choice((1, 4, 16, 64, 1024))
    part = other[start : start + length]
    at = _place(content, rng)
    content[at : at + (len(part) if rng.random() < 0.5 else 0)] = part


def forge_whole(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A number of 1 to 8 bytes, in either order, over what is there."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    value = rng.choice(WHOLE) + rng.choice((0, 0, 1, -1))
    at = _place(content, rng)
    content[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, order)


def forge_varint(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A varint over one that may be there, or one without an end."""
    at = _place(content, rng)
    end = at
    while end < len(content) - 1 and content[end] > 127 and end - at < 9:
        end += 1
    endless = rng.random() < 0.1
    content[at : end + 1] = b"\xff" * rng.randint(9, 40) if endless else varint(rng.choice(WHOLE))


def forge_real(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    kind = rng.choice(("<f", "<d"))
    value = rng.choice(REAL)
    value = value if kind == "<d" or not 3.4e38 < abs(value) < float("inf") else 3.4e38
    at = _place(content, rng) & ~3
    written = struct.pack(kind, value)
    content[at : at + len(written)] = written


def forge_text_number(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """Another number over one that is written in digits."""
    found = list(_NUMBER.finditer(content))
    if found:
        match = rng.choice(found)
        value = str(rng.choice(WHOLE)) if rng.random() < 0.7 else repr(rng.choice(REAL))
        content[match.start() : match.end()] = value.encode()


def insert_word(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    at = _place(content, rng)
    content[at:at] = rng.choice(WORDS)


def insert_noise(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    at = _place(content, rng)
    content[at:at] = rng.randbytes(rng.choice((1, 4, 16, 256, 4096)))


DAMAGES: tuple[Damage, ...] = (
    flip_bits, set_bytes, cut_off, delete, repeat, splice, forge_whole, forge_varint, forge_real,
    forge_text_number, insert_word, insert_noise,
)  # fmt: skip


def damaged(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The bytes after one or several kinds of damage; ``others`` are what is spliced in."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not found:
            found += b"\0"
        rng.choice(DAMAGES)(found, rng, others)
    return bytes(found)


def _place(content: bytearray, rng: random.Random) -> int:
    """A place, more often among the first bytes, where headers are."""
    reach = len(content) if rng.random() < 0.6 else min(len(content), 256)
    return rng.randrange(reach) if reach else 0
