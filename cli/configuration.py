"""Option defaults from ``lipcert.toml``: below flags and the environment, above what is built in.

A table named like a command, such as ``[certify]``, gives defaults of that command's options.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lipcert.errors import InputError
from lipcert.gating.files import (
    Configuration,
    find_configuration,
    read_configuration,
    unknown_key,
)

logger = logging.getLogger(__name__)

OTHER_KEYS = ("check", "baseline")
"""Keys of a configuration that are not tables of option defaults."""
UNCONFIGURED = ("check", "config", "completion")
"""Commands that take no defaults; ``check`` in a configuration holds what the gate checks."""
HELP = ("-h", "--help")


def configure(context: click.Context, command: click.Command, words: Sequence[str]) -> None:
    """Give a command the defaults of the current folder's configuration, where there is one.

    A command with a ``--config`` option of its own reads it itself.
    """
    name = command.name or ""
    own = any(parameter.name == "config" for parameter in command.params)
    if name in UNCONFIGURED or own or any(word in HELP for word in words):
        return
    path = find_configuration()
    if path is None:
        return
    configuration = read_configuration(path)
    context.default_map = {name: defaults(configuration, command, commands_of(context))}
    context.call_on_close(lambda: logging.getLogger("lipcert").info("options from %s", path))


def config_option(command: Any) -> Any:
    """``--config``: the file that the command's options and checks come from."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        callback=_read_config,
        metavar="FILE",
        help="The configuration; lipcert.toml, or pyproject.toml with [tool.lipcert], if left out.",
    )(command)


def _read_config(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    if context.resilient_parsing:
        return path
    found = path or find_configuration()
    if found is not None:
        configuration = read_configuration(found)
        known = commands_of(context)
        context.default_map = defaults(configuration, context.command, known)
    return path


def commands_of(context: click.Context) -> list[str]:
    """Names of the commands that take defaults."""
    root = context.find_root()
    group = root.command
    names = group.list_commands(root) if isinstance(group, click.Group) else []
    return [name for name in names if name not in UNCONFIGURED]


def defaults(
    configuration: Configuration, command: click.Command, known: Iterable[str]
) -> dict[str, Any]:
    """The defaults of one command, by the names of its parameters.

    Raises
    ------
    InputError : a key that no command or option has, or a value that the option does not take.
    """
    known = [*known]
    for key in configuration.table:
        if key not in (*known, *OTHER_KEYS):
            raise unknown_key(str(configuration.path), key, (*known, *OTHER_KEYS))
    name = command.name or ""
    table = configuration.table.get(name, {})
    place = f"{configuration.path}, [{name}]"
    if not isinstance(table, Mapping):
        raise InputError(str(configuration.path), f"{name!r} is not a table", f"write [{name}]")
    options = options_of(command)
    found = {}
    for key, value in table.items():
        if key not in options:
            raise unknown_key(place, key, options)
        option = options[key]
        assert option.name is not None
        found[option.name] = _value(f"{place} {key}", option, value, configuration, command)
    return found


def options_of(command: click.Command) -> dict[str, click.Option]:
    """The options that a configuration can set, by their long names without dashes."""
    return {
        _long(parameter): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.is_eager
    }


def _long(option: click.Option) -> str:
    return max(option.opts, key=len).removeprefix("--")


def _value(
    place: str,
    option: click.Option,
    value: Any,
    configuration: Configuration,
    command: click.Command,
) -> Any:
    """A TOML value as click takes it, tried on the option's own reader."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise InputError(place, f"is {value!r}, not true or false")
        return value
    if option.multiple:
        listed = value if isinstance(value, list) else [value]
        taken: Any = [_text(place, item) for item in listed]
    elif isinstance(value, list):
        taken = ",".join(str(_text(place, item)) for item in value)
    else:
        taken = _text(place, value)
    if isinstance(option.type, click.Path):
        taken = str(configuration.folder / str(taken))
    try:
        option.type_cast_value(click.Context(command), taken)
    except click.BadParameter as error:
        raise InputError(place, error.message.rstrip("."), "correct the value") from error
    return taken


def _text(place: str, value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InputError(place, f"is {value!r}", "write text or a number")
    return str(value) if isinstance(value, Decimal) else value
