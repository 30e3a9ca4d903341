"""Gradient norms of single examples against the loop over samples, and against opacus.

python benchmarks/gradients.py
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from common import dev_folder, save
from onnx import numpy_helper
from torch import Tensor, nn

import lipcert
from lipcert.sensitivities.tracing import parameter_uses
from lipcert.sensitivities.truth import gradient_norms

MODEL = "cifar_wide_kw.onnx"
DATA = "cifar10_nchw_kw.npz"
FEW, MANY = 200, 10_000
"""Samples on a processor and on a GPU."""
LOOPED = 500
"""Samples that the loop is run for at most; its time for more is in proportion."""
REPEATS = 5


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, reduction="none")


def torch_model(path: str) -> tuple[nn.Sequential, list[str]]:
    """The same network as layers of torch, and the initialisers' names in its order."""
    model = onnx.load(path)
    arrays = {i.name: torch.tensor(numpy_helper.to_array(i)) for i in model.graph.initializer}
    layers: list[nn.Module] = []
    names: list[str] = []
    for node in model.graph.node:
        options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv":
            weight, bias = (arrays[name] for name in node.input[1:])
            convolution = nn.Conv2d(
                weight.shape[1],
                weight.shape[0],
                tuple(weight.shape[2:]),
                stride=tuple(options["strides"]),
                padding=tuple(options["pads"][:2]),
            )
            layers.append(_filled(convolution, weight, bias))
        elif node.op_type == "Gemm":
            weight, bias = (arrays[name] for name in node.input[1:])
            weight = weight if options.get("transB", 0) else weight.T
            layers.append(_filled(nn.Linear(*reversed(weight.shape)), weight, bias))
        elif node.op_type == "Relu":
            layers.append(nn.ReLU())
        elif node.op_type == "Flatten":
            layers.append(nn.Flatten())
        else:
            continue
        names += list(node.input[1:])
    return nn.Sequential(*layers), names


def _filled(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> nn.Module:
    layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return layer


def samples(count: int) -> tuple[Tensor, Tensor]:
    """The data set's samples and labels, repeated to ``count`` with noise."""
    with np.load(dev_folder() / "data" / DATA) as file:
        array, labels = file["x"], file["y"]
    chosen = np.arange(count) % len(array)
    noise = 0.1 * np.random.default_rng(0).normal(size=(count, *array.shape[1:]))
    return torch.from_numpy(array[chosen] + noise), torch.from_numpy(labels[chosen])


def loop(module: nn.Module, x: Tensor, labels: Tensor) -> np.ndarray:
    """Norms ``(N, parameters)``, one backward pass after the other."""
    held = list(module.parameters())
    rows = []
    for one, label in zip(x, labels, strict=True):
        loss = cross_entropy(module(one[None]), label[None]).sum()
        rows.append(torch.stack([g.norm() for g in torch.autograd.grad(loss, held)]))
    return torch.stack(rows).cpu().numpy()


def opacus_norms(module: nn.Module, x: Tensor, labels: Tensor) -> np.ndarray:
    """Norms ``(N, parameters)`` of opacus's per-sample gradients, in batches."""
    from opacus import GradSampleModule

    wrapped = GradSampleModule(module, loss_reduction="sum")
    rows = []
    for some, theirs in zip(x.split(256), labels.split(256), strict=True):
        wrapped.zero_grad()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its hooks remark that inputs need no gradient
            cross_entropy(wrapped(some), theirs).sum().backward()
        norms = [p.grad_sample.flatten(1).norm(dim=1) for p in wrapped.parameters()]
        rows.append(torch.stack(norms, 1).detach())
    norms = torch.cat(rows).cpu().numpy()
    wrapped.to_standard_module()
    return norms


def seconds(*calls: object) -> list[list[float]]:
    """Times of calls that take turns, so that a busy machine is busy for all of them."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS + 1):
        for own, call in zip(times, calls, strict=True):
            start = time.perf_counter()
            call()  # type: ignore[operator]
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            own.append(time.perf_counter() - start)
    return [own[1:] for own in times]


def row(name: str, count: int, theirs: list[float], ours: list[float], apart: float) -> dict:
    """One comparison: median times, and the median and the range of the runs' ratios."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {
        "against": name,
        "samples": count,
        "theirs ms per sample": 1e3 * float(np.median(theirs)) / count,
        "lipcert ms per sample": 1e3 * float(np.median(ours)) / count,
        "ratio": float(np.median(ratios)),
        "least ratio": min(ratios),
        "largest ratio": max(ratios),
        "largest relative difference": apart,
    }


def main() -> None:
    path = str(dev_folder() / "models" / MODEL)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = MANY if device.type == "cuda" else FEW
    x, labels = (t.to(device) for t in samples(count))
    graph = lipcert.load(path).to(device)
    uses = parameter_uses(graph)
    module, names = torch_model(path)
    module = module.to(device)
    rows = []

    def ours() -> np.ndarray:
        found = gradient_norms(graph, cross_entropy, x, labels, uses=uses)
        return np.stack([found.parameters[name] for name in names], 1)

    def apart(theirs: np.ndarray) -> float:
        mine = ours()[: len(theirs)]
        return float((np.abs(mine - theirs) / np.abs(mine).max(0)).max())

    few = min(count, LOOPED)
    for kind in (torch.float64, torch.float32):
        module = module.to(kind)
        some, theirs = x[:few].to(kind), labels[:few]
        looped, own = seconds(lambda m=module, s=some, t=theirs: loop(m, s, t), ours)
        scaled = [t * count / few for t in looped]
        title = f"loop over samples, {str(kind).removeprefix('torch.')}"
        rows.append(row(title, count, scaled, own, apart(loop(module, some, theirs))))
        try:
            import opacus
        except ImportError:
            rows.append({"against": "opacus: skipped, it is not installed", "samples": count})
            continue
        title = f"opacus {opacus.__version__}, {str(kind).removeprefix('torch.')}"
        whole = x.to(kind)
        peers, own = seconds(lambda m=module, s=whole: opacus_norms(m, s, labels), ours)
        rows.append(row(title, count, peers, own, apart(opacus_norms(module, whole, labels))))
    columns = [
        "against",
        "samples",
        "theirs ms per sample",
        "lipcert ms per sample",
        "ratio",
        "least ratio",
        "largest ratio",
        "largest relative difference",
    ]
    save(
        "gradients",
        rows,
        columns,
        f"Gradient norms of single examples by all {len(names)} parameters of `{MODEL}` on "
        f"{device.type}, {torch.get_num_threads()} threads; lipcert computes in float64 always. "
        f"A ratio above 1 says that lipcert is faster.  The loop is one backward pass per sample "
        f"(at most {LOOPED} are run, the rest in proportion); both take turns in {REPEATS} runs.",
    )


if __name__ == "__main__":
    main()
