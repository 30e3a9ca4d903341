"""The table of blocks that random models are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .writer import Value, Writer

Make = Callable[[Writer, Value], Value | None]


@dataclass(frozen=True)
class Block:
    """A piece of a model: ``make(writer, value)`` appends nodes, or answers None and appends none.

    Parameters
    ----------
    ranks : numbers of axes behind the batch that it reads.
    exact : whether it is piecewise linear with small dyadic coefficients when asked to be.
    keeps_shape : whether its output has its input's shape, so that it may stand in a branch.
    branches : whether it makes branches, which go no deeper than ``DEEPEST``.
    since : the first operator set that has its operators.
    """

    name: str
    make: Make
    ranks: frozenset[int]
    exact: bool
    keeps_shape: bool
    branches: bool
    since: int
    weight: float


DEEPEST = 2
BLOCKS: dict[str, Block] = {}
ANY = (1, 2, 3, 4)
SPATIAL = (2, 3, 4)


def block(
    ranks: tuple[int, ...] = ANY,
    *,
    exact: bool = False,
    keeps_shape: bool = False,
    branches: bool = False,
    since: int = 7,
    weight: float = 1.0,
) -> Callable[[Make], Make]:
    """Enter a function in the table under its own name."""

    def enter(make: Make) -> Make:
        name = make.__name__
        assert name not in BLOCKS, name
        BLOCKS[name] = Block(
            name, make, frozenset(ranks), exact, keeps_shape, branches, since, weight
        )
        return make

    return enter


def suitable(writer: Writer, value: Value, *, keeps_shape: bool = False) -> list[Block]:
    """The blocks that may follow ``value``."""
    return [
        found
        for found in BLOCKS.values()
        if len(value.shape) in found.ranks
        and (found.exact or not writer.exact)
        and (found.keeps_shape or not keeps_shape)
        and (not found.branches or writer.depth < DEEPEST)
        and writer.opset >= found.since
    ]


def follow(writer: Writer, value: Value, *, keeps_shape: bool = False) -> Value:
    """Append one random block that fits."""
    for _ in range(50):
        choices = suitable(writer, value, keeps_shape=keeps_shape)
        shares = [found.weight for found in choices]
        total = sum(shares)
        chosen = choices[int(writer.rng.choice(len(choices), p=[s / total for s in shares]))]
        made = chosen.make(writer, value)
        if made is not None:
            assert not keeps_shape or made.shape == value.shape, chosen.name
            writer.blocks.append(chosen.name)
            return made
    return value


def branch(writer: Writer, value: Value, blocks: int = 2) -> Value:
    """A few blocks that keep the shape: what stands beside a shortcut."""
    writer.depth += 1
    for _ in range(writer.integer(1, blocks)):
        value = follow(writer, value, keeps_shape=True)
    writer.depth -= 1
    return value
