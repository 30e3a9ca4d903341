"""LipSDP: the structured solver against generic ones, its growth, and what the bounds certify.

python benchmarks/lipsdp.py peers|neurons|depth|largest|values|accuracy [--threads N] [--quick]

Random networks have weights from N(0, 1/n) and ten outputs.  Every time of ours includes forming
the inequality and the proof; those of the generic solvers include posing the problem through cvxpy.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from common import ROOT, dev_folder, save

import lipcert
from lipcert.bounds import BoundContext
from lipcert.bounds.relaxation import Part, relax
from lipcert.conic.feasibility import is_feasible, proven_multipliers
from lipcert.conic.hkm import solve
from lipcert.conic.reference import reference_solution
from lipcert.errors import LipcertError
from lipcert.graph import Node
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Dense
from lipcert.signals import SignalForm, Stage
from lipcert.spectral import NormSettings

LONGEST = 420.0
"""Seconds after which a generic solver is stopped; its ratio is then a bound from below."""


def chain(sizes: list[int], seed: int = 0, device: str = "cpu") -> SignalForm:
    """A ReLU chain with weights from N(0, 1/n)."""
    generator = torch.Generator().manual_seed(seed)
    operators = []
    for n, m in pairwise(sizes):
        weight = torch.randn(m, n, dtype=torch.float64, generator=generator) / math.sqrt(n)
        operators.append(Dense(weight.to(device)))
    relu = ACTIVATIONS["Relu"]()
    stages = []
    for k, operator in enumerate(operators[:-1]):
        shape = operator.out_shape
        node = Node(f"relu{k}", "Relu", relu, (f"v{k}",), f"z{k}", shape, ())
        stages.append(Stage(node, relu, (shape,), {k: operator}, shape))
    return SignalForm((sizes[0],), tuple(stages), {len(stages): operators[-1]}, (sizes[-1],))


def structured(
    form: SignalForm, device: str = "cpu", deadline: float = math.inf
) -> dict[str, object]:
    """Seconds from the signal form to a proven bound, and the bound."""
    settings = NormSettings(device=torch.device(device))
    began = time.perf_counter()
    problem = relax([Part(form)], BoundContext("l2", settings))
    scaled = problem.scaled(problem.start)
    found = solve(scaled, deadline=deadline)
    y, _ = proven_multipliers(scaled, found.y, found.halfway.y)
    bound = math.sqrt(float(y[0]) * float(scaled.unit[0]))
    seconds = time.perf_counter() - began
    return {
        "bound": bound,
        "seconds": seconds,
        "iterations": found.iterations,
        "ending": found.ending,
    }


def peers(quick: bool) -> None:
    """Against cvxpy with SCS (eps 1e-5) and Clarabel (faer): the same problem in the same run."""
    rows = []
    for neurons in (20, 50, 100) if quick else (20, 50, 100, 200, 400):
        half = neurons // 2
        form = chain([half, half, half, 10])
        structured(form)  # warm up
        ours = min((structured(form) for _ in range(3)), key=lambda one: float(str(one["seconds"])))
        row: dict[str, object] = {
            "neurons": neurons,
            "ours": ours["seconds"],
            "bound": ours["bound"],
        }
        problem = relax([Part(form)], BoundContext("l2"))
        for solver in ("scs", "clarabel"):
            eps = 1e-5 if solver == "scs" else 1e-8
            try:
                found = reference_solution(problem, solver=solver, eps=eps, time_limit=LONGEST)
            except LipcertError as error:
                row[solver] = error.finding
                continue
            row[f"{solver} status"] = found.status
            row[solver] = found.seconds_total
            row[f"{solver} alone"] = found.seconds_solver
            row[f"{solver} / ours"] = found.seconds_total / float(str(ours["seconds"]))
            row[f"{solver} value"] = math.sqrt(float(found.y[0]))
            row[f"{solver} feasible"] = is_feasible(problem, found.y)
        print(row, flush=True)
        rows.append(row)
    columns = [
        *("neurons", "ours", "bound", "scs", "scs / ours", "scs value", "scs feasible"),
        *("clarabel", "clarabel / ours", "clarabel value", "clarabel feasible", "clarabel status"),
    ]
    save("lipsdp_peers", rows, columns,
         "Seconds for LipSDP-Neuron on two hidden layers of half the neurons each, and whether the "
         "raw answer of a generic solver passes the proof.")  # fmt: skip


def neurons(quick: bool) -> None:
    """Time against the number of neurons, two hidden layers in one block."""
    rows: list[dict[str, object]] = []
    for count in (100, 200, 400, 800) if quick else (100, 200, 400, 800, 1600, 2400):
        half = count // 2
        found = structured(chain([half, half, half, 10]))
        rows.append({"neurons": count, "side": half * 3, **found})
        rows[-1]["per iteration"] = float(str(found["seconds"])) / int(str(found["iterations"]))
        if len(rows) > 1:
            before = rows[-2]
            growth = float(str(rows[-1]["per iteration"])) / float(str(before["per iteration"]))
            larger = count / int(str(before["neurons"]))
            rows[-1]["exponent"] = math.log(growth) / math.log(larger)
        print(rows[-1], flush=True)
    columns = ["neurons", "side", "seconds", "iterations", "per iteration", "exponent"]
    save("lipsdp_neurons", rows, columns,
         "Growth with the number of neurons; the exponent is that of the time of an iteration "
         "between one row and the next.")  # fmt: skip


def depth(quick: bool) -> None:
    """Time against depth for chains of equal layers cut into blocks of four layers."""
    from lipcert.bounds.parts import part_of

    rows: list[dict[str, object]] = []
    for layers in (8, 16, 32) if quick else (8, 16, 32, 64):
        form = chain([40] * (layers + 1) + [10])
        edges = [*range(1, layers + 1, 4), layers + 1]
        began = time.perf_counter()
        parts = [Part(part_of(form, a, b)) for a, b in pairwise(edges)]
        context = BoundContext("l2")
        problem = relax(parts, context)
        scaled = problem.scaled(problem.start)
        found = solve(scaled)
        y, _ = proven_multipliers(scaled, found.y, found.halfway.y)
        seconds = time.perf_counter() - began
        row: dict[str, object] = {
            "layers": layers,
            "blocks": len(parts),
            "seconds": seconds,
            "iterations": found.iterations,
            "per iteration": seconds / found.iterations,
            "in blocks": math.sqrt(float(y[0]) * float(scaled.unit[0])),
        }  # fmt: skip
        autolip = math.prod(context.norm_of(s.terms[k]).value for k, s in enumerate(form.stages))
        row["autolip"] = autolip * context.norm_of(form.output_terms[layers]).value
        if layers <= 32:
            whole = structured(form)
            row |= {"one block": whole["bound"], "seconds in one": whole["seconds"]}
        print(row, flush=True)
        rows.append(row)
    save(
        "lipsdp_depth",
        rows,
        list(rows[0]),
        "Chains of layers of 40 neurons, four layers to a block.",
    )


def largest(quick: bool) -> None:
    """About the largest N of two equal hidden layers that a minute and ten minutes are enough for.

    The size is guessed from a smaller run by the cube law, with a little to spare, and then run.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = [8000 if device == "cuda" else 1200]
    rows: list[dict[str, object]] = []
    for limit in (60.0,) if quick else (60.0, 600.0):
        sizes.append(0)
        while sizes:
            count = sizes.pop(0) or _fitting(rows[-1], limit)
            half = count // 2
            found = structured(chain([half, half, half, 10], device=device), device)
            rows.append({"device": device, "neurons": count, "limit": limit, **found})
            print(rows[-1], flush=True)
    save(
        "lipsdp_largest",
        rows,
        list(rows[0]),
        "Two equal hidden layers, one block, to a relative gap of 1e-6.",
    )


def _fitting(row: dict[str, object], limit: float) -> int:
    """A number of neurons that should take nine tenths of the limit, a multiple of 100."""
    growth = (0.9 * limit / float(str(row["seconds"]))) ** (1.0 / 3.0)
    return int(int(str(row["neurons"])) * growth) // 100 * 100


def values(quick: bool) -> None:
    """LipSDP beside AutoLip, averaged and lower bounds on every net with a known optimum."""
    folder = dev_folder() / "bounds"
    rows = []
    with (folder / "BOUNDS.csv").open() as file:
        known = [
            (folder / row["file"], row["lipsdp_neuron"], row["exact_or_lower"])
            for row in csv.DictReader(file)
        ]
    models = dev_folder() / "models"
    known += [
        (models / "mnist-net_256x2.onnx", "312.4161", ""),
        (models / "mnist5x20_leaky_relu.onnx", "", ""),
        (models / "ffnnSIGMOID__Point_6x200.onnx", "", ""),
        (models / "mlp_L5_W64.onnx", "", ""),
        (models / "tanh_test.onnx", "", ""),
    ]
    known += [(path, "", "") for path in sorted((ROOT / "sample_models").glob("*.onnx"))]
    for path, optimum, lower in known:
        row: dict[str, object] = {"model": path.name}
        for method in ("autolip", "averaged", "lipsdp-layer", "lipsdp"):
            seconds = 2.0 if method == "lipsdp" else 0.0
            found = lipcert.bound(path, method=method, time_limit=120.0, lower_seconds=seconds)
            row[method] = found.value
        row |= {
            "lower": max(found.lower, float(lower or 0.0)),
            "known optimum": optimum,
            "seconds": found.seconds,
        }
        row["autolip / lipsdp"] = float(str(row["autolip"])) / found.value
        if optimum:
            row["excess"] = found.value / float(optimum) - 1.0
        row["details"] = found.details.get("lipsdp", "")
        print(row, flush=True)
        rows.append(row)
    columns = [
        *("model", "autolip", "averaged", "lipsdp-layer", "lipsdp", "known optimum", "excess"),
        *("lower", "autolip / lipsdp", "seconds", "details"),
    ]
    save(
        "lipsdp_values",
        rows,
        columns,
        "Proven l2 bounds by method, and the optimum where it is known.",
    )


def accuracy(quick: bool) -> None:
    """Certified accuracy with AutoLip, the root of two times LipSDP, and pairwise LipSDP."""
    cases = [
        (dev_folder() / "models" / "mnist-net_256x2.onnx", None, (0.001, 0.002, 0.003, 0.004)),
        (
            ROOT / "sample_models" / "digits_relu_mlp.onnx",
            ROOT / "sample_models" / "digits_test.npz",
            (0.1, 0.2, 0.3, 0.5),
        ),
    ]
    rows = []
    for path, data, sizes in cases:
        data = data or _data_of(path.name)
        whole = lipcert.bound(
            path, method="lipsdp", logits=True, lower_seconds=0.0, time_limit=120.0
        )
        plain = lipcert.certify(path, data, eps=sizes, method="autolip")
        paired = lipcert.certify(path, data, eps=sizes, method="lipsdp", time_limit=300.0)
        margins = np.where(plain.predictions == plain.labels, plain.margins, 0.0)
        for place, eps in enumerate(sizes):
            rooted = int((margins > eps * math.sqrt(2.0) * whole.value).sum())
            row = {
                "model": path.name,
                "eps": eps,
                "samples": plain.samples,
                "correct": plain.clean_correct,
                "autolip": plain.certified[place].count,
                "sqrt2 lipsdp": rooted,
                "pairwise lipsdp": paired.certified[place].count,
            }
            rows.append(row)
            print(rows[-1], flush=True)
    save(
        "lipsdp_accuracy", rows, list(rows[0]), "Certified samples at l2 perturbations of size eps."
    )


def _data_of(name: str) -> object:
    with (dev_folder() / "MANIFEST.csv").open() as file:
        entry = next(row for row in csv.DictReader(file) if row["file"] == name)
    return dev_folder() / "data" / entry["data_file"]


PARTS: dict[str, Callable[[bool], None]] = {
    part.__name__: part for part in (peers, neurons, depth, largest, values, accuracy)
}


def chosen(names: list[str]) -> Iterator[Callable[[bool], None]]:
    for name in names or PARTS:
        yield PARTS[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for part in chosen(options.parts):
        part(options.quick)


if __name__ == "__main__":
    main()
