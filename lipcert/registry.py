"""Registries: how a newcomer (an operator, a method, a norm, a format) is added in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
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
            remedy = choice_of(name, sorted(self._entries))
            raise InputError(f"{self.kind} {name!r}", "is not known", remedy) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def choice_of(name: str, known: Sequence[str], words: str = "choose one of") -> str:
    """The remedy for a name that is not among the known ones: the nearest, and all of them."""
    plain = name.lower().replace("_", "-")
    near = [one for one in known if plain == "".join(part[:1] for part in one.split("-"))]
    near += [one for one in known if min(len(plain), len(one)) > 1 and (one in plain)]
    near += get_close_matches(plain, known, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}{words}: {', '.join(known)}"
