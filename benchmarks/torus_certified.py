"""Certified accuracy of convolutional models, with the averaged bound and with LipSDP.

    python benchmarks/torus_certified.py [--limit SECONDS] [--model NAME ...]

Sizes are in l2 over pixels in [0, 1]: the normalisation of the data is certified with the model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from common import dev_folder, manifest, save

import lipcert

NORMALISATIONS = {
    "cnn_C9_CH16": "mean=0.1307,std=0.3081",
    "cifar_base_kw": "mean=0.485,0.456,0.406,std=0.225,0.225,0.225",
    "cifar_wide_kw": "mean=0.485,0.456,0.406,std=0.225,0.225,0.225",
    "cifar_biasfield_base": "mean=0.485,0.456,0.406,std=0.229,0.224,0.225",
    "Convnet_avgpool": "",
    "resnet_2b": "mean=0.4914,0.4822,0.4465,std=0.2471,0.2435,0.2616",
    "resnet_3b2_bn_mixup_adv_4.0": "mean=0.4914,0.4822,0.4465,std=0.2023,0.1994,0.201",
}
SIZES = ("1/255", "2/255", "8/255")
COLUMNS = ("model", "method", "bound", "samples", "correct", *SIZES, "median radius", "seconds")


def pixels(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The data of a model as pixels in [0, 1], and its labels."""
    row = next(row for row in manifest() if row["file"] == f"{name}.onnx")
    with np.load(dev_folder() / "data" / row["data_file"]) as file:
        x, y = file["x"].astype(np.float64), file["y"]
    if NORMALISATIONS[name]:
        parts = NORMALISATIONS[name].removeprefix("mean=").split(",std=")
        mean, std = (np.array([float(v) for v in part.split(",")]) for part in parts)
        x = x * std[:, None, None] + mean[:, None, None]
    return np.round(x * 255.0).astype(np.float32) / np.float32(255.0), y


def measured(name: str, limit: float) -> Iterator[dict[str, object]]:
    """A row for each method."""
    data = pixels(name)
    for method in ("averaged", "lipsdp"):
        began = time.perf_counter()
        found = lipcert.certify(
            dev_folder() / "models" / f"{name}.onnx",
            data,
            eps=SIZES,
            method=method,
            normalize=NORMALISATIONS[name] or None,
            time_limit=limit,
        )
        yield {
            "model": name,
            "method": method,
            "bound": found.bound.value,
            "samples": found.samples,
            "correct": found.clean_correct,
            **{size: entry.count for size, entry in zip(SIZES, found.certified, strict=True)},
            "median radius": float(np.median(found.radii[found.radii > 0.0])),
            "seconds": time.perf_counter() - began,
        }


def main() -> None:
    """Certify every model with both methods."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=240.0)
    parser.add_argument("--model", nargs="*", default=list(NORMALISATIONS))
    chosen = parser.parse_args()
    rows = []
    for name in chosen.model:
        for row in measured(name, chosen.limit):
            print(row, flush=True)
            rows.append(row)
    notes = "Samples certified at each size (l2, pixels in [0, 1]), by the bound that they rest on."
    save("torus_certified", rows, COLUMNS, notes)


if __name__ == "__main__":
    main()
