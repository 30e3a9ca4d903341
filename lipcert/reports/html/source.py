"""JSON files that lipcert wrote, read as what they are: somebody's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lipcert.errors import InputError
from lipcert.reports.html.record import SCHEMA, Record, record_of
from lipcert.reports.html.sensitivity_record import (
    SENSITIVITY_SCHEMA,
    SensitivityRecord,
    sensitivity_record_of,
)
from lipcert.reports.html.spot import again
from lipcert.reports.words import printable

MOST_BYTES = 64 << 20
"""Size of the largest file that is read."""
READERS: dict[str, Callable[[object, str], Record | SensitivityRecord]] = {
    SCHEMA: record_of,
    SENSITIVITY_SCHEMA: sensitivity_record_of,
}
"""What reads the objects of a schema."""
COMMANDS = {schema.split("/")[1]: schema for schema in READERS}
"""The schema that each command writes, by the command's name."""
AGAIN = again("COMMAND")


def record_file(path: Path) -> Record | SensitivityRecord:
    """The result in a JSON file.

    Raises
    ------
    InputError : it cannot be read, is not JSON, or is not a result of this version of
        one of the ``COMMANDS``.
    """
    name = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(name, f"cannot be read: {reason}", "name a JSON result") from error
    if len(content) > MOST_BYTES:
        raise InputError(name, f"is larger than {MOST_BYTES >> 20} MiB", "no result is that large")
    values = _parsed(content, name)
    return READERS[_schema(values, name)](values, name)


def _parsed(content: bytes, name: str) -> object:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise InputError(name, "is not text in UTF-8", AGAIN) from error
    except json.JSONDecodeError as error:
        finding = f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        raise InputError(name, finding, AGAIN) from error
    except RecursionError as error:
        raise InputError(name, "is nested too deeply", AGAIN) from error
    except ValueError as error:
        raise InputError(name, f"is not JSON: {error}", AGAIN) from error


def _schema(values: object, name: str) -> str:
    """The schema that the object names.  Raises InputError for any that is not read here."""
    found = values.get("schema") if isinstance(values, dict) else None
    if isinstance(found, str) and found in READERS:
        return found
    parts = found.split("/") if isinstance(found, str) else []
    if len(parts) != 3 or parts[0] != "lipcert":
        raise InputError(name, "is not a result of lipcert", AGAIN)
    command = printable(parts[1])[:40]
    if command not in COMMANDS:
        known = " and ".join(COMMANDS)
        raise InputError(
            name,
            f"is a result of lipcert {command}",
            f"lipcert report reads those of lipcert {known}",
        )
    raise InputError(
        name,
        f"has version {printable(parts[2])[:20]} of the schema, this lipcert reads version "
        f"{COMMANDS[command].rpartition('/')[2]}",
        again(command),
    )
