"""One HTML file for certificates, from their JSON object: nothing in it is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.html import sentences, tables
from lipcert.reports.html.bars import histogram_charts
from lipcert.reports.html.curve import TRUTH, curve_charts
from lipcert.reports.html.figures import figures
from lipcert.reports.html.frame import filled
from lipcert.reports.html.record import Record, record_of
from lipcert.reports.numbers import HEADLINE, at_least, at_most
from lipcert.reports.words import plural

if TYPE_CHECKING:
    from lipcert.certification.result import Certificates
    from lipcert.reports.json_format import Json


@renders("html", "Certificates")
def certificates_html(certificates: Certificates) -> str:
    """The page of a result."""
    from lipcert.reports.json_certificates import certificates_object

    return object_html(certificates_object(certificates))


def object_html(values: Mapping[str, Json]) -> str:
    """The page of an object of schema lipcert/certify/2.  Raises InputError for any other."""
    return record_html(record_of(values))


@renders("html", "Record")
def record_html(record: Record) -> str:
    """The page of a result that has been read: the same bytes for the same result."""
    return filled(
        "report.html",
        record=record,
        figures=figures(record),
        curves=curve_charts(record),
        histograms=histogram_charts(record),
        truth=TRUTH,
        tables=tables,
        say=sentences,
        at_least=at_least,
        at_most=at_most,
        plural=plural,
        headline=HEADLINE,
    )
