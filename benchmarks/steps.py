"""Sensitivities in every step of a training: time of a call, cold and tracked, norms apart.

python benchmarks/steps.py [WIDTH ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from common import save
from torch import nn

import lipcert
from lipcert.bounds import BoundContext
from lipcert.graph import Affine, Graph
from lipcert.spectral import NormSettings
from lipcert.spectral.starts import Starts

WIDTHS = (64, 256, 1024)
LAYERS = 10
OPTIONS = {"loss": "cross-entropy", "input_bound": 8.0}
STEP = 1e-3
"""Size of the random change of every weight between two calls, about that of a training step."""


def perceptron(width: int) -> tuple[nn.Module, tuple[int, ...]]:
    layers: list[nn.Module] = []
    for _ in range(LAYERS - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10)).eval(), (width,)


def convolutions() -> tuple[nn.Module, tuple[int, ...]]:
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(LAYERS - 2):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 10)).eval(), (3, 8, 8)


def move(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(STEP * torch.randn_like(parameter))


def norms(graph: Graph, starts: Starts | None) -> None:
    """The norms of all layers, and nothing else."""
    context = BoundContext("l2", NormSettings(starts=starts))
    if starts is not None:
        starts.next_run()
    for node in graph.nodes:
        if isinstance(node.operation, Affine):
            context.norm_of(node.operation.operator)


def milliseconds(call: Callable[[], object]) -> float:
    """Processor time of one call, which other work on the machine disturbs least."""
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


def measured(name: str, model: nn.Module, shape: tuple[int, ...], repeats: int) -> dict:
    """Least and median times of calls that take turns, each on weights that have just changed."""
    tracker = lipcert.SensitivityTracker(model, input_shape=shape, **OPTIONS)
    starts = Starts()
    times: dict[str, list[float]] = {}
    for turn in range(repeats + 3):
        move(model)
        graph = lipcert.load(model, input_shape=shape)
        one = {
            "tracked": milliseconds(tracker.update),
            "cold": milliseconds(
                lambda: lipcert.sensitivity(model, input_shape=shape, tightest=False, **OPTIONS)
            ),
            "graph": milliseconds(
                lambda g=graph: lipcert.sensitivity(g, tightest=False, **OPTIONS)
            ),
            "norms cold": milliseconds(lambda g=graph: norms(g, None)),
            "norms warm": milliseconds(lambda g=graph: norms(g, starts)),
        }
        if turn >= 3:  # the first call imports, the second tries what can be exchanged
            for what, value in one.items():
                times.setdefault(what, []).append(value)
    least = {f"{what} ms": min(own) for what, own in times.items()}
    beyond = [a - b for a, b in zip(times["tracked"], times["norms warm"], strict=True)]
    ratios = [a / b for a, b in zip(times["cold"], times["tracked"], strict=True)]
    return {
        "model": name,
        "imports": tracker.imports,
        **least,
        "beyond the norms ms": least["tracked ms"] - least["norms warm ms"],
        "median tracked ms": float(np.median(times["tracked"])),
        "median beyond the norms ms": float(np.median(beyond)),
        "median cold/tracked": float(np.median(ratios)),
    }


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    widths = tuple(map(int, sys.argv[1:])) or WIDTHS
    rows = []
    for width in widths:
        repeats = 40 if width <= 64 else 12 if width <= 256 else 3
        rows.append(measured(f"{LAYERS} dense layers of {width}", *perceptron(width), repeats))
        print(rows[-1], flush=True)
    rows.append(measured(f"{LAYERS - 1} convolutions, one dense layer", *convolutions(), 8))
    save(
        "steps",
        rows,
        list(rows[0]),
        "Time of `sensitivity` in a training step, with the import of the torch module "
        "(`cold`), from a graph, and tracked (`SensitivityTracker.update`: tracing the module, its "
        "new weights, norms from a warm start, and all else); every weight moves by about "
        f"{STEP:g} between calls. Least processor times of the turns where not said otherwise, on "
        "one thread of a machine with other work.",
    )


if __name__ == "__main__":
    main()
