"""Damage to npy arrays, to zip archives of them, and to what gzip packed."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
from collections.abc import Sequence

from .damage import WHOLE, damaged

DESCRIPTIONS = ("<f4", ">f8", "|b1", "|O", "<U9999999", "<V8", "<c16", "<f2", "<M8[s]", "=f4", "f4")
SHAPES = (
    "()", "(0,)", "(3,)", "(-1,)", "(8589934592,)", "(1, 4611686018427387904, 8)", "(2, 2, 2,)",
    "(4294967296, 4294967296)", "(1.5,)", "(True,)", "(9,)" + " " * 300, "(" * 90 + "1" + ")" * 90,
    "(" + "1," * 40 + ")", "(99999999999999999999999,)", "(0, 9223372036854775807)",
)  # fmt: skip


def npy(descr: str, order: object, shape: str, values: bytes, version: int = 1) -> bytes:
    """An npy file that says what it is told to."""
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + values


def edited_npy(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """An npy file with another header, or other bytes."""
    if rng.random() < 0.5:
        return damaged(content, rng, others)
    start = 10 + int.from_bytes(content[8:10], "little")
    return npy(
        rng.choice(DESCRIPTIONS),
        rng.choice((True, False, "None", "[]")),
        rng.choice(SHAPES),
        content[start : start + rng.choice((0, 8, 64, 1 << 20))],
        rng.choice((1, 1, 2, 3, 9)),
    )


def edited_zip(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """An archive with other members, with forged sizes, or other bytes."""
    if rng.random() < 0.4:
        return damaged(content, rng, others)
    stream = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", kind) as new:
        for name in old.namelist():
            held = old.read(name)
            if rng.random() < 0.6:
                held = edited_npy(held, rng, others)
            if rng.random() < 0.05:
                held += bytes(rng.choice((1 << 16, 1 << 24)))
            for _ in range(rng.choice((1, 1, 1, 1, 0, 2))):
                called = name if rng.random() < 0.9 else rng.choice(("../x.npy", "x", "é.npy"))
                new.writestr(called, held)
    found = bytearray(stream.getvalue())
    if rng.random() < 0.5:
        _forge_directory(found, rng)
    return bytes(found)


def _forge_directory(content: bytearray, rng: random.Random) -> None:
    """Another number in a local header, an entry of the directory, or its end."""
    marks = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06")
    at = content.find(rng.choice(marks), rng.randrange(len(content)) if rng.random() < 0.5 else 0)
    if at < 0:
        return
    place = at + rng.randrange(4, 46)
    width = rng.choice((2, 4))
    value = rng.choice(WHOLE) & (1 << 8 * width) - 1
    content[place : place + width] = value.to_bytes(width, "little")


def edited_gzip(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """What was packed, damaged before or after packing."""
    if rng.random() < 0.4:
        return damaged(content, rng, others)
    inner = damaged(gzip.decompress(content), rng, others)
    if rng.random() < 0.1:
        inner += bytes(rng.choice((1 << 16, 1 << 24)))
    return gzip.compress(inner, 1) * rng.choice((1, 1, 1, 2))
