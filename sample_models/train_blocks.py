"""Train the sample networks of 1-Lipschitz residual blocks on the digits and export them to ONNX.

``python sample_models/train_blocks.py [--out DIR]`` writes five models, each 1-Lipschitz in the l2
norm by its family's theorem: SLL and sandwich layers (dense), CPL, LiResNet and i-ResNet
(convolutional).  Free parameters are trained in float32; what is exported is made from them in
float64 and shrunk a little.  All seeds are fixed and one thread is used.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from blocks import (
    CONTRACTION,
    CPL,
    SLL,
    Block,
    InvertibleResidual,
    LinearResidual,
    Sandwich,
    ScaledHead,
)
from torch import Tensor, nn
from train import (
    CERT,
    MaxMin,
    Orthogonal,
    OrthogonalConv,
    OrthogonalLinear,
    PatchConv,
    Recipe,
    certified,
    export,
    load,
    prepared,
    table,
    train,
)


def digits_net(
    stem: Sequence[nn.Module], blocks: Sequence[nn.Module], head: nn.Module
) -> nn.Sequential:
    """Images to eight channels, blocks, then patches of 2x2 and a dense head."""
    return nn.Sequential(*stem, *blocks, PatchConv(8, 16), nn.Flatten(), head)


def sll_mlp() -> nn.Sequential:
    """Dense 64-32, three SLL blocks of 32 hidden neurons, dense 32-10."""
    blocks = [SLL(32, 32) for _ in range(3)]
    return nn.Sequential(OrthogonalLinear(64, 32), *blocks, OrthogonalLinear(32, 10))


def sandwich_mlp() -> nn.Sequential:
    """Sandwich layers 64-32-32-32, dense 32-10."""
    sizes = (64, 32, 32, 32)
    layers = [Sandwich(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*layers, OrthogonalLinear(32, 10))


def cpl_conv() -> nn.Sequential:
    """Three CPL blocks of 12 hidden channels on 8 channels."""
    blocks = [CPL(8, 12) for _ in range(3)]
    return digits_net([OrthogonalConv(1, 8)], blocks, OrthogonalLinear(256, 10))


def liresnet_conv() -> nn.Sequential:
    """Three linear residual convolutions on 8 channels, MaxMin behind each."""
    blocks = [layer for _ in range(3) for layer in (LinearResidual(8), MaxMin())]
    return digits_net([OrthogonalConv(1, 8), MaxMin()], blocks, OrthogonalLinear(256, 10))


def iresnet_conv() -> nn.Sequential:
    """Two invertible blocks of 12 hidden channels on 8 channels."""
    blocks = [InvertibleResidual(8, 12) for _ in range(2)]
    head = ScaledHead(256, 10, (1.0 + CONTRACTION) ** -len(blocks))
    return digits_net([OrthogonalConv(1, 8)], blocks, head)


RECIPES = {
    "digits_sll_mlp": Recipe(sll_mlp, (64,), CERT, 200, 0.02, 0.1, 128, opset=17),
    "digits_sandwich_mlp": Recipe(sandwich_mlp, (64,), CERT, 200, 0.02, 0.1, 128, opset=17),
    "digits_cpl_conv": Recipe(cpl_conv, (1, 8, 8), CERT, 60, 0.01, 0.1, 128, opset=17),
    "digits_liresnet_conv": Recipe(liresnet_conv, (1, 8, 8), CERT, 60, 0.01, 0.1, 128, opset=18),
    "digits_iresnet_conv": Recipe(iresnet_conv, (1, 8, 8), CERT, 60, 0.01, 0.1, 128, opset=18),
}


def materialise(net: nn.Sequential) -> nn.Sequential:
    """The same network in plain layers."""
    layers = [m.plain() if isinstance(m, Orthogonal | Block) else copy.deepcopy(m) for m in net]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def run(name: str, recipe: Recipe, split: list[Tensor], out: Path) -> str:
    """Train, export and check one network; return its row of the result table."""
    torch.manual_seed(0)
    x_train, x_test = (x.reshape(-1, *recipe.shape) for x in split[:2])
    y_train, y_test = split[2:]
    start = time.perf_counter()
    net = recipe.build()
    train(net, x_train, y_train, recipe)
    print(f"{name}: trained in {time.perf_counter() - start:.0f} s")
    plain = materialise(net)
    export(plain, x_test, out / f"{name}.onnx", recipe.opset, dynamo=recipe.opset > 17)
    figures = certified(plain(x_test), y_test, 1.0)
    return f"| {name} | 1.00 | " + " | ".join(f"{value:.3f}" for value in figures) + " |"


def main() -> None:
    """Train, export and check the five models."""
    out = prepared(__doc__)
    split = load()
    print(table([run(name, recipe, split, out) for name, recipe in RECIPES.items()]))


if __name__ == "__main__":
    main()
