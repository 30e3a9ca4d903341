"""How much memory a model may ask for: by what its file holds, and some more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_ELEMENTS = 1 << 28
"""Largest constant that a model may hold: 2 GiB of float64."""

MAX_SIGNAL = 1 << 25
"""Largest signal for one sample: its index maps take 8 bytes an element."""

GROWTH = 16
"""What a model computes may hold this many times its own constants, and some more:"""
MORE_CONSTANTS = 1 << 24
"""Elements of all computed constants."""
MORE_POSITIONS = 1 << 26
"""Entries of all index maps."""

SHARED_SIZE = 64
"""Constants up to this many elements are compared by value when nodes are compared."""


@dataclass
class Room:
    """Elements that computed constants, and index maps, may still have."""

    constants: int
    positions: int

    @classmethod
    def beside(cls, sizes: Iterable[int]) -> Room:
        """What a model with constants of these sizes may take."""
        held = GROWTH * sum(sizes)
        return cls(MORE_CONSTANTS + held, MORE_POSITIONS + held)

    def moves(self, entries: int) -> bool:
        """Take room for an index map; whether there was enough."""
        self.positions -= entries
        return self.positions >= 0
