"""Gradient norms of single examples against torch's own, one example after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import lipcert
from lipcert.certification.data import Dataset
from lipcert.errors import InputError, UnsupportedError
from lipcert.graph import Graph
from lipcert.onnx_import import build_graph
from lipcert.sensitivities.comparison import compare
from lipcert.sensitivities.engine import sensitivities
from lipcert.sensitivities.inputs import norm_ball
from lipcert.sensitivities.search import steepest_input
from lipcert.sensitivities.tracing import parameter_uses
from lipcert.sensitivities.truth import GradientNorms, chunk_size, gradient_norms

RNG = np.random.default_rng
SAMPLES = Path(__file__).resolve().parents[2] / "sample_models"
MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
Parameters = dict[str, Tensor]
Forward = Callable[[Parameters, Tensor], Tensor]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, reduction="none")


def model_of(
    nodes: list[onnx.NodeProto], values: dict[str, np.ndarray], shape: tuple[int, ...]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, *shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def in_file(model: onnx.ModelProto, folder: Path) -> Graph:
    onnx.save(model, folder / "model.onnx")
    return lipcert.load(folder / "model.onnx")


def weights(seed: int, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    random = RNG(seed)
    return {k: random.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def batch(graph: Graph, count: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = RNG(seed)
    x = torch.from_numpy(random.normal(size=(count, *graph.sample_shape)))
    return x, torch.from_numpy(random.integers(0, graph.outputs, count))


def naive(forward: Forward, parameters: Parameters, x: Tensor, labels: Tensor) -> dict[str, list]:
    """Every parameter's gradient norm, one example after the other."""
    held = {k: v.detach().double().requires_grad_() for k, v in parameters.items()}
    norms: dict[str, list] = {name: [] for name in held}
    for one, label in zip(x, labels, strict=True):
        loss = cross_entropy(forward(held, one[None]).reshape(1, -1), label[None]).sum()
        for name, g in zip(held, torch.autograd.grad(loss, list(held.values())), strict=True):
            norms[name].append(float(g.norm()))
    return norms


def check(found: GradientNorms, expected: dict[str, list]) -> None:
    assert set(found.parameters) == set(expected)
    for name, norms in expected.items():
        np.testing.assert_allclose(found.parameters[name], norms, rtol=1e-9, atol=1e-12)
    total = np.sqrt(sum(np.square(norms) for norms in expected.values()))
    np.testing.assert_allclose(found.total, total, rtol=1e-9)


def check_file(
    nodes: list[onnx.NodeProto],
    values: dict[str, np.ndarray],
    shape: tuple[int, ...],
    forward: Forward,
    folder: Path,
    fixed: tuple[str, ...] = (),
) -> GradientNorms:
    """Compare a model written by hand with its re-implementation in torch."""
    graph = in_file(model_of(nodes, values, shape), folder)
    x, labels = batch(graph)
    constants = {k: torch.from_numpy(values[k]).double() for k in fixed}
    real = {
        k: torch.from_numpy(v)
        for k, v in values.items()
        if k not in fixed and v.dtype == np.float32
    }
    np.testing.assert_allclose(
        graph.evaluate(x),
        forward({k: v.double() for k, v in real.items()} | constants, x).reshape(len(x), -1),
        rtol=1e-9,
    )
    found = gradient_norms(graph, cross_entropy, x, labels, chunk=2)
    check(found, naive(lambda p, one: forward(p | constants, one), real, x, labels))
    return found


def test_gemm_with_transposition_alpha_and_beta(tmp_path: Path) -> None:
    values = weights(1, w=(6, 4), b=(6,), v=(6, 3), c=(1,))
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "one", transB=1, alpha=0.5, beta=2.5),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "v", "c"], ["y"], "two"),
    ]
    found = check_file(
        nodes,
        values,
        (4,),
        lambda p, x: (0.5 * x @ p["w"].T + 2.5 * p["b"]).relu() @ p["v"] + p["c"],
        tmp_path,
    )
    assert set(found.layers) == {"one", "two"}
    joint = np.hypot(found.parameters["w"], found.parameters["b"])
    np.testing.assert_allclose(found.layers["one"], joint, rtol=1e-12)


@pytest.mark.parametrize("tokens", [2, 9])
def test_matmul_on_tokens_and_added_bias(tokens: int, tmp_path: Path) -> None:
    """Few tokens go by their Gram matrices, many by the gradient itself."""
    values = weights(2, w=(5, 4), b=(4,), p=(tokens, 1))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "matmul"),
        helper.make_node("Add", ["b", "a"], ["s"], "add"),
        helper.make_node("Sub", ["s", "p"], ["d"], "sub"),
        helper.make_node("Tanh", ["d"], ["y"], "tanh"),
    ]
    check_file(
        nodes,
        values,
        (tokens, 5),
        lambda p, x: (x @ p["w"] + p["b"] - p["p"]).tanh(),
        tmp_path,
    )


def test_stack_of_matrices(tmp_path: Path) -> None:
    values = weights(3, w=(3, 4, 2), v=(2, 6))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "stack"),
        helper.make_node("Tanh", ["h"], ["t"], "tanh"),
        helper.make_node("MatMul", ["v", "t"], ["y"], "left"),
    ]
    check_file(nodes, values, (3, 6, 4), lambda p, x: p["v"] @ (x @ p["w"]).tanh(), tmp_path)


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        (1, {"strides": [2], "pads": [1, 2], "dilations": [2]}),
        (1, {"group": 2, "pads": [1, 1]}),
        (2, {"strides": [2, 1], "pads": [1, 0, 1, 0]}),
        (2, {"dilations": [2, 2], "group": 4, "pads": [2, 2, 2, 2]}),
        (2, {}),
        (3, {"strides": [1, 2, 1], "group": 2, "pads": [1] * 6}),
    ],
)
def test_convolutions(axes: int, options: dict[str, object], tmp_path: Path) -> None:
    groups = int(str(options.get("group", 1)))
    values = weights(4, k=(4, 4 // groups, *(3,) * axes), b=(4,), s=(4, *(1,) * axes))
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["h"], "conv", **options),
        helper.make_node("Tanh", ["h"], ["t"], "tanh"),
        helper.make_node("Mul", ["s", "t"], ["m"], "mul"),
        helper.make_node("Sin", ["m"], ["y"], "sin"),
    ]
    pads = list(options.get("pads", [0] * 2 * axes))  # type: ignore[call-overload]
    around = [p for k in reversed(range(axes)) for p in (pads[k], pads[axes + k])]
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[axes]

    def forward(p: Parameters, x: Tensor) -> Tensor:
        h = conv(
            F.pad(x, around),
            p["k"],
            p["b"],
            stride=options.get("strides", 1),
            dilation=options.get("dilations", 1),
            groups=groups,
        )
        return (h.tanh() * p["s"]).sin()

    check_file(nodes, values, (4, *(7, 6, 5)[:axes]), forward, tmp_path)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(groups: int, tmp_path: Path) -> None:
    values = weights(5, k=(4, 3, 3, 3), b=(3 * groups,))
    nodes = [
        helper.make_node(
            "ConvTranspose",
            ["x", "k", "b"],
            ["h"],
            "up",
            strides=[2, 2],
            pads=[1, 1, 1, 1],
            output_padding=[1, 0],
            group=groups,
        ),
        helper.make_node("Tanh", ["h"], ["y"], "tanh"),
    ]
    check_file(
        nodes,
        values,
        (4, 4, 5),
        lambda p, x: F.conv_transpose2d(x, p["k"], p["b"], 2, 1, (1, 0), groups).tanh(),
        tmp_path,
    )


def test_tied_weights_and_a_shared_residual_input(tmp_path: Path) -> None:
    """One matrix acts twice, once transposed: its gradients add before the norm."""
    values = weights(6, w=(4, 4), b=(4,))
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "first"),
        helper.make_node("Tanh", ["h"], ["t"], "tanh"),
        helper.make_node("Gemm", ["t", "w", "b"], ["u"], "second", transB=1, beta=3.0),
        helper.make_node("Add", ["u", "x"], ["y"], "residual"),
    ]
    found = check_file(
        nodes,
        values,
        (4,),
        lambda p, x: (x @ p["w"] + p["b"]).tanh() @ p["w"].T + 3.0 * p["b"] + x,
        tmp_path,
    )
    parts = found.layers["first"] + found.layers["second"]
    joint = np.hypot(found.parameters["w"], found.parameters["b"])
    assert (joint <= parts * (1 + 1e-12)).all()
    assert (found.total <= parts).all()


def test_prelu_batch_normalisation_and_division(tmp_path: Path) -> None:
    values = weights(7, slope=(3, 1), gain=(3,), shift=(3,), mean=(3,), d=(1, 4))
    values["variance"] = np.abs(weights(8, v=(3,))["v"]) + np.float32(0.1)
    values["d"] += np.float32(3.0)
    nodes = [
        helper.make_node("PRelu", ["x", "slope"], ["p"], "prelu"),
        helper.make_node(
            "BatchNormalization",
            ["p", "gain", "shift", "mean", "variance"],
            ["n"],
            "bn",
            epsilon=0.01,
        ),
        helper.make_node("Tanh", ["n"], ["t"], "tanh"),
        helper.make_node("Div", ["t", "d"], ["y"], "div"),
    ]

    def forward(p: Parameters, x: Tensor) -> Tensor:
        h = torch.where(x >= 0, x, x * p["slope"])
        n = F.batch_norm(h, p["mean"], p["variance"], p["gain"], p["shift"], eps=0.01)
        return n.tanh() / p["d"]

    # the file's epsilon is float32
    graph = in_file(model_of(nodes, values, (3, 4)), tmp_path)
    x, labels = batch(graph)
    fixed = {k: torch.from_numpy(values[k]).double() for k in ("mean", "variance")}
    fixed["variance"] += float(np.float32(0.01)) - 0.01
    real = {k: torch.from_numpy(v) for k, v in values.items() if k not in fixed}
    expected = naive(lambda p, one: forward(p | fixed, one), real, x, labels)
    check(gradient_norms(graph, cross_entropy, x, labels), expected)


def test_layer_normalisation(tmp_path: Path) -> None:
    values = weights(9, gain=(6,), shift=(6,))
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["n"], "ln", epsilon=0.125),
        helper.make_node("Tanh", ["n"], ["y"], "tanh"),
    ]
    check_file(
        nodes,
        values,
        (5, 6),
        lambda p, x: F.layer_norm(x, (6,), p["gain"], p["shift"], eps=0.125).tanh(),
        tmp_path,
    )


def test_class_token(tmp_path: Path) -> None:
    """A constant that fills a part of a tensor."""
    values = weights(10, token=(1, 1, 4), w=(4, 4))
    nodes = [
        helper.make_node("Concat", ["token", "x"], ["h"], "concat", axis=1),
        helper.make_node("Tanh", ["h"], ["t"], "tanh"),
        helper.make_node("MatMul", ["t", "w"], ["y"], "head"),
    ]

    def forward(p: Parameters, x: Tensor) -> Tensor:
        token = p["token"].expand(len(x), -1, -1)
        return torch.cat([token, x], 1).tanh() @ p["w"]

    check_file(nodes, values, (3, 4), forward, tmp_path)


def number(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)


@pytest.mark.parametrize("value", [0.25, -1.5, 0.0])
def test_single_numbers_that_bend_multiply_and_add(value: float, tmp_path: Path) -> None:
    values = {**weights(21, w=(4, 3)), "s": number(value), "m": number(value + 0.5)}
    values |= {"c": number(value), "d": number(3.0), "t": number(0.75)}
    nodes = [
        helper.make_node("PRelu", ["x", "s"], ["p"], "bend"),
        helper.make_node("Mul", ["m", "p"], ["q"], "multiply"),
        helper.make_node("Add", ["q", "c"], ["r"], "add"),
        helper.make_node("Div", ["r", "d"], ["u"], "divide"),
        helper.make_node("Mul", ["w", "t"], ["v"], "scaled"),
        helper.make_node("MatMul", ["u", "v"], ["y"], "head"),
    ]

    def forward(p: Parameters, x: Tensor) -> Tensor:
        bent = torch.where(x >= 0, x, x * p["s"])
        return (bent * p["m"] + p["c"]) / p["d"] @ (p["w"] * p["t"])

    found = check_file(nodes, values, (4,), forward, tmp_path)
    joint = np.hypot(found.parameters["w"], found.parameters["t"])
    np.testing.assert_allclose(found.layers["head"], joint, rtol=1e-12)


def test_one_number_in_several_layers(tmp_path: Path) -> None:
    """Gradients of a tied number are summed before the norm, also where one use divides by it."""
    values = {**weights(22, w=(4, 4), v=(4, 3)), "s": number(1.25)}
    nodes = [
        helper.make_node("Mul", ["x", "s"], ["a"], "in"),
        helper.make_node("MatMul", ["a", "w"], ["h"], "one"),
        helper.make_node("Tanh", ["h"], ["t"], "tanh"),
        helper.make_node("Div", ["t", "s"], ["u"], "out"),
        helper.make_node("MatMul", ["u", "v"], ["y"], "two"),
    ]
    check_file(
        nodes,
        values,
        (4,),
        lambda p, x: (((x * p["s"]) @ p["w"]).tanh() / p["s"]) @ p["v"],
        tmp_path,
    )


def test_numbers_that_are_not_known_are_left_out_by_name(tmp_path: Path) -> None:
    """The product of two numbers tells neither apart; what is bounded all the same is named."""
    values = {**weights(23, w=(4, 3)), "s": number(1.25), "t": number(0.5)}
    nodes = [
        helper.make_node("Mul", ["s", "t"], ["st"], "product"),
        helper.make_node("Mul", ["x", "st"], ["a"], "scale"),
        helper.make_node("MatMul", ["a", "w"], ["h"], "head"),
        helper.make_node("Mul", ["s", "s"], ["ss"], "square"),
        helper.make_node("Mul", ["h", "ss"], ["y"], "end"),
    ]
    graph = in_file(model_of(nodes, values, (4,)), tmp_path)
    x, labels = batch(graph)
    found = gradient_norms(graph, cross_entropy, x, labels)
    held = {k: torch.from_numpy(v) for k, v in values.items()}
    expected = naive(
        lambda p, one: (one * (p["s"] * p["t"])) @ p["w"] * (p["s"] * p["s"]),
        held,
        x,
        labels,
    )
    check(found, {name: expected[name] for name in ("w", "t")})
    bounds = sensitivities(graph, loss_lipschitz=2.0**0.5, input_set=norm_ball(10.0))
    samples = Dataset(Rows(x.numpy()), labels.numpy(), "", "rows")
    compared = compare(graph, bounds, cross_entropy, samples, labels.numpy())
    assert compared.left_out == ("s",)
    assert {one.name for one in compared.parameters} == {"w", "t"}


class Rows:
    """Samples in memory."""

    place = "rows"

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.shape = x.shape[1:]

    def __len__(self) -> int:
        return len(self.x)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.x[start:stop]

    def close(self) -> None:
        return


class Residual(nn.Module):
    """A small residual network with batch normalisation that no exporter folds away."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.bend = nn.PReLU(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(torch.relu(self.stem(x)))
        x = x + self.inner(self.bend(x))
        return self.head(x.mean((2, 3)))


def torch_models() -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    residual = Residual()
    residual.norm.running_mean = torch.randn(4)
    residual.norm.running_var = torch.rand(4) + 0.5
    return [
        ("mlp", nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.Linear(8, 3)), (6,)),
        ("residual", residual, (2, 8, 8)),
        (
            "volume",
            nn.Sequential(nn.Conv3d(1, 2, 2), nn.ELU(), nn.Flatten(), nn.Linear(16, 3)),
            (1, 3, 3, 3),
        ),
        ("zeros", nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), (6,)),
    ]


@pytest.mark.parametrize("case", torch_models(), ids=lambda case: case[0])
def test_exported_from_torch(case: tuple[str, nn.Module, tuple[int, ...]], tmp_path: Path) -> None:
    name, module, shape = case
    module.eval()
    if name == "zeros":
        for layer in module.children():
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = tmp_path / "model.onnx"
        torch.onnx.export(
            module, (torch.zeros(1, *shape),), str(path), opset_version=17, dynamo=False
        )
    graph = lipcert.load(path)
    x, labels = batch(graph, 6)
    module.double()
    found = gradient_norms(graph, cross_entropy, x, labels)
    known = dict(module.named_parameters())
    written = {n for n in graph.initialisers if n in found.parameters}
    expected: dict[str, list] = {n: [] for n in known}
    for one, label in zip(x, labels, strict=True):
        module.zero_grad()
        cross_entropy(module(one[None]), label[None]).sum().backward()
        for n, parameter in known.items():
            assert parameter.grad is not None
            expected[n].append(float(parameter.grad.norm()))
    assert len(written) == len(known)
    for n, norms in expected.items():
        if n in written:
            np.testing.assert_allclose(found.parameters[n], norms, rtol=2e-9, atol=1e-12)
    total = np.sqrt(sum(np.square(norms) for norms in expected.values()))
    np.testing.assert_allclose(found.total, total, rtol=2e-9)


def coefficient_loop(graph: Graph, x: Tensor, labels: Tensor) -> dict[str, list]:
    """Gradients by autograd of the graph itself, one example at a time, for plain uses."""
    uses = [use for use in parameter_uses(graph) if use.rate is not None]
    norms: dict[str, list] = {use.initialiser: [] for use in uses}
    for one, label in zip(x, labels, strict=True):
        values = {graph.input: one.reshape(1, *graph.input_shape)}
        leaves = {}
        for position, node in enumerate(graph.nodes):
            own = {use.role: use for use in uses if use.node == position}
            h = values[node.inputs[0]]
            if own:
                affine = node.operation
                operator = affine.operator
                bias = None if affine.bias is None else affine.bias.clone().requires_grad_()
                if "weight" in own:
                    weight = operator.weight.clone().requires_grad_()
                    leaves[own["weight"].initialiser] = (weight, own["weight"].rate)
                    h = h @ weight.T if weight.dim() == 2 else operator._apply(h, weight)
                if "bias" in own:
                    leaves[own["bias"].initialiser] = (bias, own["bias"].rate)
                    h = h.reshape(1, *operator.out_shape) + bias
                values[node.output] = h
            else:
                values[node.output] = node.operation.evaluate(*(values[n] for n in node.inputs))
        cross_entropy(values[graph.output].reshape(1, -1), label[None]).sum().backward()
        for name, (leaf, rate) in leaves.items():
            norms[name].append(rate * float(leaf.grad.norm()))
    return norms


PLAIN = [
    path
    for path in sorted(SAMPLES.glob("*.onnx"))
    if path.stem not in ("digits_cpl_conv", "digits_liresnet_conv")
]
"""Sample models but for those with transposed convolutions or scales as initialisers."""


@pytest.mark.parametrize("path", PLAIN, ids=lambda p: p.stem)
def test_sample_models(path: Path) -> None:
    graph = lipcert.load(path)
    x, labels = batch(graph, 4)
    check(gradient_norms(graph, cross_entropy, x, labels), coefficient_loop(graph, x, labels))


@pytest.mark.skipif(not MODELS.is_dir(), reason="the development models are not here")
@pytest.mark.parametrize(
    "name", ["cifar_base_kw", "lenet_regulized", "mnist-8", "resnet_2b", "vit_pgd_2_3_16"]
)
def test_development_models(name: str) -> None:
    graph = lipcert.load(MODELS / f"{name}.onnx")
    x, labels = batch(graph, 2)
    found = gradient_norms(graph, cross_entropy, x, labels)
    assert np.isfinite(found.total).all() and (found.total > 0).all()
    statistics = {n for n in graph.initialisers if "running_" in n}
    assert set(found.parameters) == set(graph.initialisers) - statistics
    for parameter, norms in coefficient_loop(graph, x, labels).items():
        if sum(use.initialiser == parameter for use in parameter_uses(graph)) == 1:
            np.testing.assert_allclose(found.parameters[parameter], norms, rtol=1e-9, atol=1e-12)


def small(folder: Path) -> tuple[Graph, Tensor, Tensor]:
    values = weights(12, w=(4, 6), b=(6,), v=(6, 3))
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "one"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "v"], ["y"], "two"),
    ]
    graph = in_file(model_of(nodes, values, (4,)), folder)
    return graph, *batch(graph, 8)


@pytest.mark.parametrize("of", [None, "w", "one"])
@pytest.mark.parametrize("region", ["ball", "box"])
def test_search_raises_the_norm_and_stays_inside(
    of: str | None, region: str, tmp_path: Path
) -> None:
    graph, x, labels = small(tmp_path)
    inside: dict[str, object] = {"radius": 2.0} if region == "ball" else {"box": (-1.0, 1.0)}
    sizes = x.norm(dim=1, keepdim=True)
    x = x * (2.0 / sizes).clamp(max=0.999) if region == "ball" else x.clamp(-1.0, 1.0)
    before = gradient_norms(graph, cross_entropy, x, labels)
    found = steepest_input(
        graph,
        cross_entropy,
        labels,
        start=x,
        steps=30,
        seed=0,
        parameter_or_layer=of,
        **inside,  # type: ignore[arg-type]
    )
    known = before.total if of is None else (before.parameters | before.layers)[of]
    point = found.point
    assert found.norm > known.max() * 1.01
    assert float(point.norm()) <= 2.0 if region == "ball" else float(point.abs().max()) <= 1.0
    own = labels[found.start : found.start + 1]
    again = gradient_norms(graph, cross_entropy, point[None], own)
    norms = again.total if of is None else (again.parameters | again.layers)[of]
    assert float(norms[0]) == pytest.approx(found.norm, rel=1e-12)


def test_search_finds_the_exact_supremum_of_a_linear_model(tmp_path: Path) -> None:
    """By one matrix, the gradient norm is ‖p − e‖·‖x‖ < √2·R, and ascent comes close to it."""
    values = weights(13, w=(4, 3))
    values["w"] *= np.float32(10.0)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], values, (4,))
    graph = in_file(model, tmp_path)
    x, labels = batch(graph, 16)
    found = steepest_input(graph, cross_entropy, labels, start=x, steps=60, seed=0, radius=5.0)
    assert 0.999 < found.norm / (2.0**0.5 * 5.0) <= 1.0


def test_dead_starts_are_left_at_random(tmp_path: Path) -> None:
    graph, _, labels = small(tmp_path)
    first = steepest_input(
        graph, cross_entropy, labels, start=torch.zeros(8, 4), steps=20, seed=3, radius=1.0
    )
    again = steepest_input(
        graph, cross_entropy, labels, start=torch.zeros(8, 4), steps=20, seed=3, radius=1.0
    )
    assert first.norm == again.norm and torch.equal(first.point, again.point)


def refusal(values: dict[str, np.ndarray], nodes: list[onnx.NodeProto], folder: Path) -> str:
    graph = in_file(model_of(nodes, values, (4,)), folder)
    with pytest.raises(UnsupportedError) as caught:
        gradient_norms(graph, cross_entropy, *batch(graph))
    return str(caught.value)


def test_computed_coefficients_are_refused_by_name(tmp_path: Path) -> None:
    values = weights(14, w=(4, 3), b=(3,), c=(3,))
    norm = helper.make_node("ReduceL2", ["w"], ["n"], "norm", keepdims=1)
    divide = helper.make_node("Div", ["w", "n"], ["u"], "divide")
    product = helper.make_node("MatMul", ["x", "u"], ["y"], "product")
    said = refusal(values, [norm, divide, product], tmp_path)
    assert "'product'" in said and "'w'" in said

    both = helper.make_node("Add", ["b", "c"], ["d"], "both")
    added = helper.make_node("Gemm", ["x", "w", "d"], ["y"], "gemm")
    said = refusal(values, [both, added], tmp_path)
    assert "'gemm'" in said and "'b'" in said and "'c'" in said

    squared = helper.make_node("Mul", ["w", "w"], ["u"], "squared")
    said = refusal(values, [squared, product], tmp_path)
    assert "'product'" in said


def test_parallel_layers_with_equal_values_are_refused(tmp_path: Path) -> None:
    """The graph computes both once, so that their gradients cannot be told apart."""
    values = weights(15, w=(4, 3))
    values["v"] = values["w"].copy()
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "left"),
        helper.make_node("MatMul", ["x", "v"], ["b"], "right"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    graph = in_file(model_of(nodes, values, (4,)), tmp_path)
    with pytest.raises(UnsupportedError, match="different values"):
        gradient_norms(graph, cross_entropy, *batch(graph))


def test_what_cannot_be_used(tmp_path: Path) -> None:
    graph, x, labels = small(tmp_path)
    with pytest.raises(InputError, match="one number per example"):
        gradient_norms(graph, lambda y, t: cross_entropy(y, t).mean(), x, labels)
    with pytest.raises(InputError, match="pair them"):
        gradient_norms(graph, cross_entropy, x, labels[:3])
    search = {"start": x, "steps": 1, "seed": 0}
    with pytest.raises(InputError, match="one of"):
        steepest_input(graph, cross_entropy, labels, **search)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no parameter or layer"):
        steepest_input(graph, cross_entropy, labels, radius=1.0, parameter_or_layer="q", **search)  # type: ignore[arg-type]
    (tmp_path / "model.onnx").write_bytes(
        model_of(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], weights(1, w=(4, 3)), (4,)
        ).SerializeToString()
    )
    with pytest.raises(InputError, match="has changed"):
        gradient_norms(graph, cross_entropy, x, labels)


def test_graphs_in_memory_need_their_model(tmp_path: Path) -> None:
    values = weights(16, w=(4, 3))
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], values, (4,))
    graph = build_graph(model, name="memory")
    x, labels = batch(graph)
    with pytest.raises(InputError, match="not read from a file"):
        gradient_norms(graph, cross_entropy, x, labels)
    found = gradient_norms(graph, cross_entropy, x, labels, uses=parameter_uses(graph, model=model))
    check(
        found,
        naive(lambda p, one: one @ p["w"], {"w": torch.from_numpy(values["w"])}, x, labels),
    )


def test_chunks_do_not_change_anything(tmp_path: Path) -> None:
    graph, x, labels = small(tmp_path)
    uses = parameter_uses(graph)
    assert chunk_size(graph, uses) > 8
    whole = gradient_norms(graph, cross_entropy, x, labels, uses=uses)
    parts = gradient_norms(graph, cross_entropy, x, labels, uses=uses, chunk=3)
    np.testing.assert_allclose(whole.total, parts.total, rtol=1e-13)
