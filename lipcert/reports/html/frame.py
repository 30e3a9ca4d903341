"""What every page stands in: the templates, the style and script, and the policy around them.

The policy admits this style and this script by their digests, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = ("frame.html", "report.html", "sensitivity.html", "charts.html", "tables.html")


def filled(template: str, **values: object) -> str:
    """The page of a template; every string among ``values`` is escaped where it is shown."""
    from markupsafe import Markup

    style, script = _resource("style.css"), _resource("script.js")
    return (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=policy(style, script), **values)
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
