"""The registry of report formats, and rendering by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lipcert.registry import Registry

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lipcert.bounds.result import LipschitzBound
    from lipcert.certification.result import Certificates
    from lipcert.checker import Verdict
    from lipcert.gating.comparison import Comparison
    from lipcert.gating.result import GateResult
    from lipcert.inspection import Inspection
    from lipcert.reports.html.record import Record
    from lipcert.reports.html.sensitivity_record import SensitivityRecord
    from lipcert.sensitivities.analysis import Analysis

    Result: TypeAlias = (
        Inspection
        | LipschitzBound
        | Certificates
        | Analysis
        | GateResult
        | Comparison
        | Record
        | SensitivityRecord
        | Verdict
    )
    Renderer: TypeAlias = Callable[[Any], str | RenderableType]

R = TypeVar("R", bound="Renderer")

PLAIN_WIDTH = 100
"""Columns of text that is not shown on a terminal."""


@dataclass(frozen=True)
class Format:
    """One report format.

    Parameters
    ----------
    renderers : by the name of the result's class, a function from the result to its text, or to
        something that rich lays out to the width at hand.
    """

    renderers: dict[str, Renderer] = field(default_factory=dict)

    def rendered(self, result: Result) -> str | RenderableType:
        """The result in this format, not laid out yet.  Raises TypeError for other objects."""
        try:
            renderer = self.renderers[type(result).__name__]
        except KeyError:
            known = ", ".join(self.renderers)
            raise TypeError(f"{type(result).__name__} is not one of: {known}") from None
        return renderer(result)


FORMATS: Registry[Format] = Registry("format")
"""``FORMATS[name].rendered(result)``."""


def renders(format: str, result: str) -> Callable[[R], R]:
    """Decorator: the function renders results of the class named ``result`` in ``format``."""

    def enter(renderer: R) -> R:
        if format not in FORMATS:
            FORMATS.register(format)(Format())
        renderers = FORMATS[format].renderers
        if result in renderers:
            raise ValueError(f"format {format!r} renders {result} twice")
        renderers[result] = renderer
        return renderer

    return enter


def formats_of(result: str) -> tuple[str, ...]:
    """Names of the formats that render results of this class: text first, then by name."""
    names = sorted(name for name in FORMATS if result in FORMATS[name].renderers)
    return tuple(sorted(names, key=lambda name: name != "text"))


def render(
    result: Result, format: str = "text", *, width: int = PLAIN_WIDTH, color: bool = False
) -> str:
    """The result as a string that ends in a line break.

    Parameters
    ----------
    format : a name of ``FORMATS``.
    width : columns that text is laid out to; numbers are never cut to fit.
    color : whether text carries ANSI escape codes.
    """
    rendered = FORMATS[format].rendered(result)
    if isinstance(rendered, str):
        return rendered
    from lipcert.reports.tables import laid_out

    return laid_out(rendered, width=width, color=color)
