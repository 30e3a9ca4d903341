"""Gemm and MatMul: products with a constant matrix, or of two signals."""

from __future__ import annotations

import math

import numpy as np
import torch
from onnx import NodeProto

from lipcert.nonlinear import Product
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.operands import optional
from lipcert.onnx_import.ops.arithmetic import BOUNDED_REGION
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.operators import Convolution, Dense, Diagonal, Shape, Transpose


@IMPORTERS.register("Gemm")
def import_gemm(node: NodeProto, scope: Scope) -> None:
    """``alpha · A' B' + beta · C`` with one constant factor."""
    options = Attributes(node, scope)
    alpha, beta = options.number("alpha", 1.0), options.number("beta", 1.0)
    left, right = node.input[0], node.input[1]
    if len(scope.shape(left)) != 2 or len(scope.shape(right)) != 2:
        raise scope.refuse("multiplies something else than two matrices")
    if options.flag("transA", 0):
        left = _transposed(left, scope)
    if options.flag("transB", 0):
        right = _transposed(right, scope)
    has_bias = bool(optional(node, 2))
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
        return signal_times_constant(left, scope.constants[right], scope, output)
    if scope.is_constant(left):
        return _constant_times_signal(scope.constants[left], right, scope, output)
    return _signals_product(left, right, scope, output)


def _signals_product(left: str, right: str, scope: Scope, output: str | None) -> str:
    """A product of two signals, both brought to one rank of at least two."""
    rows, columns = scope.shape(left), scope.shape(right)
    result = _product_shape(rows, columns, scope)
    rows = (1,) * (2 - len(rows)) + rows
    columns = columns + (1,) * (2 - len(columns))
    rank = max(len(rows), len(columns))
    rows = (1,) * (rank - len(rows)) + rows
    columns = (1,) * (rank - len(columns)) + columns
    operands = [scope.reshape(left, rows), scope.reshape(right, columns)]
    full = _product_shape(rows, columns, scope)
    kind = Product("MatMul", BOUNDED_REGION)
    if full == result:
        return scope.nonlinear(kind, operands, result, output)
    return scope.reshape(scope.nonlinear(kind, operands, full), result, output)


def _product_shape(left: Shape, right: Shape, scope: Scope) -> Shape:
    """Shape of a matrix product by numpy's rules, or a refusal."""
    refusal = scope.refuse(f"shapes {left} and {right} do not multiply")
    if not left or not right or left[-1] != right[-2:][0]:
        raise refusal
    lead = scope.common_shape(left[:-2], right[:-2])
    return (*lead, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))


def signal_times_constant(signal: str, weight: Constant, scope: Scope, output: str | None) -> str:
    """Append ``x @ W``; a stack of matrices acts as a grouped convolution of kernel size 1."""
    value, shape = weight.value, scope.shape(signal)
    wanted = _product_shape(shape, value.shape, scope)
    if value.ndim == 1:
        column = weight.reshaped(lambda array: array[:, None])
        return scope.reshape(signal_times_constant(signal, column, scope, None), wanted, output)
    if math.prod(value.shape[:-2]) == 1:
        flat = weight.reshaped(lambda array: array.reshape(value.shape[-2:]).T)
        dense = Dense(flat.tensor(), shape[:-1], flat.matrix_error())
        if wanted == dense.out_shape:
            return scope.linear(dense, signal, output, coefficients=flat)
        product = scope.linear(dense, signal, coefficients=flat)
        return scope.reshape(product, wanted, output)
    if len(shape) == 1:
        row = scope.reshape(signal, (1, *shape))
        return scope.reshape(signal_times_constant(row, weight, scope, None), wanted, output)
    return _stacked_product(signal, weight, scope, output)


def _stacked_product(signal: str, weight: Constant, scope: Scope, output: str | None) -> str:
    shape = _product_shape(scope.shape(signal), weight.value.shape, scope)
    lead, (rows, columns) = shape[:-2], weight.value.shape[-2:]
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
            kernel.tensor(),
            (tokens,),
            stride=(1,),
            dilation=(1,),
            pads_begin=(0,),
            pads_end=(0,),
            groups=count,
            error=kernel.matrix_error(),
        ),
        channels,
        coefficients=kernel,
    )
    product = scope.reshape(product, (count, columns, tokens))
    product = scope.linear(Transpose((count, columns, tokens), (0, 2, 1)), product)
    return scope.reshape(product, shape, output)


def _constant_times_signal(weight: Constant, signal: str, scope: Scope, output: str | None) -> str:
    """``W @ x`` as ``(xᵀ @ Wᵀ)ᵀ``."""
    shape = scope.shape(signal)
    _product_shape(weight.value.shape, shape, scope)
    if len(shape) < 2:
        column = scope.reshape(signal, (*shape, 1))
        product = _constant_times_signal(weight, column, scope, None)
        return scope.reshape(product, scope.shape(product)[:-1], output)
    flipped = scope.linear(Transpose(shape, _swapped(len(shape))), signal)
    vector = weight.value.ndim == 1
    matrix = weight.reshaped(lambda array: array[:, None] if vector else np.swapaxes(array, -1, -2))
    product = signal_times_constant(flipped, matrix, scope, None)
    shape = scope.shape(product)
    if vector:
        return scope.reshape(product, shape[:-1], output)
    return scope.linear(Transpose(shape, _swapped(len(shape))), product, output)


def _swapped(rank: int) -> tuple[int, ...]:
    """The permutation that exchanges the last two axes."""
    return (*range(rank - 2), rank - 1, rank - 2)
