"""One HTML file for a result, from its JSON object: nothing in it is loaded from anywhere.

The page's policy lets the browser run the two scripts of lipcert by their digests and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.html import sentences, tables
from lipcert.reports.html.bars import histogram_charts
from lipcert.reports.html.curve import TRUTH, curve_charts
from lipcert.reports.html.figures import figures
from lipcert.reports.html.record import Record, record_of
from lipcert.reports.numbers import HEADLINE, at_least, at_most
from lipcert.reports.words import plural

if TYPE_CHECKING:
    from jinja2 import Environment

    from lipcert.certification.result import Certificates
    from lipcert.reports.json_format import Json

TEMPLATES = ("report.html", "charts.html", "tables.html")


@renders("html", "Certificates")
def certificates_html(certificates: Certificates) -> str:
    """The page of a result."""
    from lipcert.reports.json_certificates import certificates_object

    return object_html(certificates_object(certificates))


def object_html(values: Mapping[str, Json]) -> str:
    """The page of an object of schema lipcert/certify/2.  Raises InputError for any other."""
    return record_html(record_of(values))


def record_html(record: Record) -> str:
    """The page of a result that has been read: the same bytes for the same result."""
    from markupsafe import Markup

    style, script = _resource("style.css"), _resource("script.js")
    page = _environment().get_template("report.html")
    return page.render(
        record=record,
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
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


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style, this script, images in the page, nothing else."""
    parts = (
        "default-src 'none'",
        f"style-src '{_digest(style)}'",
        f"script-src '{_digest(script)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(parts)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _resource(name: str) -> str:
    """A file of this package; its line ends are those that browsers count."""
    text = files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    return Environment(
        autoescape=True,
        loader=DictLoader({name: _resource(name) for name in TEMPLATES}),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
