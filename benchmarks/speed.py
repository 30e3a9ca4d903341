"""Speed as ratios in one run: certify against bare ONNX Runtime inference, start-up of the command.

python benchmarks/speed.py
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import onnxruntime
import torch
from common import dev_folder, median_seconds, save

import lipcert
from lipcert.certification.data import open_dataset
from lipcert.certification.shards import shards_of
from lipcert.certification.task import Rules

PAIRS = [
    ("mnist-net_256x2.onnx", "mnist_784x1_unit.npz"),
    ("mnist5x20_leaky_relu.onnx", "mnist_1x28x28_unit.npz"),
    ("ffnnSIGMOID__Point_6x200.onnx", "mnist_1x28x28_unit.npz"),
    ("mnist-8.onnx", "mnist_1x28x28_unit.npz"),
    ("cifar_base_kw.onnx", "cifar10_nchw_kw.npz"),
]


def certify_against_inference(model: str, data: str) -> dict[str, object]:
    """Time per data set of bare inference and of certification once the bound is known."""
    path = dev_folder() / "models" / model
    dataset = open_dataset(dev_folder() / "data" / data)
    graph = lipcert.load(path)
    x = dataset.read(0, len(dataset)).reshape(-1, *graph.sample_shape)
    start = time.perf_counter()
    result = lipcert.certify(path, dev_folder() / "data" / data, eps=[0.1])
    total = time.perf_counter() - start
    rules = Rules("l2", (0.1,), None, None, None)
    judge = rules.judge_of(graph, str(path), dataset, np.asarray(result.bound.pairwise))
    shards = shards_of(len(dataset))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name, batch = session.get_inputs()[0].name, session.get_inputs()[0].shape[0]
    size = batch if isinstance(batch, int) else len(x)

    def infer() -> None:
        for first in range(0, len(x), size):
            session.run(None, {name: x[first : first + size]})

    inference = median_seconds(infer, 7)
    certified = median_seconds(lambda: [judge.run(shard) for shard in shards], 7)
    return {
        "model": model,
        "samples": len(x),
        "inference ms": 1e3 * inference,
        "certify ms (streamed, beyond start-up)": 1e3 * certified,
        "ratio": certified / inference,
        "whole call s": total,
    }


def command_start() -> dict[str, object]:
    """Wall-clock time of `lipcert --help` and of a bare Python."""
    helped = median_seconds(
        lambda: subprocess.run(
            [sys.executable, "-m", "lipcert_cli", "--help"], capture_output=True, check=True
        ),
        7,
    )
    bare = median_seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True), 7)
    return {"model": "lipcert --help", "whole call s": helped, "bare python s": bare}


def main() -> None:
    print("threads:", torch.get_num_threads())
    rows = [certify_against_inference(*pair) for pair in PAIRS]
    rows.append(command_start())
    columns = [
        "model",
        "samples",
        "inference ms",
        "certify ms (streamed, beyond start-up)",
        "ratio",
        "whole call s",
        "bare python s",
    ]
    save(
        "speed",
        rows,
        columns,
        "Certifying a data set (ONNX Runtime inference, float64 evaluation with its error bound, "
        "pairwise radii) against bare ONNX Runtime inference of the same file, and the time that "
        "`lipcert --help` takes.",
    )


if __name__ == "__main__":
    main()
