"""One HTML file for sensitivities, from their JSON object, in the frame of all pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.html import sensitivity_sentences as sentences
from lipcert.reports.html import sensitivity_tables as tables
from lipcert.reports.html.frame import filled
from lipcert.reports.html.rows import row_charts, spans_decades
from lipcert.reports.html.sensitivity_charts import (
    layer_measures,
    tightening_measures,
    truth_measures,
)
from lipcert.reports.html.sensitivity_record import SensitivityRecord, sensitivity_record_of
from lipcert.reports.numbers import at_most
from lipcert.reports.sensitivity_content import (
    arithmetic,
    headline,
    multiplier_text,
    record_of_analysis,
)
from lipcert.reports.words import plural

if TYPE_CHECKING:
    from lipcert.reports.json_format import Json
    from lipcert.sensitivities.analysis import Analysis


@renders("html", "Analysis")
def analysis_html(analysis: Analysis) -> str:
    """The page of a result."""
    return sensitivity_html(record_of_analysis(analysis))


def sensitivity_object_html(values: Mapping[str, Json]) -> str:
    """The page of an object of schema lipcert/sensitivity/1.  Raises InputError for any other."""
    return sensitivity_html(sensitivity_record_of(values))


@renders("html", "SensitivityRecord")
def sensitivity_html(record: SensitivityRecord) -> str:
    """The page of a result that has been read: the same bytes for the same result."""
    tightenings, layers = tightening_measures(record), layer_measures(record)
    truth = truth_measures(record)
    return filled(
        "sensitivity.html",
        record=record,
        figures=sentences.figures(record),
        tightenings=tightenings,
        tightening_charts=row_charts(tightenings),
        layers=layers,
        layer_charts=row_charts(layers),
        layer_powers=spans_decades(layers),
        truths=truth,
        truth_charts=row_charts(truth, 1.0),
        truth_powers=spans_decades(truth, 1.0),
        tables=tables,
        say=sentences,
        arithmetic=arithmetic,
        headline=headline,
        at_most=at_most,
        multiplier=multiplier_text,
        plural=plural,
    )
