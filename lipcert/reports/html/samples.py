"""The parts of a result that are about samples: its curve, histogram, classes, and examples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from lipcert.reports.html.spot import Spot
from lipcert.reports.images import png_size


@dataclass(frozen=True)
class CurvePoint:
    """Exact counts at one ε; ``attacked`` is None without an attack."""

    eps: float
    certified: int
    attacked: int | None

    @classmethod
    def all_of(cls, spot: Spot, total: int) -> tuple[CurvePoint, ...]:
        """A curve: ε ascending, counts descending, every point attacked or none."""
        points = tuple(cls._of(row, total) for row in spot.rows())
        if not points:
            spot.refuse("a curve")
        for before, after in pairwise(points):
            if not before.eps < after.eps:
                spot.contradict("does not ascend in eps")
            if before.certified < after.certified:
                spot.contradict("certifies more samples at a larger eps")
            if (before.attacked is None) != (after.attacked is None):
                spot.contradict("is attacked in parts")
            if None not in (before.attacked, after.attacked) and _rises(before, after):
                spot.contradict("leaves more samples at a larger eps")
        return points

    @classmethod
    def _of(cls, row: Spot, total: int) -> CurvePoint:
        certified = row["certified"].count(total)
        attacked = row["attacked"].maybe(lambda found: found.count(total))
        if attacked is not None and attacked < certified:
            row.contradict("counts more samples as certified than the attack leaves")
        return cls(row["eps"].finite(), certified, attacked)


def _rises(before: CurvePoint, after: CurvePoint) -> bool:
    return (before.attacked or 0) < (after.attacked or 0)


@dataclass(frozen=True)
class Histogram:
    """Radii of the correctly classified samples: one edge more than counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    infinite: int

    @classmethod
    def of(cls, spot: Spot, total: int) -> Histogram:
        """A histogram of at least one bin, its edges ascending."""
        edges = tuple(edge.finite() for edge in spot["edges"].rows())
        counts = tuple(item.count(total) for item in spot["counts"].rows())
        if not counts or len(edges) != len(counts) + 1:
            spot.contradict(f"has {len(edges)} edges and {len(counts)} counts")
        if any(left > right for left, right in pairwise(edges)):
            spot["edges"].contradict("do not ascend")
        return cls(edges, counts, spot["infinite"].count(total))


@dataclass(frozen=True)
class ClassRow:
    """One class, with its counts at every ε of the run."""

    label: int
    samples: int
    correct: int
    certified: tuple[int, ...]
    attacked: tuple[int, ...] | None
    median_radius: float

    @classmethod
    def of(cls, spot: Spot, total: int, levels: int) -> ClassRow:
        """A class of at least one sample, with a count for each of the ``levels``."""
        samples = spot["samples"].count(total)
        if samples == 0:
            spot["samples"].refuse("a positive count")

        def counts(found: Spot) -> tuple[int, ...]:
            numbers = tuple(item.count(samples) for item in found.rows())
            if len(numbers) != levels:
                found.contradict(f"has {len(numbers)} counts for {levels} eps")
            return numbers

        return cls(
            spot["label"].integer(),
            samples,
            spot["correct"].count(samples),
            counts(spot["certified"]),
            spot["attacked"].maybe(counts),
            spot["median_radius"].size(),
        )


@dataclass(frozen=True)
class Sample:
    """One sample; ``image`` is a PNG file in a data URL of the ``width`` and ``height``."""

    index: int
    label: int
    prediction: int
    radius: float
    image: str | None
    width: int
    height: int

    @classmethod
    def of(cls, spot: Spot) -> Sample:
        """A sample whose image, if there is one, is a small PNG."""
        image = spot["image"].maybe(Spot.text)
        size = png_size(image) if image is not None else (0, 0)
        if size is None:
            spot["image"].contradict("is not a small PNG image in a data URL")
        return cls(
            spot["index"].count(),
            spot["label"].integer(),
            spot["prediction"].integer(),
            spot["radius"].size(),
            image,
            *size,
        )
