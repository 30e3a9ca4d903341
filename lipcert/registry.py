"""Registries: how a newcomer (an operator, a method, a norm, a format) is added in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from lipcert.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """A named table of entries, filled by decorators at import time.

    Registering a name twice raises ``ValueError`` (a programming error); looking up a name that
    is not there raises :class:`~lipcert.errors.InputError` listing the names that are.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Decorator that enters its object under each of ``names``."""

        def enter(entry: T) -> T:
            for name in names:
                if name in self._entries:
                    raise ValueError(f"{self.kind} {name!r} is registered twice")
                self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(sorted(self._entries))
            raise InputError(
                f"{self.kind} {name!r}", "is not known", f"choose one of: {known}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
