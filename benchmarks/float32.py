"""What float32 costs: samples certified in real arithmetic that are lost for float32 evaluations.

    python benchmarks/float32.py

On the MNIST development models, at sizes of which a fair share of the samples is certified.
"""

from __future__ import annotations

import time

import numpy as np
from common import dev_folder, manifest, save

import lipcert
from lipcert.errors import LipcertError

SHARES = (0.9, 0.75, 0.5, 0.25)
"""Shares of the samples that are certified in real arithmetic at the sizes."""
COLUMNS = (
    "model",
    "samples",
    "share",
    "eps",
    "real",
    "float32",
    "lost",
    "lost %",
    "radius lost %",
    "seconds",
)
NOTES = f"""# Samples lost between real arithmetic and float32

`lipcert certify --semantics float32` on MNIST models, `--time-limit 20`, one thread. ε is where
{", ".join(f"{share:.0%}" for share in SHARES)} of the samples are certified in real arithmetic,
two digits kept. *lost* counts samples certified there in real arithmetic and not for every float32
evaluation; *radius lost* is the median of what a radius shrinks by.

What a radius loses is mostly the rounding of the first layer in the worst order of its sums, some
784·2⁻²⁴ of their sizes, times the slopes of what follows at the sample. The share is small where
radii rest on constants far above these slopes: ffnnSIGMOID__Point_6x200 has margins of about 8, of
which rounding takes 0.002, and radii of 10⁻⁶ in real arithmetic all the same. yizhak_net is linear,
so its constants are its slopes, and its share is the largest. cnn_C9_CH16 is left out for its time:
after nine convolutions the boxes of rounding decide nothing any more, and it keeps no radius.
Seconds were taken while other work had most of the machine.
"""


def measured(row: dict[str, str]) -> list[dict[str, object]]:
    """The rows of one model."""
    folder = dev_folder()
    started = time.perf_counter()
    try:
        found = lipcert.certify(
            folder / "models" / row["file"],
            folder / "data" / row["data_file"],
            semantics="float32",
            time_limit=20.0,
        )
    except LipcertError as error:
        return [{"model": row["file"], "share": str(error)}]
    seconds = time.perf_counter() - started
    real, radii = found.real_radii, found.radii
    assert real is not None
    held = real > 0.0
    shrunk = 100.0 * float(np.median(1.0 - radii[held] / real[held]))
    rows: list[dict[str, object]] = []
    for share in SHARES:
        eps = float(f"{np.quantile(real, 1.0 - share):.2g}")
        counts = int((real > eps).sum()), int((radii > eps).sum())
        rows.append(
            {
                "model": row["file"],
                "samples": len(real),
                "share": f"{share:.0%}",
                "eps": eps,
                "real": counts[0],
                "float32": counts[1],
                "lost": counts[0] - counts[1],
                "lost %": 100.0 * (counts[0] - counts[1]) / len(real),
                "radius lost %": shrunk,
                "seconds": seconds,
            }
        )
    return rows


def main() -> None:
    """Measure and record."""
    rows = []
    for row in manifest():
        if row["data_file"].startswith("mnist") and not row["file"].startswith("cnn_C9"):
            rows += measured(row)
            save("float32", rows, COLUMNS, NOTES)


if __name__ == "__main__":
    main()
