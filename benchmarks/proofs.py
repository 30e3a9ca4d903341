"""Proof files: seconds to make and to check, size, and what is given away against the bound.

python benchmarks/proofs.py [NAME ...] [--time-limit SECONDS]

Every development model with a finite bound, the sample models, and two generated dense networks of
MNIST's size (weights from N(0, 2/n)).  Names choose among them; their rows replace the old ones.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from common import RESULTS, ROOT, dev_folder, manifest, save
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert.errors import LipcertError
from lipcert.proof import prove

DENSE = {"784-256-256-10": [784, 256, 256, 10], "784-128x8-10": [784, *[128] * 8, 10]}
COLUMNS = (
    "model",
    "method",
    "bound",
    "covered",
    "proved by",
    "proved",
    "excess",
    "against bound",
    "claims",
    "make_s",
    "check_s",
    "bytes",
    "verdict",
)
NOTES = """
Proof files of l2 constants. `bound` is lipcert's own bound in float64 and `covered` the smallest of
the methods that a proof file can hold: all but LipSDP on the torus and of residual blocks. `proved`
is the constant in the file, `excess` (proved − covered)/covered, `against bound` the same for the
bound; `make_s` is without the seconds of the bound. Two cores shared with other work, one thread; a
model without a row has not been measured. `python benchmarks/proofs.py` makes it anew. Of
cifar_biasfield_base and resnet_3b2_bn_mixup_adv_4.0 `bound` is the averaged one alone, and both
were made while other work had the processors.
"""


def dense(sizes: list[int], folder: Path) -> Path:
    """A ReLU chain as an ONNX file."""
    random = np.random.default_rng(0)
    nodes, held, last = [], [], "x"
    for k, (n, m) in enumerate(pairwise(sizes)):
        weight = random.normal(size=(m, n)) * math.sqrt(2.0 / n)
        held.append(numpy_helper.from_array(weight.astype(np.float32), f"w{k}"))
        nodes.append(helper.make_node("Gemm", [last, f"w{k}"], [f"v{k}"], transB=1))
        last = f"v{k}"
        if k + 2 < len(sizes):
            nodes.append(helper.make_node("Relu", [last], [f"z{k}"]))
            last = f"z{k}"
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])]
        for name, size in (("x", sizes[0]), (last, sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "dense", *ends, held)
    path = folder / f"{'-'.join(map(str, sizes))}.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def models(folder: Path) -> dict[str, Path]:
    """All models by name, the quick ones first."""
    found = {name: dense(sizes, folder) for name, sizes in DENSE.items()}
    found |= {path.stem: path for path in sorted((ROOT / "sample_models").glob("*.onnx"))}
    return found | {
        row["file"].removesuffix(".onnx"): dev_folder() / "models" / row["file"]
        for row in manifest()
    }


def covered(bound: lipcert.LipschitzBound) -> float:
    """The smallest value of the methods that a proof file can hold."""
    without = {"blocks"} if bound.multipliers else {"blocks", "lipsdp", "lipsdp-layer"}
    return min(value for method, value in bound.methods.items() if method not in without)


def measured(name: str, model: Path, target: Path, time_limit: float) -> dict[str, object]:
    """One row."""
    bound = lipcert.bound(model, lower_seconds=0.0, time_limit=time_limit)
    row: dict[str, object] = {"model": name, "method": bound.method, "bound": bound.value}
    began = time.perf_counter()
    try:
        made = prove(model, bound, time_limit=time_limit)
    except LipcertError as error:
        return {**row, "verdict": error.finding}
    target.write_bytes(made.content)
    ready = time.perf_counter()
    verdict = lipcert.check(target, model)
    done = time.perf_counter()
    return {
        **row,
        "proved by": made.facts.method,
        "proved": made.facts.value,
        "covered": covered(bound),
        "excess": made.facts.value / covered(bound) - 1.0,
        "against bound": made.facts.value / bound.value - 1.0,
        "claims": made.facts.claims,
        "make_s": round(ready - began, 2),
        "check_s": round(done - ready, 2),
        "bytes": made.facts.size,
        "verdict": verdict.status,
    }


def main() -> None:
    """Measure, and save after every model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--time-limit", type=float, default=30.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        everything = models(folder)
        kept = RESULTS / "proofs.json"
        old = json.loads(kept.read_text())["rows"] if kept.exists() else []
        rows = {row["model"]: row for row in old if row["model"] in everything}
        for one in chosen.names or list(everything):
            rows[one] = measured(one, everything[one], folder / "proof", chosen.time_limit)
            ordered = [rows[key] for key in everything if key in rows]
            save("proofs", ordered, COLUMNS, NOTES)


if __name__ == "__main__":
    main()
