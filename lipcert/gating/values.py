"""Readers of the values of a check's keys: each takes a place for its message, and a TOML value."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipcert.errors import InputError

Reader = Callable[[str, Any], Any]

NORMS = ("l2", "l1", "linf")
DEVICES = ("cpu", "cuda", "auto")
SEMANTICS = ("real", "float32")
LARGEST_EXPONENT = 300
"""Power of ten beyond which a number is no size: its fraction would fill the memory."""


def read_text(place: str, value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InputError(place, f"is {shown(value)}, not text", "write it in quotation marks")
    return value


def read_path(place: str, value: Any) -> Path:
    """A path, not resolved yet."""
    return Path(read_text(place, value)).expanduser()


def chooser(names: tuple[str, ...]) -> Reader:
    """A reader of one of these names."""

    def read_choice(place: str, value: Any) -> str:
        if value not in names:
            raise InputError(place, f"is {shown(value)}", f"choose one of: {', '.join(names)}")
        return str(value)

    return read_choice


def read_number(place: str, value: Any) -> str:
    """A finite number that is not negative, as the text that says it exactly."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InputError(place, f"is {shown(value)}, not a number", "write a number such as 0.5")
    number = Decimal(value)
    if not number.is_finite() or number < 0 or abs(number.adjusted()) > LARGEST_EXPONENT:
        raise InputError(place, f"is {number}", "write a finite number of 0 or more")
    return str(number)


def read_seconds(place: str, value: Any) -> float:
    """A positive number of seconds."""
    seconds = float(read_number(place, value))
    if not seconds > 0.0:
        raise InputError(place, "is 0", "write a positive number of seconds")
    return seconds


def read_share(place: str, value: Any) -> str:
    """A share of the samples, from 0 to 1."""
    text = read_number(place, value)
    if Fraction(text) > 1:
        percent = f"{Decimal(text) / 100}" if Fraction(text) <= 100 else "0.9"
        raise InputError(
            place, f"is {text}, outside 0 to 1", f"write a share of the samples, such as {percent}"
        )
    return text


def read_sizes(place: str, value: Any) -> tuple[str, ...]:
    """One ε or several, as text."""
    listed = value if isinstance(value, list) else [value]
    return distinct(place, [read_size(place, item) for item in listed])


def read_size(place: str, value: Any) -> str:
    """An ε: a number, or text such as "36/255"."""
    text = value.strip() if isinstance(value, str) else read_number(place, value)
    if size_value(text) is None:
        raise InputError(
            place, f"{shown(text)} is no perturbation size", 'write a number, or "36/255"'
        )
    return text


def read_certified(place: str, value: Any) -> dict[str, str]:
    """``{ "36/255" = 0.6 }``: for each ε the least share of certified samples."""
    if not isinstance(value, dict) or not value:
        raise InputError(
            place, f"is {shown(value)}, not a table of sizes", 'write { "36/255" = 0.6 }'
        )
    shares = {}
    for size, share in value.items():
        if isinstance(share, dict):
            raise InputError(place, f"has a table at {size!r}", 'quote sizes: { "0.5" = 0.6 }')
        shares[read_size(place, size)] = read_share(f"{place}, {size!r}", share)
    distinct(place, list(shares))
    return shares


def read_range(place: str, value: Any) -> tuple[float, float]:
    """``[0, 1]``: the lowest and the highest valid value."""
    numbers = value if isinstance(value, list) else []
    fine = len(numbers) == 2 and all(
        isinstance(n, int | Decimal) and not isinstance(n, bool) and Decimal(n).is_finite()
        for n in numbers
    )
    if not fine or not numbers[0] < numbers[1]:
        raise InputError(place, f"is {shown(value)}", "write two numbers such as [0, 1]")
    return float(numbers[0]), float(numbers[1])


def read_shape(place: str, value: Any) -> tuple[int, ...]:
    """``[3, 32, 32]`` or ``"3x32x32"``."""
    cells = value.lower().replace("×", "x").split("x") if isinstance(value, str) else value
    if isinstance(value, str):
        cells = [int(cell) if cell.strip().isdecimal() else 0 for cell in cells]
    if not isinstance(cells, list) or not cells or not all(type(c) is int and c > 0 for c in cells):
        raise InputError(place, f"is {shown(value)}, not a shape", "write [3, 32, 32]")
    return tuple(cells)


def size_value(text: str) -> Fraction | None:
    """The exact value of a number or fraction of 0 or more, None where the text is none."""
    numerator, _, denominator = text.partition("/")
    try:
        parts = [Decimal(numerator.strip()), Decimal(denominator.strip() or "1")]
        if not all(part.is_finite() and abs(part.adjusted()) <= LARGEST_EXPONENT for part in parts):
            return None
        value = Fraction(parts[0]) / Fraction(parts[1])
    except ArithmeticError:
        return None
    return value if value >= 0 else None


def distinct(place: str, sizes: list[str]) -> tuple[str, ...]:
    """The sizes, none of which is there twice under two names."""
    seen: dict[Fraction | None, str] = {}
    for text in sizes:
        other = seen.setdefault(size_value(text), text)
        if other is not text:
            raise InputError(place, f"{other!r} and {text!r} are the same size", "keep one")
    return tuple(sizes)


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    text = f"{value}" if isinstance(value, int | Decimal) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
