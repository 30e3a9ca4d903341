"""Reading JSON that anyone may have written: every value is checked, every error has a place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from lipcert.errors import InputError
from lipcert.reports.words import printable

Read = TypeVar("Read")

MOST = 1 << 62
"""Largest count that is taken for one."""
MOST_ROWS = 100_000
"""Values of the longest list that is read: no result has as many."""
SHOWN = 40
"""Characters of a wrong value that an error shows."""


def again(command: str) -> str:
    """The remedy for a file that cannot be what ``command`` wrote."""
    return f"write it anew with lipcert {command} --report json=FILE"


@dataclass(frozen=True)
class Spot:
    """One value of a file that ``command`` wrote, and the keys that lead to it."""

    value: Any
    file: str
    path: str = ""
    command: str = "certify"

    @property
    def remedy(self) -> str:
        """How to get a file without fault."""
        return again(self.command)

    def __getitem__(self, key: str) -> Spot:
        """The value under ``key`` of an object."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        if key not in self.value:
            where = f"{self.file}: {self.path}" if self.path else self.file
            raise InputError(where, f"has no key {key!r}", self.remedy)
        return self._inner(self.value[key], f"{self.path}.{key}" if self.path else key)

    def __contains__(self, key: str) -> bool:
        """Whether an object has a value under ``key``."""
        return isinstance(self.value, dict) and key in self.value

    def rows(self) -> list[Spot]:
        """The values of a list."""
        if not isinstance(self.value, list):
            self.refuse("a list")
        if len(self.value) > MOST_ROWS:
            self.contradict(f"has {len(self.value)} values, more than any result has")
        return [self._inner(item, f"{self.path}[{index}]") for index, item in enumerate(self.value)]

    def entries(self) -> dict[str, Spot]:
        """The values of an object, by their keys made printable."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return {printable(key): self[key] for key in self.value}

    def maybe(self, read: Callable[[Spot], Read]) -> Read | None:
        """None for null, else what ``read`` makes of it."""
        return None if self.value is None else read(self)

    def text(self) -> str:
        """A string, made printable."""
        if not isinstance(self.value, str):
            self.refuse("a string")
        return printable(self.value)

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value

    def integer(self) -> int:
        """A whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.refuse("a whole number")
        if abs(self.value) > MOST:
            self.refuse("a whole number of this size or smaller")
        return self.value

    def count(self, most: int = MOST) -> int:
        """A whole number from 0 to ``most``."""
        found = self.integer()
        if not 0 <= found <= most:
            self.refuse("a count" if most == MOST else f"a count of at most {most}")
        return found

    def number(self) -> float:
        """A number, or the string "inf" or "-inf" for an infinite one."""
        if self.value in ("inf", "-inf"):
            return float(self.value)
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.refuse("a number")
        try:
            found = float(self.value)
        except OverflowError:
            found = math.inf
        if not math.isfinite(found):
            self.refuse("a number in the range of float64")
        return found

    def size(self) -> float:
        """A number that is not negative, or "inf"."""
        found = self.number()
        if found < 0.0:
            self.refuse("a number from 0 on")
        return found

    def finite(self) -> float:
        """A number that is neither negative nor infinite."""
        found = self.size()
        if math.isinf(found):
            self.refuse("a finite number")
        return found

    def refuse(self, wanted: str) -> NoReturn:
        """Raise the error of a value that is not what is wanted."""
        raise InputError(
            f"{self.file}: {self.path or 'it'}", f"is {self._shown()}, not {wanted}", self.remedy
        )

    def contradict(self, finding: str) -> NoReturn:
        """Raise the error of a value that cannot go with the others."""
        raise InputError(f"{self.file}: {self.path or 'it'}", finding, self.remedy)

    def _inner(self, value: Any, path: str) -> Spot:
        return replace(self, value=value, path=path)

    def _shown(self) -> str:
        if isinstance(self.value, dict | list):
            return "an object" if isinstance(self.value, dict) else "a list"
        if self.value is None or isinstance(self.value, bool):
            return {None: "null", True: "true", False: "false"}[self.value]
        if isinstance(self.value, int) and abs(self.value) > MOST:
            return "a huge whole number"
        text = printable(repr(self.value))
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
