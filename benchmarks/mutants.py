"""Mutants of proofs: how many the checker refuses, and whether what it still proves is true.

python benchmarks/mutants.py [--mutants 12000] [--seed 0]

The models and the edits are those of tests/soundness.  The exit status is 1 when a mutant that
must be refused is proved, or what is proved of another one is not true.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import ROOT, save

for name in ("checker", "soundness"):
    sys.path.insert(0, str(ROOT / "tests" / name))

from mutation import Mutant, mutants, true  # noqa: E402
from proofs import KINDS, case  # noqa: E402

ROUND = 30
"""Mutants of one proof, of those that must be refused."""


def rounds(seed: int) -> Iterator[Mutant]:
    """Mutants of ever new models."""
    for now in itertools.count(seed):
        for kind, semantics in itertools.product(KINDS, ("real", "float32")):
            own = case(kind, now, semantics)
            for must, count in ((True, ROUND), (False, ROUND // 2)):
                rng = np.random.default_rng([now, must])
                yield from itertools.islice(mutants(own, rng, must=must), count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=12_000, help="that must be refused")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    found: Counter[tuple[bool, str, str]] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for mutant in rounds(chosen.seed):
            status = mutant.status(Path(folder))
            stands = status != "proved" or (not mutant.must and true(mutant))
            found[mutant.must, mutant.kind, status if stands else "false"] += 1
            if not stands:
                wrong.append(f"{mutant.case.name}: {mutant.kind}")
                print(f"proved: {wrong[-1]}", file=sys.stderr)
            if sum(n for (must, _, _), n in found.items() if must) >= chosen.mutants:
                break
    rows: list[dict[str, object]] = []
    for must, kind in sorted({key[:2] for key in found}, reverse=True):
        counts = {s: found[must, kind, s] for s in ("refuted", "inconclusive", "proved", "false")}
        rows.append(
            {
                "mutation": kind,
                "must be refused": "yes" if must else "unless true",
                "mutants": sum(counts.values()),
                "refuted": counts["refuted"],
                "inconclusive": counts["inconclusive"],
                "proved and true": counts["proved"],
                "proved and false": counts["false"],
            }
        )
    total = sum(int(str(r["mutants"])) for r in rows if r["must be refused"] == "yes")
    others = sum(int(str(r["mutants"])) for r in rows) - total
    accepted = sum(int(str(r["proved and false"])) for r in rows if r["must be refused"] == "yes")
    save(
        "mutants",
        rows,
        list(rows[0]),
        f"{total} mutants of proofs that must be refused: {total - accepted} are.  {others} more "
        "with a digest made anew whose change need not make the claim false: "
        f"{len(wrong) - accepted} false claims proved; what is still proved says no more than the "
        "original, or stands against slopes, margins and attacks.  Refused is refuted or "
        "inconclusive (a format, norm, region or semantics that does not exist).  "
        f"{time.perf_counter() - start:.0f} s on one thread.",
    )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
