"""Resolutions of the images of a part, and a torus on which all of its convolutions fit.

A zero-padded net is a compression of a circular one: embed the entry's image in a torus, and after
every convolution keep the window alone.  No tap that wraps around may meet the window it reads, for
every convolution at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from lipcert.bounds.torus.maps import ImageMap
from lipcert.operators import Shape
from lipcert.spectral.torus import torus_size


@dataclass(frozen=True)
class Geometry:
    """Where the images of a part live.

    Parameters
    ----------
    coarse : the torus whose multiples hold all images.
    phases : by signal, how many positions of each axis fall on one of the coarse torus.
    windows : by signal, the sides of the image itself.
    """

    coarse: Shape
    phases: Mapping[int, Shape]
    windows: Mapping[int, Shape]

    def fills(self, signal: int) -> bool:
        """Whether an image is as large as its torus: there is nothing outside it."""
        axes = zip(self.phases[signal], self.coarse, self.windows[signal], strict=True)
        return all(q * m == n for q, m, n in axes)

    @property
    def frequencies(self) -> int:
        """Of the coarse torus, one of each conjugate pair."""
        return math.prod(self.coarse[:-1]) * (self.coarse[-1] // 2 + 1)

    def count(self, signal: int) -> int:
        """Phases of a signal, over all axes."""
        return math.prod(self.phases[signal])


def geometry_of(
    reads: Mapping[int, Mapping[int, list[ImageMap]]], windows: Mapping[int, Shape]
) -> Geometry | None:
    """The smallest torus for the maps into each signal; None where there is none.

    Parameters
    ----------
    reads : by signal, in order, the maps from each earlier one.
    windows : sides of every image; the first signal is the entry.
    """
    entry = next(iter(windows))
    resolution: dict[int, tuple[Fraction, ...]] = {entry: (Fraction(1),) * len(windows[entry])}
    for signal, terms in reads.items():
        for source, maps in terms.items():
            for single in maps:
                own = _after(single, resolution[source])
                if resolution.setdefault(signal, own) != own:
                    return None
    if set(resolution) != set(windows):
        return None
    phases = _whole(resolution)
    sides = _sides(reads, phases, windows)
    return None if sides is None else Geometry(sides, phases, windows)


def _after(single: ImageMap, before: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    if single.stride is None:
        return before
    if single.adjoint:
        return tuple(r * s for r, s in zip(before, single.stride, strict=True))
    return tuple(r / s for r, s in zip(before, single.stride, strict=True))


def _whole(resolution: Mapping[int, tuple[Fraction, ...]]) -> dict[int, Shape]:
    """Resolutions in units of the largest that divides all of them."""
    axes = zip(*resolution.values(), strict=True)
    units = []
    for axis in axes:
        bottom = math.lcm(*(r.denominator for r in axis))
        units.append(Fraction(math.gcd(*(int(r * bottom) for r in axis)), bottom))
    return {
        signal: tuple(int(r / unit) for r, unit in zip(own, units, strict=True))
        for signal, own in resolution.items()
    }


def _sides(
    reads: Mapping[int, Mapping[int, list[ImageMap]]],
    phases: Mapping[int, Shape],
    windows: Mapping[int, Shape],
) -> Shape | None:
    needed = [
        tuple(-(-n // q) for n, q in zip(windows[signal], phases[signal], strict=True))
        for signal in windows
    ]
    exact: set[Shape] = set()
    for signal, terms in reads.items():
        for source, maps in terms.items():
            for single in maps:
                if single.convolution is None:
                    continue
                fine = phases[signal if single.adjoint else source]
                side = single.period or torus_size(single.convolution)
                if single.period is not None:
                    if any(n % q for n, q in zip(side, fine, strict=True)):
                        return None
                    exact.add(tuple(n // q for n, q in zip(side, fine, strict=True)))
                needed.append(tuple(-(-n // q) for n, q in zip(side, fine, strict=True)))
    smallest = tuple(max(axis) for axis in zip(*needed, strict=True))
    return smallest if not exact or exact == {smallest} else None
