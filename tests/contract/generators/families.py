"""Small nets of 1-Lipschitz residual families, drawn by hand, in float64."""

from __future__ import annotations

import math

import numpy as np
import torch

from generators.drawing import Drawing
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Adjoint, Convolution, Diagonal, LinearOperator
from lipcert.spectral.explicit import explicit_matrix

CPU = torch.device("cpu")


def matrix_of(operator: LinearOperator) -> np.ndarray:
    """The explicit matrix of an operator."""
    return explicit_matrix(operator, CPU)[0].numpy()


def padded(weight: np.ndarray, side: int) -> Convolution:
    """A zero-padded 3x3 convolution ``(out, in, 3, 3)`` of images of one side."""
    two = (1, 1)
    tensor = torch.from_numpy(np.ascontiguousarray(weight))
    return Convolution(tensor, (side, side), stride=two, dilation=two, pads_begin=two, pads_end=two)


def kernel(rng: np.random.Generator, out: int, channels: int) -> np.ndarray:
    """A random 3x3 kernel."""
    return rng.standard_normal((out, channels, 3, 3)) / 3.0


def shift(rng: np.random.Generator, d: Drawing, value: str, *, lift: float = 0.0) -> str:
    """A random bias; with ``lift`` a large one that turns every neuron on near zero."""
    shape = d.shapes[value]
    bias = torch.from_numpy(rng.standard_normal(shape) * 0.1) + lift
    one = Diagonal(torch.tensor(1.0, dtype=torch.float64), shape)
    return d.add(Affine(one, bias), value)


def through(d: Drawing, operator: LinearOperator, value: str) -> str:
    return d.add(Affine(operator), value)


def minus(d: Drawing, x: str, branch: str) -> str:
    """``x − branch`` as a subtraction is read."""
    return d.total(x, d.scaled(-1.0, branch))


def sll_weights(A: np.ndarray, rng: np.random.Generator, groups: int) -> np.ndarray:
    """``1/T_ii`` for each of some channels, ``T_ii = Σ_j |A Aᵀ|_ij q_j/q_i``, positions alike."""
    size = len(A) // groups
    q = np.repeat(rng.uniform(0.5, 2.0, groups), size)
    T = np.abs(A @ A.T) @ q / q
    return 1.0 / T.reshape(groups, size).max(1)


def cpl_weights(A: np.ndarray, rng: np.random.Generator, groups: int) -> np.ndarray:
    """``1/‖A‖²`` for each of some channels."""
    return np.full(groups, np.linalg.norm(A, 2) ** -2.0)


WEIGHTS = {"sll": sll_weights, "cpl": cpl_weights}


def dense_blocks(
    family: str,
    seed: int,
    *,
    blocks: int = 4,
    width: int = 8,
    excess: float = 1.0,
    lift: float = 0.0,
    tight: bool = False,
) -> Graph:
    """``x − 2 Aᵀ Λ relu(A x + b)``; ``excess`` times the Λ that the theorem allows.

    With ``tight`` the rows of A are orthonormal, so T is ``A Aᵀ`` itself.
    """
    rng = np.random.default_rng(seed)
    d = Drawing(width)
    value = "x"
    for _ in range(blocks):
        A = rng.standard_normal((width - 1, width))
        A = np.linalg.qr(A.T)[0].T if tight else A
        inverse = WEIGHTS[family](A, rng, len(A))
        inner = d.relu(shift(rng, d, d.matrix(A, value), lift=lift))
        value = minus(d, value, d.matrix(2.0 * excess * A.T * inverse, inner))
    return d.graph(value)


def image_blocks(
    family: str,
    seed: int,
    *,
    blocks: int = 3,
    side: int = 5,
    excess: float = 1.0,
    lift: float = 0.0,
) -> Graph:
    """The same with convolutions and their transposes: Conv, Relu, Mul, ConvTranspose, Sub."""
    rng = np.random.default_rng(seed)
    d = Drawing(1, 2, side, side)
    value = "x"
    for _ in range(blocks):
        A = padded(kernel(rng, 3, 2), side)
        inverse = WEIGHTS[family](matrix_of(A), rng, 3)
        inner = d.relu(shift(rng, d, through(d, A, value), lift=lift))
        scale = torch.from_numpy(2.0 * excess * inverse).reshape(3, 1, 1)
        scaled = through(d, Diagonal(scale, d.shapes[inner]), inner)
        value = minus(d, value, through(d, Adjoint(A), scaled))
    return d.graph(value)


def sandwich(seed: int, *sizes: int) -> Graph:
    """``√2 Aᵀ Ψ relu(√2 Ψ⁻¹ B x + b)``, ``A Aᵀ + B Bᵀ = I``."""
    rng = np.random.default_rng(seed)
    d = Drawing(sizes[0])
    value = "x"
    for n, m in zip(sizes, sizes[1:], strict=False):
        rows = np.linalg.qr(rng.standard_normal((n + m, m)))[0].T
        A, B = rows[:, :m], rows[:, m:]
        psi = np.exp(rng.standard_normal(m))
        inner = d.matrix(math.sqrt(2.0) * B / psi[:, None], value)
        inner = d.relu(shift(rng, d, inner))
        value = d.matrix(math.sqrt(2.0) * A.T * psi, inner)
    return d.graph(value)


def linear_residual(seed: int, *, convolutional: bool, blocks: int = 4) -> Graph:
    """``abs((x + K x)/‖I + K‖)``, blocks in a row."""
    rng = np.random.default_rng(seed)
    d = Drawing(1, 2, 5, 5) if convolutional else Drawing(6)
    value = "x"
    for _ in range(blocks):
        size = math.prod(d.shapes[value])
        if convolutional:
            weight = kernel(rng, 2, 2)
            K: LinearOperator = padded(weight, 5)
            branch = through(d, K, value)
            matrix = matrix_of(K)
        else:
            matrix = rng.standard_normal((size, size))
            branch = d.matrix(matrix, value)
        total = d.total(value, shift(rng, d, branch))
        value = d.scaled(1.0 / np.linalg.norm(np.eye(size) + matrix, 2), total)
        value = d.add(ACTIVATIONS["Abs"](), value)
    return d.graph(value)


def invertible(
    seed: int, *, convolutional: bool, contraction: float = 0.8, blocks: int = 2
) -> Graph:
    """``x + g(x)``, ``g = K₂ relu(K₁ x + b)`` with ``‖K₁‖‖K₂‖ = contraction``."""
    rng = np.random.default_rng(seed)
    d = Drawing(1, 2, 5, 5) if convolutional else Drawing(6)
    value = "x"
    for _ in range(blocks):
        value = _contraction(rng, d, value, contraction, convolutional=convolutional)
    return d.graph(value)


def _contraction(
    rng: np.random.Generator, d: Drawing, x: str, contraction: float, *, convolutional: bool
) -> str:
    value = x
    for factor in (1.0, contraction):
        if convolutional:
            n, m = (2, 3) if factor == 1.0 else (3, 2)
            weight = kernel(rng, m, n)
            size = np.linalg.norm(matrix_of(padded(weight, 5)), 2)
            value = through(d, padded(factor * weight / size, 5), value)
        else:
            n, m = (6, 7) if factor == 1.0 else (7, 6)
            weight = rng.standard_normal((m, n))
            value = d.matrix(factor * weight / np.linalg.norm(weight, 2), value)
        if factor == 1.0:
            value = d.relu(shift(rng, d, value))
    return d.total(x, value)


def deep_branches(seed: int, *, convolutional: bool, blocks: int = 3) -> Graph:
    """``x − K₃ relu(K₂ relu(K₁ x))``, random."""
    rng = np.random.default_rng(seed)
    d = Drawing(1, 2, 4, 4) if convolutional else Drawing(6)
    value = "x"
    for _ in range(blocks):
        branch = value
        for place in range(3):
            branch = d.relu(branch) if place else branch
            if convolutional:
                branch = through(d, padded(kernel(rng, 2, 2), 4), branch)
            else:
                branch = d.matrix(rng.standard_normal((6, 6)) / 2.0, branch)
        value = minus(d, value, branch)
    return d.graph(value)
