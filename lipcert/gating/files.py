"""The configuration file: where it is, and what it holds as it stands."""

from __future__ import annotations

import difflib
import logging
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from lipcert.errors import InputError

logger = logging.getLogger(__name__)

OWN = "lipcert.toml"
SHARED = "pyproject.toml"
CHECK = re.compile(r"^\s*\[\[\s*(?:tool\s*\.\s*lipcert\s*\.\s*)?check\s*\]\]", re.MULTILINE)
"""The line at which a check starts."""
LARGEST = 10_000_000
"""Bytes beyond which a file is no configuration."""


@dataclass(frozen=True)
class Configuration:
    """What one file says to lipcert.

    Parameters
    ----------
    path : the file, as it was named or found.
    table : its tables; numbers with a point are :class:`~decimal.Decimal`, as they were written.
    lines : the line of each ``[[check]]``, counted from 1.
    """

    path: Path
    table: dict[str, Any]
    lines: tuple[int, ...]

    @property
    def folder(self) -> Path:
        """What paths in the file are relative to."""
        return self.path.parent


def find_configuration(folder: Path | None = None) -> Path | None:
    """``lipcert.toml``, else a ``pyproject.toml`` with ``[tool.lipcert]``, else None."""
    folder = folder or Path()
    if (folder / OWN).is_file():
        return folder / OWN
    shared = folder / SHARED
    if not shared.is_file() or "lipcert" not in _text(shared):
        return None
    return shared if "lipcert" in _parsed(shared, _text(shared)).get("tool", {}) else None


def read_configuration(path: Path) -> Configuration:
    """The configuration in a file.

    Raises
    ------
    InputError : a file that cannot be read, is not TOML, or has no ``[tool.lipcert]``.
    """
    text = _text(path)
    table = _parsed(path, text)
    if path.name == SHARED:
        try:
            table = table["tool"]["lipcert"]
        except KeyError:
            raise InputError(str(path), "has no table [tool.lipcert]", f"or use {OWN}") from None
    if not isinstance(table, dict):
        raise InputError(str(path), "tool.lipcert is not a table", "write [tool.lipcert]")
    logger.info("read %s", path)
    return Configuration(path, table, _check_lines(text, table.get("check")))


def unknown_key(place: str, key: str, known: Iterable[str]) -> InputError:
    """The error for a key that means nothing, with the one that may have been meant."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"the keys are: {', '.join(names)}"
    return InputError(place, f"has an unknown key {key!r}", remedy)


def _check_lines(text: str, checks: object) -> tuple[int, ...]:
    count = len(checks) if isinstance(checks, list) else 0
    found = tuple(text.count("\n", 0, match.end()) + 1 for match in CHECK.finditer(text))
    return found if len(found) == count else (1,) * count


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(str(path), "is too large for a configuration", "name a TOML file")
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except FileNotFoundError:
        raise InputError(str(path), "does not exist", f"write it, or name one: {OWN}") from None
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(str(path), "is not text in UTF-8", "save it as UTF-8") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError, ArithmeticError) as error:
        raise InputError(str(path), f"is not valid TOML: {error}", "correct the file") from error
