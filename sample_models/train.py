"""Train the sample networks on scikit-learn's 8x8 digits and export them to ONNX.

``python sample_models/train.py [--out DIR]`` writes three models and two test files: a plain
ReLU network, and two networks that are 1-Lipschitz in the l2 norm by construction (one dense,
one convolutional).  All seeds are fixed and one thread is used.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

EPS = (0.1, 0.25, 0.5, 0.75, 1.0)
SHRINK = 1.0 - 1e-6  # leaves room for the rounding of the weights to float32
TEST_SIZE = 450


def cayley(raw: Tensor) -> Tensor:
    """Map a free matrix (or a batch of them) to orthonormal columns, or rows if it is wide.

    Cayley transform of a skew-symmetric matrix, extended to rectangular matrices (Trockman and
    Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform", 2021).
    """
    if raw.shape[-2] < raw.shape[-1]:
        return cayley(raw.mT).mT
    n = raw.shape[-1]
    top, low = raw[..., :n, :], raw[..., n:, :]
    skew = top - top.mT + low.mT @ low
    eye = torch.eye(n, dtype=raw.dtype)
    inverse = torch.linalg.inv(eye + skew)
    return torch.cat([inverse @ (eye - skew), -2.0 * low @ inverse], dim=-2)


def block_convolve(a: Tensor, b: Tensor) -> Tensor:
    """Kernel of "convolve by b, then by a"; kernels are (height, width, out, in).

    The block convolution of Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs"
    (2018): a product of polynomials with matrix coefficients.
    """
    height, width = a.shape[0] - 1, a.shape[1] - 1
    terms = [
        F.pad(a[i, j] @ b, (0, 0, 0, 0, j, width - j, i, height - i))
        for i in range(height + 1)
        for j in range(width + 1)
    ]
    return torch.stack(terms).sum(dim=0)


def projector_kernel(p: Tensor, q: Tensor) -> Tensor:
    """Orthogonal 2x2 kernel from two symmetric projectors (Xiao et al., 2018)."""
    eye = torch.eye(p.shape[0], dtype=p.dtype)
    return block_convolve(torch.stack([p, eye - p])[:, None], torch.stack([q, eye - q])[None])


class Orthogonal(nn.Module):
    """A layer whose weight is a differentiable, norm-preserving function of free parameters."""

    bias: nn.Parameter

    def weight(self) -> Tensor:
        """The weight as a function of the parameters, in their precision."""
        raise NotImplementedError

    def empty(self) -> nn.Linear | nn.Conv2d:
        """A plain layer of the same shape."""
        raise NotImplementedError

    @torch.no_grad()
    def plain(self) -> nn.Module:
        """The same map as a plain float32 layer; its weight is made in float64 and shrunk."""
        layer = self.empty()
        weight = copy.deepcopy(self).double().weight()
        layer.weight.copy_((SHRINK * weight).float())
        assert layer.bias is not None
        layer.bias.copy_(self.bias)
        return layer


class OrthogonalLinear(Orthogonal):
    """Dense layer with orthonormal rows or columns (Cayley parametrisation)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.empty(n_out, n_in))
        nn.init.orthogonal_(self.raw)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def weight(self) -> Tensor:
        return cayley(self.raw)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(), self.bias)

    def empty(self) -> nn.Linear:
        return nn.Linear(self.raw.shape[1], self.raw.shape[0])


class PatchConv(Orthogonal):
    """2x2 convolution of stride 2: one orthonormal matrix applied to disjoint patches."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.c_in, self.c_out = c_in, c_out
        self.raw = nn.Parameter(torch.empty(c_out, 4 * c_in))
        nn.init.orthogonal_(self.raw)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def weight(self) -> Tensor:
        return cayley(self.raw).reshape(self.c_out, self.c_in, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, stride=2)

    def empty(self) -> nn.Conv2d:
        return nn.Conv2d(self.c_in, self.c_out, 2, stride=2)


class OrthogonalConv(Orthogonal):
    """3x3 convolution, orthogonal under circular and 1-Lipschitz under zero padding.

    Block convolution orthogonal parametrisation (Li et al., "Preventing Gradient Attenuation in
    Lipschitz Constrained Convolutional Networks", 2019), for c_out >= c_in.  A zero-padded
    convolution is a circular one on a larger grid between two coordinate projections, so
    zero padding cannot raise the norm.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.c_in, self.c_out = c_in, c_out
        self.raw_matrix = nn.Parameter(torch.empty(c_out, c_in))
        self.raw_frames = nn.Parameter(torch.empty(4, c_out, c_out // 2))
        nn.init.orthogonal_(self.raw_matrix)
        for frame in self.raw_frames:
            nn.init.orthogonal_(frame)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def weight(self) -> Tensor:
        frames = cayley(self.raw_frames)
        p = frames @ frames.mT
        kernel = block_convolve(projector_kernel(p[0], p[1]), projector_kernel(p[2], p[3]))
        return (kernel @ cayley(self.raw_matrix)).permute(2, 3, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, padding=1)

    def empty(self) -> nn.Conv2d:
        return nn.Conv2d(self.c_in, self.c_out, 3, padding=1)


class MaxMin(nn.Module):
    """Sort pairs of channels (Anil, Lucas and Grosse, "Sorting out Lipschitz function
    approximation", 2019); channel i is paired with channel i + C/2."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


def materialise(net: nn.Sequential) -> nn.Sequential:
    """The same network with plain nn.Linear and nn.Conv2d layers."""
    layers = [m.plain() if isinstance(m, Orthogonal) else copy.deepcopy(m) for m in net]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def relu_mlp() -> nn.Sequential:
    """An ordinary network without any constraint, for comparison."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def lip_mlp() -> nn.Sequential:
    """Dense 64-128-128-128-128-10 with orthonormal rows or columns in every layer."""
    layers: list[nn.Module] = [OrthogonalLinear(64, 128), MaxMin()]
    for _ in range(3):
        layers += [OrthogonalLinear(128, 128), MaxMin()]
    return nn.Sequential(*layers, OrthogonalLinear(128, 10))


def lip_conv() -> nn.Sequential:
    """Convolutions 1-8-32-32-64 (8x8 down to 2x2), then dense 256-128-10."""
    return nn.Sequential(
        OrthogonalConv(1, 8), MaxMin(),
        PatchConv(8, 32), MaxMin(),
        OrthogonalConv(32, 32), MaxMin(),
        PatchConv(32, 64), MaxMin(), nn.Flatten(),
        OrthogonalLinear(256, 128), MaxMin(), OrthogonalLinear(128, 10),
    )  # fmt: skip


def margin_loss(tau: float, margin: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of tau * (logits - margin at the true class), over tau.

    The temperature is that of Bethune et al., "Pay attention to your loss" (2022); the margin
    offset follows Tsuzuku et al., "Lipschitz-Margin Training" (2018).
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        offset = margin * F.one_hot(target, logits.shape[1])
        return F.cross_entropy(tau * (logits - offset), target) / tau

    return loss


@dataclass(frozen=True)
class Recipe:
    """How one sample network is built, trained and exported."""

    build: Callable[[], nn.Sequential]
    shape: tuple[int, ...]
    loss: Callable[[Tensor, Tensor], Tensor]
    epochs: int
    rate: float
    noise: float
    batch: int
    opset: int


def train(net: nn.Sequential, x: Tensor, y: Tensor, recipe: Recipe) -> None:
    """Adam with a one-cycle learning rate; Gaussian noise of the given scale on the inputs."""
    optimiser = torch.optim.Adam(net.parameters(), lr=recipe.rate)
    steps = len(x) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=recipe.epochs * steps
    )
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x))
        for index in order[: steps * recipe.batch].reshape(steps, recipe.batch):
            inputs = x[index] + recipe.noise * torch.randn_like(x[index])
            optimiser.zero_grad()
            torch.autograd.backward(recipe.loss(net(inputs), y[index]))
            optimiser.step()
            schedule.step()


def spectral_norms(net: nn.Sequential, shape: tuple[int, ...]) -> list[tuple[str, float]]:
    """Largest singular value (float64 SVD) of each layer's matrix, zero padding included."""
    norms = []
    x = torch.zeros(1, *shape, dtype=torch.float64)
    for index, layer in enumerate(copy.deepcopy(net).double()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            basis = torch.eye(x.numel(), dtype=torch.float64).reshape(-1, *x.shape[1:])
            offset = layer(torch.zeros_like(x))
            matrix = (layer(basis) - offset).flatten(1)
            kind = f"{index} {type(layer).__name__} {tuple(layer.weight.shape)}"
            norms.append((kind, float(torch.linalg.matrix_norm(matrix, 2))))
        x = layer(x)
    return norms


def certified(logits: Tensor, y: Tensor, bound: float) -> list[float]:
    """Accuracy, then certified accuracy at each radius of EPS, given an l2 Lipschitz bound.

    A correct prediction is certified within (top1 - top2) / (sqrt(2) * bound) (Tsuzuku et al.).
    """
    top = logits.double().topk(2, dim=1)
    radius = (top.values[:, 0] - top.values[:, 1]) / (math.sqrt(2) * bound)
    correct = top.indices[:, 0] == y
    return [float((correct & (radius > eps)).double().mean()) for eps in (-1.0, *EPS)]


def strip(message: Any) -> None:
    """Clear doc_string and metadata_props (stack traces, file paths) of a protobuf message tree."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for child in [value] if hasattr(value, "ListFields") else value:
                strip(child)


def export(net: nn.Sequential, x: Tensor, path: Path, opset: int, dynamo: bool) -> None:
    """Write one self-contained ONNX file; compare weights, and outputs at batch sizes 1 and 7."""
    options: dict[str, Any] = {"input_names": ["x"], "output_names": ["logits"], "dynamo": dynamo}
    if dynamo:
        options |= {"dynamic_shapes": ({0: torch.export.Dim("batch")},), "external_data": False}
    else:
        options |= {"dynamic_axes": {"x": {0: "batch"}, "logits": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x[:2],), path, opset_version=opset, verbose=False, **options)
    model = onnx.load(path)
    strip(model)
    onnx.checker.check_model(model, full_check=True)
    stored = [onnx.numpy_helper.to_array(init) for init in model.graph.initializer]
    for weight in net.state_dict().values():  # a layer without bias is stored transposed
        kept = (weight.numpy(), weight.numpy().T)
        assert any(np.array_equal(array, way) for array in stored for way in kept), path
    onnx.save(model, path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 7):
        (actual,) = session.run(None, {"x": x[:batch].numpy()})
        assert np.abs(actual - net(x[:batch]).numpy()).max() <= 1e-5, path
    ops = sorted({node.op_type for node in model.graph.node})
    print(f"  {path.name}: {path.stat().st_size} bytes, opset {opset}, {', '.join(ops)}")


CERT = margin_loss(tau=16.0, margin=1.3)
RECIPES = {
    "digits_relu_mlp": Recipe(relu_mlp, (64,), F.cross_entropy, 40, 3e-3, 0.0, 128, opset=17),
    "digits_lip_mlp": Recipe(lip_mlp, (64,), CERT, 600, 0.03, 0.1, 256, opset=20),
    "digits_lip_conv": Recipe(lip_conv, (1, 8, 8), CERT, 200, 0.02, 0.1, 128, opset=18),
}


def run(name: str, recipe: Recipe, split: list[Tensor], out: Path) -> str:
    """Train, check and export one network; return its row of the result table."""
    torch.manual_seed(0)
    x_train, x_test = (x.reshape(-1, *recipe.shape) for x in split[:2])
    y_train, y_test = split[2:]
    start = time.perf_counter()
    net = recipe.build()
    lipschitz = any(isinstance(layer, Orthogonal) for layer in net)
    train(net, x_train, y_train, recipe)
    plain = materialise(net)
    print(f"{name}: trained in {time.perf_counter() - start:.0f} s; spectral norms")
    norms = spectral_norms(plain, recipe.shape)
    for kind, norm in norms:
        print(f"  {kind:<32} {norm:.9f}")
        assert not lipschitz or 1.0 - 1e-5 <= norm <= 1.0, kind
    bound = 1.0 if lipschitz else math.prod(norm for _, norm in norms)
    export(plain, x_test, out / f"{name}.onnx", recipe.opset, dynamo=lipschitz)
    figures = certified(plain(x_test), y_test, bound)
    return f"| {name} | {bound:.2f} | " + " | ".join(f"{value:.3f}" for value in figures) + " |"


def load() -> list[Tensor]:
    """Digits with pixels in [0, 1], as x_train, x_test, y_train, y_test (stratified, fixed)."""
    digits = load_digits()
    x, y = (digits.data / 16.0).astype(np.float32), digits.target.astype(np.int64)
    split = train_test_split(x, y, test_size=TEST_SIZE, stratify=y, random_state=0)
    return [torch.from_numpy(part) for part in split]


def prepared(description: str | None) -> Path:
    """The folder that the command line names for the files, made; and torch kept quiet."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    return out


def table(rows: list[str]) -> str:
    """Rows of results as a Markdown table."""
    head = "| model | l2 bound | accuracy | " + " | ".join(f"eps {eps}" for eps in EPS) + " |"
    return "\n".join(["", head, "| --- " * (3 + len(EPS)) + "|", *rows])


def main() -> None:
    """Train, export and check the three models."""
    out = prepared(__doc__)
    split = load()
    x, y = split[1].numpy(), split[3].numpy()
    np.savez_compressed(out / "digits_test.npz", x=x, y=y)
    np.savez_compressed(out / "digits_test_images.npz", x=x.reshape(-1, 1, 8, 8), y=y)
    rows = [run(name, recipe, split, out) for name, recipe in RECIPES.items()]
    print(table(rows))


if __name__ == "__main__":
    main()
