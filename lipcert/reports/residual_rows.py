"""What the readable formats tell of residual blocks, as rows of strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipcert.reports.content import YES
from lipcert.reports.numbers import at_most
from lipcert.reports.words import plural

if TYPE_CHECKING:
    from lipcert.inspection import Inspection

HEADING = "Residual blocks x + g(x)"


def block_titles(inspection: Inspection) -> tuple[str, ...]:
    """Heads of the columns of :func:`block_rows`."""
    norm = inspection.norm
    return "sum", "x", "g", f"{norm} Lip(g) ≤", "invertible", "Lip of inverse ≤"


def block_rows(inspection: Inspection) -> list[tuple[str, ...]]:
    """Name, what x and g are, bound of Lip(g), whether the block is invertible, of the inverse."""
    return [
        (
            block.name,
            block.start,
            _stretch(block.branch),
            at_most(block.norm),
            YES if block.is_invertible else "not proved",
            at_most(block.inverse) if block.is_invertible else "",
        )
        for block in inspection.blocks
    ]


def _stretch(names: Sequence[str]) -> str:
    """A node, or the first and the last of several."""
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}" if names else ""


def block_note(inspection: Inspection) -> str:
    """How many blocks are invertible."""
    count = sum(block.is_invertible for block in inspection.blocks)
    total = plural(len(inspection.blocks), "residual block")
    return f"{count} of {total} invertible, as Lip(g) < 1 is proved"
