"""``lipcert config``."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lipcert.gating.check import read_checks
from lipcert.gating.files import Configuration, find_configuration, read_configuration

from .configuration import commands_of, defaults, options_of
from .delivery import write_stdout
from .options import session_options
from .session import Session

FORMATS = ("text", "json")


@dataclass(frozen=True)
class Value:
    """One option: what it is if no flag says otherwise, and where that comes from."""

    command: str
    option: str
    value: Any
    source: str


@click.group("config")
def config_command() -> None:
    """Show the configuration in force."""


@config_command.command("show")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration; lipcert.toml, or pyproject.toml with [tool.lipcert], if left out.",
)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Form of the result on stdout.",
)
@session_options
@click.pass_context
def config_show_command(
    context: click.Context, *, session: Session, config: Path | None, format: str
) -> None:
    """Print every option's value, and where it comes from.

    A flag wins over a LIPCERT_ variable, which wins over lipcert.toml, which wins over what is
    built in.
    """
    path = config or find_configuration()
    configuration = read_configuration(path) if path else None
    checks = configuration and "check" in configuration.table and read_checks(configuration)
    values = [
        value
        for name in commands_of(context)
        for value in values_of(context.find_root(), name, configuration)
    ]
    listed = [check.name for check in checks or ()]
    shown = _json if format == "json" else _text
    write_stdout(shown(path, listed, values))
    logging.getLogger("lipcert").debug("configuration: %s", path)


def values_of(root: click.Context, name: str, configuration: Configuration | None) -> list[Value]:
    """The options of one command, as a run without flags would take them."""
    group = root.command
    assert isinstance(group, click.Group)
    command = group.get_command(root, name)
    assert command is not None
    given = defaults(configuration, command, commands_of(root)) if configuration else {}
    with command.make_context(
        name, [], parent=root, resilient_parsing=True, default_map=given
    ) as context:
        return [
            Value(name, key, _plain(context.params.get(option.name or "")), source)
            for key, option in options_of(command).items()
            for source in [_source(context, option, configuration)]
        ]


def _source(
    context: click.Context, option: click.Option, configuration: Configuration | None
) -> str:
    source = context.get_parameter_source(option.name or "")
    if source is ParameterSource.ENVIRONMENT:
        return f"{context.auto_envvar_prefix}_{(option.name or '').upper()}"
    if source is ParameterSource.DEFAULT_MAP and configuration is not None:
        return str(configuration.path)
    return "default"


def _plain(value: Any) -> Any:
    """A value in JSON's types."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _json(path: Path | None, checks: list[str], values: list[Value]) -> str:
    options = [value.__dict__ for value in values]
    content = {"config": path and str(path), "checks": checks, "options": options}
    return json.dumps(content, indent=2) + "\n"


def _text(path: Path | None, checks: list[str], values: list[Value]) -> str:
    lines = [f"configuration: {path or 'no lipcert.toml in this folder'}"]
    if checks:
        lines.append(f"checks: {', '.join(checks)}")
    width = max((len(value.option) for value in values), default=0)
    last = ""
    for value in values:
        if value.command != last:
            lines += ["", f"[{value.command}]"]
            last = value.command
        text = json.dumps(value.value) if value.value not in (None, []) else "–"
        lines.append(f"  {value.option.ljust(width)}  {text}  ({value.source})")
    return "\n".join(lines) + "\n"
