"""Random models, every method and norm: no bound below any slope that was found.

python benchmarks/soundness.py [--graphs 2000] [--seed 0] [--search 0.02]

The models are those of tests/contract; each is run by ONNX Runtime, bounded by every method in
every norm, and held against Jacobians, pair quotients, pairwise differences and a search for
steep slopes.  The exit status is 1 when a bound is below a slope.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
import torch
from common import RESULTS, ROOT, machine

from lipcert.bounds import lower_bound
from lipcert.errors import UnsupportedError
from lipcert.onnx_import import build_graph, parse_model
from lipcert.signals import fold
from lipcert.spectral import NORMS

sys.path.insert(0, str(ROOT / "tests" / "contract"))

from generators.graphs import RandomModel, random_model
from generators.soundness import judge, kinds_of

DEVIATION = 1e-4
"""Relative difference from ONNX Runtime, in float32, beyond which a model was misread."""


@dataclass
class Tally:
    """What all models together showed."""

    models: int = 0
    exact_models: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unbounded: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    blocks: Counter[str] = field(default_factory=Counter)
    comparisons: int = 0
    exact_comparisons: int = 0
    searches: int = 0
    ratios: dict[str, list[float]] = field(default_factory=dict)
    deviation: float = 0.0
    violations: list[str] = field(default_factory=list)

    def record(self) -> dict[str, object]:
        """The figures as JSON."""
        return {
            "models": self.models,
            "piecewise_linear_models": self.exact_models,
            "refused": dict(self.refused),
            "without_a_finite_bound": self.unbounded,
            "comparisons": self.comparisons,
            "rational_comparisons": self.exact_comparisons,
            "searches": self.searches,
            "violations": self.violations,
            "largest_deviation_from_onnxruntime": self.deviation,
            "bound_over_slope": {
                key: {
                    "smallest": min(found),
                    "median": float(np.median(found)),
                    "models": len(found),
                }
                for key, found in sorted(self.ratios.items())
            },
            "operators": dict(self.kinds.most_common()),
            "blocks": dict(self.blocks.most_common()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", type=float, default=0.02, help="seconds per model and norm")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    tally = Tally()
    for seed in range(options.seed, options.seed + options.graphs):
        examine(random_model(seed), options.search, tally)
        if (seed - options.seed) % 100 == 99:
            done = seed - options.seed + 1
            print(f"{done} models, {len(tally.violations)} violations", file=sys.stderr)
    report = tally.record() | {
        "first_seed": options.seed,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "soundness.json").write_text(json.dumps(report, indent=1) + "\n")
    tell(tally, report)
    raise SystemExit(1 if tally.violations else 0)


def examine(made: RandomModel, search: float, tally: Tally) -> None:
    """Bound one model in every way and hold the bounds against what it does."""
    try:
        graph = build_graph(parse_model(made.content, "random"), name="random")
    except UnsupportedError as error:
        tally.refused[error.finding] += 1
        return
    tally.models += 1
    tally.exact_models += made.exact
    tally.blocks.update(made.blocks)
    tally.kinds.update(kinds_of(graph, fold(graph)))
    rng = np.random.default_rng(made.seed)
    x = rng.standard_normal((1 if made.batch == 1 else 3, *made.sample_shape)).astype(np.float32)
    ours = graph.evaluate(torch.from_numpy(x.astype(np.float64))).numpy()
    off = np.abs(ours - deployed(made.content, x)).max() / max(np.abs(ours).max(), 1e-2)
    tally.deviation = max(tally.deviation, float(off))
    if not off <= DEVIATION:
        tally.violations.append(f"model {made.seed}: outputs differ by {off:.2g}")
    verdict = judge(graph, made.seed)
    tally.comparisons += verdict.comparisons
    tally.exact_comparisons += verdict.exact_comparisons
    tally.unbounded += verdict.unbounded > 0
    tally.violations += [f"model {made.seed}: {line}" for line in verdict.violations]
    for (method, norm), ratio in verdict.ratios.items():
        tally.ratios.setdefault(f"{method} {norm}", []).append(ratio)
    for norm in NORMS if search > 0.0 else ():
        lower = lower_bound(graph, norm=norm, seconds=search, seed=made.seed)
        tally.searches += 1
        for (method, named), value in verdict.values.items():
            if named == norm and not (math.isfinite(lower) and value >= lower):
                tally.violations.append(f"model {made.seed}: {method} {norm} {value!r} < {lower!r}")


def deployed(content: bytes, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime's outputs, node by node as the file has them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {session.get_inputs()[0].name: x})[0]
    return result.reshape(len(x), -1)


def tell(tally: Tally, report: dict[str, object]) -> None:
    """Print the figures."""
    print(
        f"{tally.models} models ({tally.exact_models} piecewise linear with dyadic weights), "
        f"{sum(tally.refused.values())} refused, {tally.unbounded} without a finite bound, "
        f"{report['seconds']} s"
    )
    for finding, count in tally.refused.items():
        print(f"  refused {count}: {finding}")
    print(
        f"{tally.comparisons} slopes compared ({tally.exact_comparisons} Jacobians in rational "
        f"arithmetic), {tally.searches} searches"
    )
    print(f"largest deviation from ONNX Runtime: {tally.deviation:.2g} relative")
    for key, found in sorted(tally.ratios.items()):
        print(f"  {key:15s} bound/slope from {min(found):.16g}, median {np.median(found):.4g}")
    print("operators: " + ", ".join(f"{kind} {n}" for kind, n in tally.kinds.most_common()))
    print(f"violations: {len(tally.violations)}")
    for line in tally.violations[:20]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
