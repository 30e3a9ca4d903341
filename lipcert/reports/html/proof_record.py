"""The proof file of a result of ``lipcert certify``, read from its JSON and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipcert.reports.html.spot import Spot


@dataclass(frozen=True)
class ProofRecord:
    """What the proof file proves; ``file``, ``format`` and ``check``, the command that checks it,
    are "" where the result does not name them.

    ``certified`` are the samples that it certifies at each ε of the run.
    """

    file: str
    format: str
    check: str
    claims: int
    size: int
    sha256: str
    certified: tuple[int, ...]

    @classmethod
    def of(cls, root: Spot, counts: Sequence[int]) -> ProofRecord | None:
        """What a result says of its proof file; ``counts`` are certified at each ε.

        None where none was made.
        """
        if "proof" not in root:
            return None
        spot = root["proof"]
        certified = tuple(item.count() for item in spot["certified"].rows())
        if len(certified) != len(counts):
            spot["certified"].contradict(f"has {len(certified)} counts for {len(counts)} eps")
        if any(proved > count for proved, count in zip(certified, counts, strict=True)):
            spot["certified"].contradict("counts more samples than are certified")
        return cls(
            _name(spot, "file"),
            _name(spot, "format"),
            _name(spot, "check"),
            spot["claims"].count(),
            spot["bytes"].count(),
            spot["sha256"].text(),
            certified,
        )


def _name(spot: Spot, key: str) -> str:
    return spot[key].maybe(Spot.text) or "" if key in spot else ""
