"""Sensitivities of all development and sample models: plain against best, truth against bound.

python benchmarks/sensitivities.py [SAMPLES]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from common import ROOT, dev_folder, manifest, save

import lipcert
from lipcert.errors import LipcertError

SAMPLES = ROOT / "sample_models"
LOSS = "cross-entropy"


def cases() -> list[tuple[Path, Path]]:
    """Models with their data."""
    own = [
        (SAMPLES / "digits_relu_mlp.onnx", SAMPLES / "digits_test.npz"),
        (SAMPLES / "digits_lip_mlp.onnx", SAMPLES / "digits_test.npz"),
        (SAMPLES / "digits_lip_conv.onnx", SAMPLES / "digits_test_images.npz"),
    ]
    models, data = dev_folder() / "models", dev_folder() / "data"
    rows = [row for row in manifest() if row["data_file"]]
    return own + [(models / row["file"], data / row["data_file"]) for row in rows]


def measured(model: Path, data: Path, first: int) -> dict[str, object]:
    """One row; an error is a row too."""
    started = time.perf_counter()
    row: dict[str, object] = {"model": model.name}
    try:
        found = lipcert.sensitivity(model, loss=LOSS, input_bound="data", data=data, first=first)
    except LipcertError as error:
        return row | {"error": f"{type(error).__name__}: {error}"[:100]}
    compared = found.comparison
    assert compared is not None
    ratios = [one.ratio for one in compared.layers]
    return row | {
        "samples": compared.samples,
        "plain": found.sensitivities.plain_delta,
        "best": found.sensitivities.global_delta,
        "plain / best": found.sensitivities.plain_delta / found.sensitivities.global_delta,
        "largest gradient": compared.total.norm,
        "truth / bound": compared.total.ratio,
        "truth / bound, layers": ", ".join(f"{ratio:.2g}" for ratio in ratios),
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    torch.set_num_threads(1)
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rows = [measured(*case, first) for case in cases()]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    save(
        "sensitivities",
        rows,
        columns,
        f"Global sensitivity of {LOSS} over the ball of the data's largest norm, by the algorithm "
        "as published and by all tightenings, and the largest gradient norms of real examples: "
        "none is above its bound, of any layer or parameter (it would be an error here).",
    )


if __name__ == "__main__":
    main()
