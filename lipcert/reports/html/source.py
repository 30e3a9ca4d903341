"""The JSON file that ``lipcert certify`` wrote, read as what it is: somebody's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from lipcert.errors import InputError
from lipcert.reports.html.record import SCHEMA, Record, record_of
from lipcert.reports.words import printable

MOST_BYTES = 64 << 20
"""Size of the largest file that is read."""
AGAIN = "write it anew with lipcert certify --report json=FILE"


def record_file(path: Path) -> Record:
    """The result in a JSON file.

    Raises
    ------
    InputError : it cannot be read, is not JSON, or is not a result of this version of
        ``lipcert certify``.
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
    _check_schema(values, name)
    return record_of(values, name)


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


def _check_schema(values: object, name: str) -> None:
    found = values.get("schema") if isinstance(values, dict) else None
    if found == SCHEMA:
        return
    parts = found.split("/") if isinstance(found, str) else []
    if len(parts) != 3 or parts[0] != "lipcert":
        raise InputError(name, "is not a result of lipcert", AGAIN)
    command = printable(parts[1])[:40]
    if command != "certify":
        raise InputError(
            name,
            f"is a result of lipcert {command}",
            "lipcert report reads those of lipcert certify",
        )
    raise InputError(
        name,
        f"has version {printable(parts[2])[:20]} of the schema, this lipcert reads version "
        f"{SCHEMA.rpartition('/')[2]}",
        AGAIN,
    )
