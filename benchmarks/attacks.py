"""Attacks inside radii that the checker proves, over many small models: none may succeed.

python benchmarks/attacks.py [--samples 120000] [--seed 0]

Radii for real arithmetic are attacked in float64, radii for float32 in ONNX Runtime, at float32
points.  The same attack at larger radii shows that it can break what is not proved.  The exit
status is 1 when a class changes inside a radius.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from common import ROOT, save

for name in ("checker", "soundness", "contract"):
    sys.path.insert(0, str(ROOT / "tests" / name))

from attacking import attacked, decided, radii_of, rounded_inside, sessions  # noqa: E402
from generators.graphs import random_model  # noqa: E402
from proofs import KINDS  # noqa: E402

from lipcert.checker.exact import CheckError  # noqa: E402
from lipcert.checker.importing import network_of  # noqa: E402
from lipcert.checker.positive import Refuted  # noqa: E402
from lipcert.checker.proof import Checker  # noqa: E402
from lipcert.checker.wire import read  # noqa: E402
from lipcert.errors import LipcertError  # noqa: E402
from lipcert.onnx_import import build_graph, parse_model  # noqa: E402
from lipcert.proof.proving import network_claims  # noqa: E402

EACH = 300
"""Samples of one model."""
FARTHER = (2.0, 4.0, 16.0)
"""Multiples of the radius that are attacked too."""


def models(seed: int) -> Iterator[tuple[str, bytes]]:
    """Models of the proofs' kinds and random graphs, in turn, without end."""
    for now in itertools.count(seed):
        for kind, build in KINDS.items():
            yield kind, build(np.random.default_rng([now, 17]))
        for k in range(12):
            made = random_model(12 * now + k)
            if made.batch != 1:
                yield "random graph", made.content


def one_model(kind: str, content: bytes, seed: int) -> Counter[str] | None:
    """Figures of one model; None where the checker does not cover it."""
    try:
        network = network_of(read(content, None))
        found = network_claims(network, network.logits, pairs=True, time_limit=2.0)
        checker = Checker(network_of(read(content, None)))
        checker.run(list(found.claims))
        graph = build_graph(parse_model(content, kind), name=kind)
        if network.logits != network.output:
            graph = graph.ending_at(network.logits)
        rng = np.random.default_rng(seed)
        scale = 10.0 ** rng.uniform(-1.0, 1.0, size=(EACH, *(1,) * (len(network.input_shape) - 1)))
        x = rng.normal(size=(EACH, *network.input_shape[1:])) * scale
        x = x.astype(np.float32)
        radii = radii_of(checker, x)
    except (CheckError, Refuted, LipcertError, KeyError):
        return None
    held = radii.real > 0.0
    if not held.any():
        return None
    tally: Counter[str] = Counter(models=1, samples=int(held.sum()))
    x, classes, real, single = (a[held] for a in (x, radii.classes, radii.real, radii.float32))
    _, worst = attacked(graph, x, classes, real, seed)
    tally["real"] = int(np.count_nonzero(~(worst >= 0.0)))
    tally["float32 radii"] = int(np.count_nonzero(single > 0.0))
    inner = single * (1.0 - 1e-6) - 2.0**-23 * np.linalg.norm(x.reshape(len(x), -1), axis=1)
    points, _ = attacked(graph, x, classes, np.maximum(inner, 0.0), seed + 1)
    near, inside = rounded_inside(points, x, single)
    inside &= single > 0.0
    tally["float32 points"] = int(inside.sum())
    sigmoid = network.logits != network.output
    for session in sessions(content):
        outputs = session.run(None, {session.get_inputs()[0].name: near})[0]
        changed = decided(outputs, sigmoid=sigmoid) != classes
        tally["float32"] += int(np.count_nonzero(changed & inside))
    for factor in FARTHER:
        _, worst = attacked(graph, x, classes, np.minimum(factor * real, 1e100), seed)
        tally[f"broken at {factor:g}"] = int(np.count_nonzero(worst < 0.0))
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    kinds: dict[str, Counter[str]] = {}
    for number, (kind, content) in enumerate(models(chosen.seed)):
        tally = one_model(kind, content, number)
        own = kinds.setdefault(kind, Counter())
        own.update(tally or Counter(left=1))
        if tally and (tally["real"] or tally["float32"]):
            print(f"model {number} ({kind}): {tally}", file=sys.stderr)
        if sum(one["samples"] for one in kinds.values()) >= chosen.samples:
            break
    columns = ["models", "left", "samples", "real", "float32 radii", "float32 points", "float32"]
    columns += [f"broken at {factor:g}" for factor in FARTHER]
    rows: list[dict[str, object]] = [
        {"kind": kind} | {key: own[key] for key in columns} for kind, own in sorted(kinds.items())
    ]
    total = {key: sum(own[key] for own in kinds.values()) for key in columns}
    rows.append({"kind": "all"} | total)
    wrong = total["real"] + total["float32"]
    save(
        "attacks",
        rows,
        ["kind", *columns],
        f"{total['samples']} samples of {total['models']} small models attacked inside the radius "
        f"that the checker proves: {wrong} class changes.  *real*, *float32*: changes inside the "
        "radius, in float64 and in ONNX Runtime (node by node and with its basic rewrites) at "
        "float32 points, of which *float32 points* are certainly inside.  *Left*: models that the "
        "checker does not cover, or without a radius.  *Broken at k*: the same attack at k times "
        f"the radius changes the class.  {math.ceil(time.perf_counter() - start)} s on one thread.",
    )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
