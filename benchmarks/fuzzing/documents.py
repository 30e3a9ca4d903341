"""Damage to JSON documents: any value exchanged, moved, left out, or nested."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

from .damage import REAL, WHOLE

TEXTS = (
    "", "x", "y", "nan", "inf", "1/0", "1/3", "-1/3", "0", "9" * 1990, "1/" + "9" * 1990,
    "x" * 9999, "\ud800", "\x00", "../x", "/etc/passwd", "l2", "float32", "AAAA", "=", "true",
)  # fmt: skip

Place = tuple[Any, Any]
"""A container and the key or index of a value in it."""


def edited_json(content: bytes, rng: random.Random) -> bytes:
    """The document with one or several values changed; it stays JSON."""
    return json.dumps(edited(json.loads(content), rng)).encode()


def edited(document: Any, rng: random.Random) -> Any:
    """The same for a document in memory, which is changed in place."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(document)
        if not places:
            return rng.choice((None, [], 3, "x"))
        holder, key = rng.choice(places)
        what = rng.random()
        if what < 0.15:
            del holder[key]
        elif what < 0.3:
            other, place = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))
        elif what < 0.35:
            holder[key] = _deep(rng)
        elif what < 0.4 and isinstance(holder, list):
            holder.extend([holder[key]] * rng.choice((1, 2, 100)))
        elif what < 0.45 and isinstance(holder, dict):
            holder[rng.choice(TEXTS)] = rng.choice(TEXTS)
        else:
            holder[key] = _other(holder[key], rng)
    return document


def _places(document: Any) -> list[Place]:
    found: list[Place] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


def _deep(rng: random.Random) -> Any:
    found: Any = rng.choice((None, 1, "x"))
    for _ in range(rng.choice((2, 50, 400))):
        found = [found] if rng.random() < 0.5 else {"x": found}
    return found


def _other(value: Any, rng: random.Random) -> Any:
    """Something like the value, or something else altogether."""
    if isinstance(value, bool) or value is None or rng.random() < 0.3:
        return rng.choice((None, True, False, [], {}, rng.choice(TEXTS), rng.choice(WHOLE),
                           rng.choice(REAL)))  # fmt: skip
    if isinstance(value, int):
        return rng.choice((value + 1, -value, value - 1, rng.choice(WHOLE), 10**4000))
    if isinstance(value, float):
        return rng.choice((value * (1 + 1e-6), -value, rng.choice(REAL)))
    if isinstance(value, str):
        return _other_text(value, rng)
    return rng.choice((None, rng.choice(TEXTS), rng.choice(WHOLE)))


def _other_text(value: str, rng: random.Random) -> str:
    if "/" in value and rng.random() < 0.5:
        top, _, bottom = value.partition("/")
        return rng.choice((f"{bottom}/{top}", f"-{value}", f"{top}0/{bottom}", f"{top}/0", top))
    if value and rng.random() < 0.6:
        try:
            held = bytearray(base64.b64decode(value, validate=True))
        except ValueError:
            held = bytearray()
        if held:
            at = rng.randrange(len(held))
            whole = rng.choice(WHOLE) & (1 << 64) - 1
            written = rng.choice((b"\xff" * 8, b"\x00" * 8, whole.to_bytes(8, "little")))
            if rng.random() < 0.5:
                held[at] ^= 1 << rng.randrange(8)
            else:
                held[at : at + rng.choice((1, 4, 8))] = written
            return base64.b64encode(held).decode()
    return rng.choice(TEXTS)
