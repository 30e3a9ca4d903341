"""Einsum: a contraction of one signal with one constant, of two signals, or of one signal alone."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

import torch
from onnx import NodeProto
from torch import Tensor

from lipcert.nonlinear import Product
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.ops.arithmetic import BOUNDED_REGION, scale
from lipcert.onnx_import.ops.dense import signal_times_constant
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.operators import Adjoint, Indexing, Transpose

SIMPLER = "write it as matmul, transpose and sum"


@dataclass(frozen=True)
class Labelled:
    """A signal or constant with one letter per axis."""

    value: str | Constant
    letters: str


@IMPORTERS.register("Einsum")
def import_einsum(node: NodeProto, scope: Scope) -> None:
    """A contraction with one or two operands, each index at most once in each."""
    equation = Attributes(node, scope).text("equation", "").replace(" ", "")
    if "..." in equation or equation.count("->") > 1:
        raise scope.refuse(f"equation {equation!r} has an ellipsis", SIMPLER)
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = sorted(set(left.replace(",", "")))
        result = "".join(c for c in letters if left.count(c) == 1)
    if len(terms) != len(node.input) or any(len(set(t)) != len(t) for t in (*terms, result)):
        raise scope.refuse(f"equation {equation!r} repeats an index or miscounts operands", SIMPLER)
    if any(len(t) != len(scope.shape(n)) for t, n in zip(terms, node.input, strict=True)):
        raise scope.refuse(f"equation {equation!r} does not fit its operands' shapes", SIMPLER)
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        for letter, size in zip(term, scope.shape(name), strict=True):
            if sizes.setdefault(letter, size) != size:
                raise scope.refuse(f"equation {equation!r} gives {letter!r} two sizes", SIMPLER)
    if not set(result) <= set(sizes) or len(terms) > 2:
        raise scope.refuse(f"equation {equation!r} is not a product of one or two", SIMPLER)
    signals = [k for k, name in enumerate(node.input) if not scope.is_constant(name)]
    if len(signals) == 2:
        product = EinsumProduct(terms[0], terms[1], result)
        shape = tuple(sizes[letter] for letter in result)
        scope.nonlinear(product, list(node.input), shape, node.output[0])
        return
    mine = signals[0]
    theirs = terms[1 - mine] if len(terms) == 2 else ""
    signal = _summed_signal(node.input[mine], terms[mine], theirs + result, scope)
    if len(terms) == 1:
        _arranged(signal, result, scope, node.output[0])
        return
    weight = _summed_constant(scope.constants[node.input[1 - mine]], theirs, terms[mine] + result)
    _contract(signal, weight, result, sizes, scope, node.output[0])


class EinsumProduct(Product):
    """A contraction of two signals."""

    def __init__(self, left: str, right: str, result: str) -> None:
        super().__init__("MatMul", BOUNDED_REGION)
        used = left + right
        batch = next(letter for letter in string.ascii_letters if letter not in used)
        self.equation = f"{batch}{left},{batch}{right}->{batch}{result}"

    def evaluate(self, *inputs: Tensor) -> Tensor:
        """Contract batches."""
        return torch.einsum(self.equation, *inputs)


def _summed_signal(name: str, term: str, wanted: str, scope: Scope) -> tuple[str, str]:
    """The signal summed over the letters that occur nowhere else, and its remaining letters."""
    letters = "".join(c for c in term if c in wanted)
    if letters == term:
        return name, term
    shape = scope.shape(name)
    kept = tuple(n for n, c in zip(shape, term, strict=True) if c in wanted)
    spread = torch.arange(math.prod(kept)).reshape(
        [n if c in wanted else 1 for n, c in zip(shape, term, strict=True)]
    )
    copies = Indexing(spread.expand(shape).contiguous(), kept)
    return scope.linear(Adjoint(copies), name), letters


def _summed_constant(constant: Constant, term: str, wanted: str) -> tuple[Constant, str]:
    axes = tuple(axis for axis, c in enumerate(term) if c not in wanted)
    if not axes:
        return constant, term
    letters = "".join(c for c in term if c in wanted)
    return ball.total(constant, axes, keepdims=False), letters


def _arranged(signal: tuple[str, str], result: str, scope: Scope, output: str) -> None:
    name, letters = signal
    order = tuple(letters.index(c) for c in result)
    scope.linear(Transpose(scope.shape(name), order), name, output)


def _contract(
    signal: tuple[str, str],
    weight: tuple[Constant, str],
    result: str,
    sizes: dict[str, int],
    scope: Scope,
    output: str,
) -> None:
    """One (stacked) matrix product: shared letters stack, the others are free or contracted."""
    (name, mine), (constant, theirs) = signal, weight
    shared = "".join(c for c in mine if c in theirs and c in result)
    inner = "".join(c for c in mine if c in theirs and c not in result)
    free = "".join(c for c in mine if c not in theirs)
    new = "".join(c for c in theirs if c not in mine)
    counts = {group: math.prod(sizes[c] for c in group) for group in (shared, inner, free, new)}
    letters = shared + free
    order = tuple(mine.index(c) for c in letters + inner)
    moved = scope.linear(Transpose(scope.shape(name), order), name)
    axes = tuple(theirs.index(c) for c in shared + inner + new)
    factor = constant.reshaped(lambda array: array.transpose(axes))
    if not inner and not new:
        spread = factor.reshaped(lambda array: array.reshape(*array.shape, *(1 for _ in free)))
        _arranged((scale(moved, spread, scope, None), letters), result, scope, output)
        return
    stack = (counts[shared], counts[inner], counts[new])
    matrix = factor.reshaped(lambda array: array.reshape(stack))
    moved = scope.reshape(moved, (counts[shared], counts[free], counts[inner]))
    if not shared:
        moved = scope.reshape(moved, (*(sizes[c] for c in free), counts[inner]))
        matrix = matrix.reshaped(lambda array: array[0])
    product = signal_times_constant(moved, matrix, scope, None)
    product = scope.reshape(product, tuple(sizes[c] for c in letters + new))
    _arranged((product, letters + new), result, scope, output)
