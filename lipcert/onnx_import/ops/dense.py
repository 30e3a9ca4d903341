"""Gemm, MatMul and Einsum: products with a constant matrix."""

from __future__ import annotations

import math

import numpy as np
import torch
from onnx import NodeProto

from lipcert.nonlinear import Product
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Attributes, Scope
from lipcert.operators import Convolution, Dense, Diagonal, Transpose

BOUNDED_REGION = "no constant holds everywhere; certify on a bounded input region"


@IMPORTERS.register("Gemm")
def import_gemm(node: NodeProto, scope: Scope) -> None:
    """``alpha · A' B' + beta · C`` with one constant factor."""
    options = Attributes(node, scope)
    alpha, beta = options.number("alpha", 1.0), options.number("beta", 1.0)
    left, right = node.input[0], node.input[1]
    if options.integer("transA", 0):
        left = _transposed(left, scope)
    if options.integer("transB", 0):
        right = _transposed(right, scope)
    has_bias = len(node.input) > 2 and bool(node.input[2])
    product = _matmul(left, right, scope, None if has_bias or alpha != 1.0 else node.output[0])
    if alpha != 1.0:
        product = _scaled(product, alpha, scope, None if has_bias else node.output[0])
    if not has_bias:
        return
    if scope.is_constant(node.input[2]):
        bias = scope.constants[node.input[2]]
        if beta != 1.0:
            bias = ball.multiply(bias, ball.exact(beta))
        scope.shift(bias, product, node.output[0])
    else:
        other = _scaled(node.input[2], beta, scope, None) if beta != 1.0 else node.input[2]
        scope.total([product, other], node.output[0])


@IMPORTERS.register("MatMul")
def import_matmul(node: NodeProto, scope: Scope) -> None:
    """Matrix product, batched over leading axes."""
    _matmul(node.input[0], node.input[1], scope, node.output[0])


def _transposed(name: str, scope: Scope) -> str:
    if scope.is_constant(name):
        fresh = scope.fresh(name)
        scope.constants[fresh] = scope.constants[name].reshaped(np.transpose)
        return fresh
    return scope.linear(Transpose(scope.shape(name), (1, 0)), name)


def _scaled(name: str, factor: float, scope: Scope, output: str | None) -> str:
    scale = torch.tensor(factor, dtype=torch.float64)
    return scope.linear(Diagonal(scale, scope.shape(name)), name, output)


def _matmul(left: str, right: str, scope: Scope, output: str | None) -> str:
    if scope.is_constant(right):
        return _signal_times_constant(left, scope.constants[right], scope, output)
    if scope.is_constant(left):
        return _constant_times_signal(scope.constants[left], right, scope, output)
    shape = _product_shape(scope.shape(left), scope.shape(right), scope)
    return scope.nonlinear(Product("MatMul", BOUNDED_REGION), [left, right], shape, output)


def _product_shape(
    left: tuple[int, ...], right: tuple[int, ...], scope: Scope
) -> tuple[int, ...]:
    try:
        return tuple((np.broadcast_to(0.0, left) @ np.broadcast_to(0.0, right)).shape)
    except ValueError as error:
        raise scope.refuse(f"shapes {left} and {right} do not multiply") from error


def _signal_times_constant(
    signal: str, weight: Constant, scope: Scope, output: str | None
) -> str:
    """``x @ W``; a stack of matrices acts as a grouped convolution of kernel size 1."""
    value = weight.value
    if value.ndim == 0 or scope.shape(signal)[-1:] != value.shape[-2:][:1]:
        raise scope.refuse(f"shapes {scope.shape(signal)} and {value.shape} do not multiply")
    if value.ndim == 1:
        column = weight.reshaped(lambda array: array[:, None])
        product = _signal_times_constant(signal, column, scope, None)
        return scope.reshape(product, scope.shape(product)[:-1], output)
    if math.prod(value.shape[:-2]) == 1:
        flat = weight.reshaped(lambda array: array.reshape(value.shape[-2:]).T)
        wanted = _product_shape(scope.shape(signal), value.shape, scope)
        dense = Dense(flat.tensor(), scope.shape(signal)[:-1], flat.matrix_error())
        if wanted == dense.out_shape:
            return scope.linear(dense, signal, output, parameters=weight.sources)
        product = scope.linear(dense, signal, parameters=weight.sources)
        return scope.reshape(product, wanted, output)
    return _stacked_product(signal, weight, scope, output)


def _stacked_product(signal: str, weight: Constant, scope: Scope, output: str | None) -> str:
    shape = _product_shape(scope.shape(signal), weight.value.shape, scope)
    lead, (rows, columns) = shape[:-2], weight.value.shape[-2:]
    if len(scope.shape(signal)) < 2:
        raise scope.refuse("multiplies a vector by a stack of matrices")
    stacked = scope.broadcast(signal, (*lead, *scope.shape(signal)[-2:]))
    tokens, count = scope.shape(stacked)[-2], math.prod(lead)
    # (stack, tokens, rows) -> (1, stack · rows, tokens): channels of a grouped convolution
    flat = scope.reshape(stacked, (count, tokens, rows))
    channels = scope.linear(Transpose((count, tokens, rows), (0, 2, 1)), flat)
    channels = scope.reshape(channels, (1, count * rows, tokens))
    kernel = weight.reshaped(
        lambda array: np.ascontiguousarray(
            np.broadcast_to(array, (*lead, rows, columns))
            .reshape(count, rows, columns)
            .transpose(0, 2, 1)
            .reshape(count * columns, rows, 1)
        )
    )
    product = scope.linear(
        Convolution(
            kernel.tensor(), (tokens,), stride=(1,), dilation=(1,), pads_begin=(0,),
            pads_end=(0,), groups=count, error=kernel.matrix_error(),
        ),
        channels,
        parameters=weight.sources,
    )
    product = scope.reshape(product, (count, columns, tokens))
    product = scope.linear(Transpose((count, columns, tokens), (0, 2, 1)), product)
    return scope.reshape(product, shape, output)


def _constant_times_signal(
    weight: Constant, signal: str, scope: Scope, output: str | None
) -> str:
    """``W @ x`` as ``(xᵀ @ Wᵀ)ᵀ``."""
    shape = scope.shape(signal)
    if len(shape) < 2:
        row = scope.reshape(signal, (*shape, 1))
        product = _constant_times_signal(weight, row, scope, None)
        return scope.reshape(product, scope.shape(product)[:-1], output)
    swap = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    flipped = scope.linear(Transpose(shape, swap), signal)
    vector = weight.value.ndim == 1
    matrix = weight.reshaped(
        lambda array: array[:, None] if vector else np.swapaxes(array, -1, -2)
    )
    product = _signal_times_constant(flipped, matrix, scope, None)
    shape = scope.shape(product)
    if vector:
        return scope.reshape(product, shape[:-1], output)
    swap = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    return scope.linear(Transpose(shape, swap), product, output)


@IMPORTERS.register("Einsum")
def import_einsum(node: NodeProto, scope: Scope) -> None:
    """A contraction of one signal with one constant, or a rearrangement of one signal."""
    equation = Attributes(node, scope).text("equation", "").replace(" ", "")
    if "..." in equation or "->" not in equation:
        raise scope.refuse(f"equation {equation!r} has an ellipsis or no '->'")
    operands, result = equation.split("->")
    terms = operands.split(",")
    if len(terms) != len(node.input) or any(len(set(term)) != len(term) for term in terms):
        raise scope.refuse(f"equation {equation!r} repeats an index or miscounts its operands")
    if any(len(t) != len(scope.shape(n)) for t, n in zip(terms, node.input, strict=True)):
        raise scope.refuse(f"equation {equation!r} does not fit its operands' shapes")
    signals = [k for k, name in enumerate(node.input) if not scope.is_constant(name)]
    if len(terms) == 1 and sorted(terms[0]) == sorted(result):
        order = tuple(terms[0].index(letter) for letter in result)
        scope.linear(Transpose(scope.shape(node.input[0]), order), node.input[0], node.output[0])
        return
    if len(terms) == 2 and len(signals) == 2:
        sizes = {
            letter: size
            for term, name in zip(terms, node.input, strict=True)
            for letter, size in zip(term, scope.shape(name), strict=True)
        }
        product = EinsumProduct(equation, BOUNDED_REGION)
        shape = tuple(sizes[letter] for letter in result)
        scope.nonlinear(product, list(node.input), shape, node.output[0])
        return
    if len(terms) != 2:
        raise scope.refuse(f"equation {equation!r} is not a product of two operands")
    _contract(node, scope, terms, result, signals[0])


class EinsumProduct(Product):
    """A contraction of two signals."""

    def __init__(self, equation: str, help: str) -> None:
        super().__init__("MatMul", help)
        left, right, result = equation.replace("->", ",").split(",")
        self.equation = f"Z{left},Z{right}->Z{result}"

    def evaluate(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Contract batches."""
        return torch.einsum(self.equation, *inputs)


def _contract(
    node: NodeProto, scope: Scope, terms: list[str], result: str, position: int
) -> None:
    signal, weight = node.input[position], scope.constants[node.input[1 - position]]
    mine, theirs = terms[position], terms[1 - position]
    contracted = [c for c in mine if c in theirs and c not in result]
    free = [c for c in mine if c not in theirs and c in result]
    new = [c for c in theirs if c not in mine and c in result]
    if len(contracted) + len(free) != len(mine) or len(contracted) + len(new) != len(theirs):
        raise scope.refuse("contracts along an axis that both operands and the result share")
    size = dict(zip(mine, scope.shape(signal), strict=True))
    size |= dict(zip(theirs, weight.value.shape, strict=True))
    order = tuple(mine.index(c) for c in (*free, *contracted))
    moved = scope.linear(Transpose(scope.shape(signal), order), signal)
    lead = tuple(size[c] for c in free)
    inner, outer = (math.prod(size[c] for c in group) for group in (contracted, new))
    moved = scope.reshape(moved, (*lead, inner))
    axes = tuple(theirs.index(c) for c in (*new, *contracted))
    matrix = weight.reshaped(lambda array: array.transpose(axes).reshape(outer, inner))
    product = scope.linear(
        Dense(matrix.tensor(), lead, matrix.matrix_error()), moved, parameters=weight.sources
    )
    product = scope.reshape(product, (*lead, *(size[c] for c in new)))
    letters = [*free, *new]
    final = tuple(letters.index(c) for c in result)
    scope.linear(Transpose(scope.shape(product), final), product, node.output[0])
