"""A model as the checker sees it: values joined by linear maps and nonlinearities.

Every element of an ONNX tensor that depends on the input is a reference to an element of a *value*
or to zero (−1): reshaping, slicing, padding and joining only move references.  Values are made by
the input, by sums of linear maps, and by nonlinearities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Rows, Weight, add, mul, root, up_ratio
from .maps import Gather, Linear

Shape = tuple[int, ...]
References = NDArray[np.int64]

MOST_SIZE = 1 << 24
"""Elements of the largest value."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``Σ maps(source) + bias``: each summand is a source and the maps after it, in order.

    ``computed_loudness`` bounds the l2 norm of the absolute values that a computed bias is made of,
    ``operations`` how many roundings make bias and coefficients, where a runtime computes them.
    """

    summands: tuple[tuple[str, tuple[Linear, ...]], ...]
    bias: Weight | None = None
    operations: int = 0
    computed_loudness: float | None = None

    @property
    def apart(self) -> bool:
        """Whether all summands only put elements somewhere, no two of them into one place."""
        alone = [maps[0] for _, maps in self.summands if len(maps) == 1]
        written = [one.index >= 0 for one in alone if isinstance(one, Gather)]
        return len(written) == len(self.summands) and bool((np.sum(written, axis=0) <= 1).all())

    @property
    def is_move(self) -> bool:
        """Whether the sum only puts elements of values somewhere, and rounds none."""
        plain = all(isinstance(one, Gather) for _, maps in self.summands for one in maps)
        return self.bias is None and plain and (len(self.summands) == 1 or self.apart)

    def pushed(self, values: Mapping[str, Rows]) -> list[Rows]:
        """The summands, the bias left out."""
        found = []
        for source, maps in self.summands:
            part = values[source]
            for one in maps:
                part = one.push(part)
            found.append(part)
        return found


@dataclass(frozen=True, eq=False)
class Stage:
    """A nonlinearity of one value.

    Parameters
    ----------
    source : the value that it reads.
    kind : of the nonlinearity.
    slopes : least and largest slope where it acts element by element, None otherwise.
    constant : its Lipschitz constant in l2.
    below : of ``max(x, 0) + below·min(x, 0)``, None for others.
    windows, signs : of ``y_o = signs_o max(signs_o x[windows_o])``, places (−1: none) and 1 or −1
        ``(elements, 1)``; None for others.
    """

    source: str
    kind: str
    slopes: tuple[float, float] | None
    constant: float
    below: float | None = None
    windows: References | None = None
    signs: References | int = 1

    @property
    def middle(self) -> tuple[float, float]:
        """c and r with ``φ = c·id + r·R``, R 1-Lipschitz: ``[c − r, c + r]`` holds the slopes."""
        assert self.slopes is not None
        low, high = map(Fraction, self.slopes)
        c = float((low + high) / 2)
        return c, up_ratio(max(high - Fraction(c), Fraction(c) - low))


@dataclass
class Network:
    """Values in the order in which they are made.

    Parameters
    ----------
    input, input_shape : of one sample, the batch of one included.
    makers : what makes each value but the input.
    sizes : number of elements of each value.
    logits : the value whose order decides the class; ``beyond`` says why float32 is
        not analysed for it, "" where it is.
    """

    input: str
    input_shape: Shape
    makers: dict[str, Affine | Stage] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    output: str = ""
    logits: str = ""
    beyond: str = ""
    _starts: list[int] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)

    def value(self, name: str, size: int, maker: Affine | Stage | None) -> References:
        """A new value; references to its elements, flat."""
        if name in self.sizes or not name:
            raise CheckError(f"the name {name!r} stands for two tensors")
        if size > MOST_SIZE:
            raise CheckError(f"the tensor {name!r} is too large")
        start = self._starts[-1] + self.sizes[self._names[-1]] if self._starts else 0
        self._starts.append(start)
        self._names.append(name)
        self.sizes[name] = size
        if maker is not None:
            self.makers[name] = maker
        return np.arange(start, start + size, dtype=np.int64)

    def computes(self, name: str) -> None:
        """Note a constant that the model computes itself, in float32 not quite as in reals."""
        self.beyond = self.beyond or f"the constant {name!r} is computed in the model"

    def gathers(self, references: References) -> tuple[tuple[str, tuple[Linear, ...]], ...]:
        """References as a sum of maps, one for each value referred to."""
        flat = references.reshape(-1)
        owner = np.searchsorted(np.array(self._starts), flat, side="right") - 1
        found: list[tuple[str, tuple[Linear, ...]]] = []
        for place in np.unique(owner[flat >= 0]):
            name, size = self._names[place], self.sizes[self._names[place]]
            index = np.where((owner == place) & (flat >= 0), flat - self._starts[place], -1)
            plain = flat.size == size and bool((index == np.arange(size)).all())
            found.append((name, () if plain else (Gather(index, size),)))
        return tuple(found)

    def joined(self, name: str, references: References) -> str:
        """The name of a value that holds these references' elements, a new one where needed."""
        parts = self.gathers(references)
        if not parts:
            raise CheckError(f"{name!r} does not depend on the input")
        if len(parts) == 1 and not parts[0][1]:
            return parts[0][0]
        self.value(name, references.size, Affine(parts))
        return name

    def before(self, end: str) -> set[str]:
        """The values that one is made of, itself among them."""
        found = {end}
        for name, maker in reversed(self.makers.items()):
            if name in found:
                found |= set(sources(maker))
        return found


def sources(maker: Affine | Stage) -> set[str]:
    """The values that a maker reads."""
    return {maker.source} if isinstance(maker, Stage) else {own for own, _ in maker.summands}


def growth(maker: Affine | Stage, known: Mapping[str, float]) -> float:
    """From bounds of ``‖Δsource‖/‖Δx‖`` to one of what is made of them.

    Summands that write to places of their own add up as squares.
    """
    if isinstance(maker, Stage):
        return float(mul(maker.constant, known[maker.source]))
    parts = [mul(known[source], *(one.gain for one in maps)) for source, maps in maker.summands]
    if len(parts) > 1 and maker.apart:
        return float(root(add(*(mul(part, part) for part in parts))))
    return float(add(*parts))
