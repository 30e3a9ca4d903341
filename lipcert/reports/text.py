"""Text for people: tables that fit the terminal, the bounds rounded outward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.reports.formats import renders

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lipcert.bounds.result import LipschitzBound
    from lipcert.certification.result import Certificates
    from lipcert.inspection import Inspection


@renders("text", "Inspection")
def inspection_text(inspection: Inspection) -> RenderableType:
    """Layers, the factors of the product, and what stands in the way of a finite bound."""
    from lipcert.reports.text_inspection import inspection_layout

    return inspection_layout(inspection)


@renders("text", "LipschitzBound")
def bound_text(bound: LipschitzBound) -> RenderableType:
    """The bound, the lower bound, their ratio, and what is proved."""
    from lipcert.reports.text_bound import bound_layout

    return bound_layout(bound)


@renders("text", "Certificates")
def certificates_text(certificates: Certificates) -> RenderableType:
    """Counts, a bar for every ε, and statistics of the radii."""
    from lipcert.reports.text_certificates import certificates_layout

    return certificates_layout(certificates)
