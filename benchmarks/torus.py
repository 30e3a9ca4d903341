"""LipSDP on the torus: deep convolutional chains, whole models, and how the time grows.

python benchmarks/torus.py inner|models|depth|dags [--limit SECONDS] [--model NAME ...] [--graphs N]

``inner`` are the convolutions of cnn_C9_CH16 behind the first, their weights as trained (the file
doubles each one's output), slopes [0, 1]: what GLipSDP (Pauli et al. 2024) was measured on, which
gives 177.640 for all eight in 4.67 s with Mosek.  Every time includes the proof.

``dags`` are the random convolutional graphs of tests/contract: sampled slope ≤ bound ≤ AutoLip; the
exit status is 1 where that fails.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from common import ROOT, dev_folder, save

import lipcert
from lipcert.bounds import BoundContext
from lipcert.bounds.autolip import autolip_bound
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.lipsdp import lipsdp_neuron_bound
from lipcert.bounds.torus import torus_lipsdp
from lipcert.bounds.torus.fusing import fused
from lipcert.bounds.torus.images import images_of
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.nonlinear import ACTIVATIONS
from lipcert.nonlinear.pooling import MaxPool
from lipcert.operators import Adjoint, Convolution, Indexing
from lipcert.operators.composed import factors_of
from lipcert.signals import SignalForm, Stage, fold

sys.path.insert(0, str(ROOT / "tests" / "contract"))

from generators.images import random_dag
from generators.soundness import is_above, sampled_slopes

MODELS = (
    "cnn_C9_CH16",
    "cifar_base_kw",
    "cifar_wide_kw",
    "cifar_biasfield_base",
    "Convnet_avgpool",
    "resnet_2b",
    "resnet_3b2_bn_mixup_adv_4.0",
)


def chain(operators: list[Convolution]) -> SignalForm:
    """Convolutions with ReLU between them."""
    relu = ACTIVATIONS["Relu"]()
    stages = []
    for k, operator in enumerate(operators[:-1]):
        shape = operator.out_shape
        node = Node(f"relu{k}", "Relu", relu, (f"v{k}",), f"z{k}", shape, ())
        stages.append(Stage(node, relu, (shape,), {k: operator}, shape))
    first, last = operators[0], operators[-1]
    return SignalForm(first.in_shape, tuple(stages), {len(stages): last}, last.out_shape)


def inner_convolutions() -> list[Convolution]:
    """Those of cnn_C9_CH16 behind the first, without the factor 2 that follows each."""
    form = fold(lipcert.load(dev_folder() / "models" / "cnn_C9_CH16.onnx"))
    found = []
    for k, stage in enumerate(form.stages[1:], start=1):
        operator = stage.terms[k]
        assert isinstance(operator, Convolution)
        found.append(operator.with_weight(operator.weight / 2.0, operator.error))
    return found


def measured(form: SignalForm) -> dict[str, object]:
    """The bound on the torus, its time, and the product of norms."""
    began, worked = time.perf_counter(), time.process_time()
    found = torus_lipsdp(form, BoundContext(), averaged_bound)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    assert found is not None
    context, product = BoundContext(), 1.0
    for k, stage in enumerate(form.stages):
        product *= context.norm_of(stage.terms[k]).value
    product *= context.norm_of(form.output_terms[len(form.stages)]).value
    return {
        "bound": found.value,
        "product": product,
        "product / bound": product / found.value,
        "seconds": seconds,
        "processor seconds": processor,
        "details": found.details,
    }


def inner() -> Iterator[dict[str, object]]:
    """The first d of the inner convolutions."""
    operators = inner_convolutions()
    for depth in (2, 4, 8):
        yield {"convolutions": depth} | measured(chain(operators[:depth]))


def depth() -> Iterator[dict[str, object]]:
    """Random chains of 16 channels on 28×28, norms near 1.5."""
    shape = inner_convolutions()[0]
    generator = torch.Generator().manual_seed(0)
    for count in (2, 4, 8, 16):
        operators = []
        for _ in range(count):
            weight = torch.randn(shape.weight.shape, dtype=torch.float64, generator=generator)
            operators.append(shape.with_weight(weight / 16.0, shape.error))
        yield {"convolutions": count} | measured(chain(operators))


def models(names: list[str], limit: float) -> Iterator[dict[str, object]]:
    """Whole models: every method within a time limit."""
    for name in names:
        path = dev_folder() / "models" / f"{name}.onnx"
        worked = time.process_time()
        found = lipcert.bound(path, time_limit=limit, lower_seconds=10.0)
        processor = time.process_time() - worked
        values = {key: found.methods.get(key) for key in ("autolip", "averaged", "lipsdp")}
        yield {
            "model": name,
            **values,
            "bound": found.value,
            "lower": found.lower,
            "ratio": found.ratio,
            "seconds": found.seconds,
            "processor seconds": processor,
            "details": found.details.get("lipsdp", ""),
        }


def ingredients(graph: Graph) -> set[str]:
    """What a graph is made of."""
    found = set()
    for node in graph.nodes:
        if isinstance(node.operation, MaxPool):
            found.add("maxima over windows")
        if isinstance(node.operation, Total):
            reads = {name: graph.shape_of(name) for name in node.inputs}
            placed = all(_is_placed(graph, name) for name in reads)
            found.add("concatenations" if placed else "residual skips")
        if not isinstance(node.operation, Affine):
            continue
        factors = factors_of(node.operation.operator)
        for factor in factors:
            own = factor.operator if isinstance(factor, Adjoint) else factor
            if isinstance(own, Convolution):
                found |= _kinds(own, isinstance(factor, Adjoint), wrapped=len(factors) == 2)
    images = images_of(fused(fold(graph)))
    if images is not None and any(s.node.onnx_type == "Mask" for s in images.form.stages):
        found.add("cut off between two maps")
    return found


def _is_placed(graph: Graph, name: str) -> bool:
    (node,) = (node for node in graph.nodes if node.output == name) if name != "x" else (None,)
    operation = None if node is None else node.operation
    return isinstance(operation, Affine) and isinstance(operation.operator, Indexing)


def _kinds(own: Convolution, is_adjoint: bool, *, wrapped: bool) -> set[str]:
    found = {"transposed"} if is_adjoint else {"convolutions"}
    if own.lead > 1:
        return {"means over windows"}
    found |= {"strides"} if max(own.stride) > 1 and not is_adjoint else set()
    found |= {"dilations"} if max(own.dilation) > 1 else set()
    found |= {"groups"} if own.groups > 1 else set()
    return found | ({"circular"} if wrapped and not is_adjoint else set())


def dags(count: int) -> Iterator[dict[str, object]]:
    """Random graphs, one row for each ingredient; raises SystemExit(1) where a bound fails."""
    totals, below, slopes = Counter[str](), Counter[str](), Counter[str]()
    ratios: dict[str, list[float]] = {}
    wrong = []
    for seed in range(count):
        graph = random_dag(seed)
        form, context = fold(graph), BoundContext()
        averaged, plain = averaged_bound(form, context).value, autolip_bound(form, context).value
        found = torus_lipsdp(form, context, lipsdp_neuron_bound)
        names = ["all", *sorted(ingredients(graph))] if found else ["not on the torus"]
        value = found.value if found else averaged
        held = list(sampled_slopes(graph, np.random.default_rng(seed)))
        if not all(is_above(min(value, averaged), slope, "l2") for slope in held):
            wrong.append(f"graph {seed}: {value} is below a slope")
        if min(value, averaged) > plain:
            wrong.append(f"graph {seed}: {min(value, averaged)} is above AutoLip's {plain}")
        for name in names:
            totals[name] += 1
            slopes[name] += len(held)
            below[name] += value < averaged
            ratios.setdefault(name, []).append(plain / min(value, averaged))
    for name, number in totals.most_common():
        yield {
            "with": name,
            "graphs": number,
            "slopes held against": slopes[name],
            "torus below averaged": below[name],
            "median AutoLip / bound": statistics.median(ratios[name]),
        }
    print("\n".join(wrong) or "no bound is below a slope, and none above AutoLip")
    if wrong:
        raise SystemExit(1)


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("inner", "models", "depth", "dags"))
    parser.add_argument("--graphs", type=int, default=200)
    parser.add_argument("--limit", type=float, default=300.0)
    parser.add_argument("--model", nargs="*", default=list(MODELS))
    chosen = parser.parse_args()
    if chosen.what == "models":
        rows = list(models(chosen.model, chosen.limit))
    elif chosen.what == "dags":
        rows = list(dags(chosen.graphs))
    else:
        rows = list(inner() if chosen.what == "inner" else depth())
    notes = "Times on a processor shared with others: ratios count, not seconds."
    if chosen.what == "dags":
        notes = "Random convolutional graphs: sampled slope ≤ bound ≤ AutoLip in all of them."
    save(f"torus_{chosen.what}", rows, list(rows[0]), notes)


if __name__ == "__main__":
    main()
