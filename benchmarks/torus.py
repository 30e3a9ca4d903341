"""LipSDP on the torus: deep convolutional chains, whole models, and how the time grows.

python benchmarks/torus.py inner|models|depth [--limit SECONDS] [--model NAME ...]

``inner`` are the convolutions of cnn_C9_CH16 behind the first, their weights as trained (the file
doubles each one's output), slopes [0, 1]: what GLipSDP (Pauli et al. 2024) was measured on, which
gives 177.640 for all eight in 4.67 s with Mosek.  Every time includes the proof.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import torch
from common import dev_folder, save

import lipcert
from lipcert.bounds import BoundContext
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.torus import torus_lipsdp
from lipcert.graph import Node
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Convolution
from lipcert.signals import SignalForm, Stage, fold

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


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("inner", "models", "depth"))
    parser.add_argument("--limit", type=float, default=300.0)
    parser.add_argument("--model", nargs="*", default=list(MODELS))
    chosen = parser.parse_args()
    if chosen.what == "models":
        rows = list(models(chosen.model, chosen.limit))
    else:
        rows = list(inner() if chosen.what == "inner" else depth())
    notes = "Times on a processor shared with others: ratios count, not seconds."
    save(f"torus_{chosen.what}", rows, list(rows[0]), notes)


if __name__ == "__main__":
    main()
