"""The baseline: the records of an earlier run, kept in a file beside the models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lipcert.errors import InputError
from lipcert.gating.files import Configuration
from lipcert.gating.record import Record, read_record
from lipcert.gating.result import GateResult
from lipcert.gating.values import read_path

SCHEMA = "lipcert/baseline/1"
LARGEST = 100_000_000
"""Bytes beyond which a file is no result of lipcert."""


def baseline_path(configuration: Configuration) -> Path | None:
    """The file that the configuration names."""
    value = configuration.table.get("baseline")
    if value is None:
        return None
    return configuration.folder / read_path(f"{configuration.path}: baseline", value)


def read_baseline(path: Path) -> dict[str, Record]:
    """The records of a baseline by the names of their checks.

    Raises
    ------
    InputError : a file that is not there, or no baseline.
    """
    content = read_json(path, "write it with lipcert gate --update-baseline")
    schema = content.get("schema")
    if schema != SCHEMA:
        raise InputError(
            str(path), f"has schema {schema!r}, not {SCHEMA!r}",
            "write it again with lipcert gate --update-baseline",
        )  # fmt: skip
    return read_records(path, content.get("checks"))


def read_records(path: Path, values: object) -> dict[str, Record]:
    """Records in a list, by name."""
    if not isinstance(values, list):
        raise InputError(str(path), "has no list of checks", "write it again with lipcert")
    records = [read_record(str(path), value) for value in values]
    return {record.name: record for record in records}


def baseline_object(result: GateResult) -> dict[str, Any]:
    """The baseline that a result makes, records of checks that were not run included.

    Raises
    ------
    InputError : there is no file for it, or a check has an error.
    """
    if result.baseline is None:
        raise no_baseline(result.config)
    if result.errors:
        problem = result.errors[0].problem
        raise InputError(
            str(result.baseline),
            f"is left as it is: check {result.errors[0].check!r} has an error"
            + (f" ({problem.message})" if problem else ""),
            "resolve it first",
        )
    fresh = [found.record.object for found in result.checks if found.record]
    records = [*fresh, *(record.object for record in result.kept)]
    return {"schema": SCHEMA, "checks": sorted(records, key=lambda r: str(r["name"]))}


def no_baseline(config: Path) -> InputError:
    """The error for a configuration without a baseline where one is needed."""
    return InputError(
        str(config), "names no baseline",
        'write baseline = "lipcert-baseline.json" above the first [[check]]',
    )  # fmt: skip


def read_json(path: Path, remedy: str) -> Mapping[str, Any]:
    """The JSON object in a file.  Raises InputError."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(str(path), "is too large for a result of lipcert")
        content = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise InputError(str(path), "does not exist", remedy) from None
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), f"is not valid JSON: {error}", remedy) from error
    if not isinstance(content, dict):
        raise InputError(str(path), "holds no JSON object", remedy)
    return content
