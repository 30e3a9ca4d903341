"""How time and memory of LipSDP on the torus grow with depth, channels and image side.

    python benchmarks/torus_cost.py [--device cpu|cuda]

Random chains of 3×3 convolutions, each of norm 1 on its torus, with ReLU between them.  Each row is
a process of its own, so that its peak memory is its own; times include the proof.  Processor
seconds tell more than seconds where other work has the machine: set OMP_NUM_THREADS=1 for them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from common import save

from lipcert.bounds import BoundContext
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.torus import torus_lipsdp
from lipcert.operators import Convolution
from lipcert.signals import SignalForm
from lipcert.spectral import NormSettings

USUAL = {"depth": 8, "channels": 16, "side": 28}
NOTES = "Chains that differ from depth 8, 16 channels, 28×28 in one thing at a time."
VARIED = {"depth": (2, 4, 8, 16, 32, 64), "channels": (8, 16, 32, 64), "side": (14, 28, 56, 112)}
COLUMNS = (
    "depth",
    "channels",
    "side",
    "bound",
    "seconds",
    "processor s",
    "processor / row above",
    "added MiB",
    "details",
)


def random_chain(depth: int, channels: int, side: int) -> SignalForm:
    """Convolutions whose spectral norms are 1 up to 1e-9, and a ReLU between every two."""
    from torus import chain

    generator = torch.Generator().manual_seed(depth * 1000 + channels)
    context, found = BoundContext(), []
    for _ in range(depth):
        weight = torch.randn(channels, channels, 3, 3, dtype=torch.float64, generator=generator)
        made = Convolution(
            weight, (side, side), stride=(1, 1), dilation=(1, 1), pads_begin=(1, 1), pads_end=(1, 1)
        )
        found.append(made.with_weight(weight / context.norm_of(made).value, made.error))
    return chain(found)


def measured(depth: int, channels: int, side: int, device: str) -> dict[str, object]:
    """One chain, in this process."""
    form = random_chain(depth, channels, side)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, worked = time.perf_counter(), time.process_time()
    found = torus_lipsdp(form, BoundContext(settings=NormSettings(device=device)), averaged_bound)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    assert found is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "depth": depth,
        "channels": channels,
        "side": side,
        "bound": found.value,
        "seconds": seconds,
        "processor s": processor,
        "added MiB": (peak - before) / 1024.0,
        "details": found.details,
    }


def main() -> None:
    """One row for each chain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measured(**json.loads(chosen.one), device=chosen.device)))
        return
    rows: list[dict[str, object]] = []
    for what, values in VARIED.items():
        last: float | None = None
        for value in values:
            case = json.dumps(USUAL | {what: value})
            command = [sys.executable, __file__, "--device", chosen.device, "--one", case]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            row["processor / row above"] = row["processor s"] / last if last else None
            last = row["processor s"]
            rows.append(row)
            save("torus_cost", rows, COLUMNS, NOTES)


if __name__ == "__main__":
    main()
