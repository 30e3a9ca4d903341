"""Values of options that need reading: shapes, ranges, report files, method names."""

from __future__ import annotations

import math
from pathlib import Path

import click

from lipcert.reports import FORMATS

METHOD_NAMES = ("auto", "autolip", "averaged")
"""Methods named in the help text, so that it needs no import of torch; any registered is taken."""


class ShapeType(click.ParamType):
    """``3x32x32`` as ``(3, 32, 32)``."""

    name = "shape"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Positive sizes separated by x, × or commas."""
        if isinstance(value, tuple):
            return value
        cells = str(value).lower().replace("×", "x").replace(",", "x").split("x")
        if not all(cell.strip().isdecimal() and int(cell) > 0 for cell in cells):
            self.fail(f"{value!r} is not a shape such as 3x32x32.", param, ctx)
        return tuple(map(int, cells))


class RangeType(click.ParamType):
    """``LOW,HIGH`` as two numbers."""

    name = "range"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Two finite numbers, the lower one first."""
        if isinstance(value, tuple):
            return value
        try:
            low, high = map(float, str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a range such as 0,1.", param, ctx)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            self.fail(f"{value!r} does not run from a lower to a higher number.", param, ctx)
        return low, high


class ReportType(click.ParamType):
    """``FORMAT=FILE`` as the two."""

    name = "report"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """A known format and a file name."""
        if isinstance(value, tuple):
            return value
        name, equals, file = str(value).partition("=")
        if not equals or not file:
            self.fail(f"{value!r} is not FORMAT=FILE, such as json=report.json.", param, ctx)
        if name not in FORMATS:
            known = ", ".join(FORMATS)
            self.fail(f"{name!r} is not a format; choose one of: {known}.", param, ctx)
        return name, Path(file)


class MethodType(click.ParamType):
    """The name of a bound method, or "auto"."""

    name = "method"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The names of the help text."""
        return f"[{'|'.join(METHOD_NAMES)}]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Names beyond the help text are looked up in the registry."""
        name = str(value)
        if name not in METHOD_NAMES:
            from lipcert.bounds import METHODS

            if name not in METHODS:
                known = ", ".join(("auto", *METHODS))
                self.fail(f"{name!r} is not a method; choose one of: {known}.", param, ctx)
        return name
