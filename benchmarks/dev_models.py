"""Bounds of every development model: AutoLip, averaged, LipSDP, lower bound, ratio and seconds.

python benchmarks/dev_models.py [--norm l2] [--time-limit 30] [NAME ...]
"""

from __future__ import annotations

import argparse

from common import dev_folder, manifest, save

import lipcert


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", help="only models whose file name contains one of these"
    )
    parser.add_argument("--norm", default="l2")
    parser.add_argument("--time-limit", type=float, default=30.0)
    options = parser.parse_args()
    rows = []
    for entry in manifest():
        if options.names and not any(name in entry["file"] for name in options.names):
            continue
        path = dev_folder() / "models" / entry["file"]
        result = lipcert.bound(path, norm=options.norm, time_limit=options.time_limit)
        if result.value < result.lower:
            raise SystemExit(f"{entry['file']}: bound {result.value} below {result.lower}")
        row: dict[str, object] = {
            "model": entry["file"],
            "autolip": result.methods.get("autolip"),
            "averaged": result.methods.get("averaged"),
            "lipsdp": result.methods.get("lipsdp"),
            "exact": result.exact,
            "lower": result.lower,
            "ratio": result.ratio,
            "seconds": round(result.seconds, 2),
            "obstacle": str(result.obstacle or ""),
        }
        if entry["data_file"]:
            row |= accuracy(entry, result.is_finite)
        print(row, flush=True)
        rows.append(row)
    columns = [
        *("model", "autolip", "averaged", "lipsdp", "lower", "ratio", "seconds"),
        *("accuracy", "wanted"),
    ]
    suffix = "" if options.norm == "l2" else f"_{options.norm}"
    save(
        f"dev_models{suffix}",
        rows,
        columns,
        f"Proven {options.norm} bounds of the development models, the steepest slope found beside "
        "them, and clean accuracy on their data (counted / as documented).",
    )


def accuracy(entry: dict[str, str], finite: bool) -> dict[str, object]:
    """Clean accuracy on the model's own data; by evaluation alone where no bound is finite."""
    model = dev_folder() / "models" / entry["file"]
    data = dev_folder() / "data" / entry["data_file"]
    if finite:
        found = lipcert.certify(model, data, method="autolip")
        return {"accuracy": found.clean_accuracy, "wanted": entry["clean_accuracy"]}
    import numpy as np
    import torch

    arrays = np.load(data)
    graph = lipcert.load(model)
    x = torch.from_numpy(arrays["x"].astype(np.float64)).reshape(-1, *graph.sample_shape)
    predicted = graph.evaluate(x).argmax(1).numpy()
    return {"accuracy": float((predicted == arrays["y"]).mean()), "wanted": entry["clean_accuracy"]}


if __name__ == "__main__":
    main()
