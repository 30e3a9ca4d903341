"""Readers of option values: shapes, ranges, report files, method names.

Each raises click's BadParameter, which names the option.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import click

METHOD_NAMES = ("auto", "blocks", "exact", "autolip", "averaged", "lipsdp", "lipsdp-layer")
"""Methods named in the help text, so that it needs no import of torch; any registered is taken."""


def read_shape(text: str) -> tuple[int, ...]:
    """``3x32x32`` as ``(3, 32, 32)``: positive sizes separated by x, × or commas."""
    cells = text.lower().replace("×", "x").replace(",", "x").split("x")
    if not all(cell.strip().isdecimal() and int(cell) > 0 for cell in cells):
        raise click.BadParameter(f"{text!r} is not a shape such as 3x32x32.")
    return tuple(map(int, cells))


def read_range(text: str) -> tuple[float, float]:
    """``LOW,HIGH`` as two finite numbers, the lower one first."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a range such as 0,1.") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise click.BadParameter(f"{text!r} does not run from a lower to a higher number.")
    return low, high


def report_reader(names: Sequence[str]) -> Callable[[str], tuple[str, Path]]:
    """A reader of ``FORMAT=FILE`` as one of the formats ``names`` and a file."""

    def read_report(text: str) -> tuple[str, Path]:
        name, _, file = text.partition("=")
        if not file:
            raise click.BadParameter(f"{text!r} is not FORMAT=FILE, such as json=report.json.")
        if name not in names:
            known = ", ".join(sorted(names))
            raise click.BadParameter(f"{name!r} is not a format; choose one of: {known}.")
        return name, Path(file)

    return read_report


def read_method(name: str) -> str:
    """The name of a bound method; names beyond the help text are looked up in the registry."""
    if name not in METHOD_NAMES:
        from lipcert.bounds import METHODS

        if name not in METHODS:
            known = ", ".join(("auto", *METHODS))
            raise click.BadParameter(f"{name!r} is not a method; choose one of: {known}.")
    return name


def read_workers(text: str) -> int | str:
    """A number of processes, or ``auto``."""
    if text == "auto":
        return text
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is neither a number of processes nor auto.")
    return int(text)
