"""Evaluating nodes whose inputs are all constants: weights computed in the graph, shape arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.scope import MAX_ELEMENTS, Attributes, Scope
from lipcert.registry import Registry

Folder = Callable[[NodeProto, list[Constant], Scope], Constant]

FOLDERS: Registry[Folder] = Registry("constant folder")
"""Arithmetic on real constants, with radii."""

STRUCTURAL = frozenset(
    """Cast Concat ConstantOfShape Expand Flatten Gather GatherElements GatherND Identity Pad Range
    Reshape Shape Size Slice Split Squeeze Tile Transpose Unsqueeze Where DepthToSpace SpaceToDepth
    EyeLike OneHot ScatterND ScatterElements CastLike Compress Trilu ReverseSequence""".split()
)
"""Operators that only move or create elements: folded with the reference implementation."""

DECIDING = frozenset(
    """Equal Greater GreaterOrEqual Less LessOrEqual And Or Not Xor IsNaN IsInf ArgMax ArgMin NonZero
    Floor Ceil Round Sign Mod BitShift Unique TopK""".split()
)
"""Operators whose result on real numbers may hang on their last bit: exact operands only."""


def fold(node: NodeProto, scope: Scope) -> list[Constant]:
    """The node's outputs as constants.  Raises UnsupportedError where rounding is not bounded."""
    operands = [scope.constants[name] if name else Constant(np.zeros(0)) for name in node.input]
    present = [operand for name, operand in zip(node.input, operands, strict=True) if name]
    real = any(operand.is_float for operand in present)
    if node.op_type in FOLDERS and real:
        with np.errstate(over="ignore", invalid="ignore"):
            return [FOLDERS[node.op_type](node, operands, scope)]
    if real and node.op_type not in STRUCTURAL | DECIDING | {"Constant"}:
        raise scope.refuse(
            "computes a weight in a way whose rounding is not bounded",
            "fold constants when exporting (torch.onnx.export does by default)",
        )
    inexact = any(operand.radius is not None for operand in present)
    if inexact and node.op_type not in STRUCTURAL - {"Cast", "CastLike"}:
        if not (node.op_type == "Cast" and _casts_to_real(node)):
            raise scope.refuse("decides on a computed weight, which is known only up to rounding")
    _check_growth(node, operands, scope)
    return _reference(node, operands, scope)


def _casts_to_real(node: NodeProto) -> bool:
    to = next((a.i for a in node.attribute if a.name == "to"), 0)
    return to in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def _reference(node: NodeProto, operands: list[Constant], scope: Scope) -> list[Constant]:
    """Run ONNX's reference implementation on the values and, where there are any, on the radii."""
    values = _run(node, [operand.value for operand in operands], scope)
    sources = tuple(dict.fromkeys(name for operand in operands for name in operand.sources))
    radii: list[np.ndarray | None] = [None] * len(values)
    if any(operand.radius is not None for operand in operands):
        widths = [o.spread if o.is_float else o.value for o in operands]
        radii = list(_run(node, widths, scope))
    return [as_constant(v, r, sources) for v, r in zip(values, radii, strict=True)]


def _run(node: NodeProto, values: list[np.ndarray], scope: Scope) -> list[np.ndarray]:
    names = [f"i{k}" if name else "" for k, name in enumerate(node.input)]
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(names)
    feeds = {name: value for name, value in zip(names, values, strict=True) if name}
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = onnx.helper.make_graph([copy], "fold", inputs, outputs)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", scope.opset)], ir_version=8
    )
    try:
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:
        raise scope.refuse(f"its constant operands do not fit: {error}") from error


def as_constant(
    value: np.ndarray, radius: np.ndarray | None = None, sources: tuple[str, ...] = ()
) -> Constant:
    """An array as a constant: real types as float64, which holds each of them exactly."""
    if value.dtype == bool or np.issubdtype(value.dtype, np.integer) or value.dtype.kind in "USO":
        return Constant(value, None, sources)
    return Constant(np.asarray(value, dtype=np.float64), radius, sources)


def _check_growth(node: NodeProto, operands: list[Constant], scope: Scope) -> None:
    """Refuse to build a tensor of absurd size before any memory is taken for it."""
    size: float = 0.0
    if node.op_type in ("ConstantOfShape", "Expand") and operands:
        size = math.prod(max(1, int(n)) for n in operands[-1].value.reshape(-1))
    elif node.op_type == "Tile":
        size = operands[0].value.size * math.prod(int(n) for n in operands[1].value.reshape(-1))
    elif node.op_type == "Range":
        start, stop, step = (float(operand.value.reshape(-1)[0]) for operand in operands)
        size = (stop - start) / step if step else math.inf
    elif node.op_type == "Pad":
        pads = operands[1].value if len(operands) > 1 else np.zeros(1)
        size = float(operands[0].value.size + 1) * (1.0 + float(np.abs(pads).sum()))
    elif node.op_type == "OneHot":
        size = operands[0].value.size * float(operands[1].value.reshape(-1)[0])
    elif node.op_type == "EyeLike":
        size = operands[0].value.size
    if size > MAX_ELEMENTS:
        raise scope.refuse(f"asks for a constant of {size:.3g} elements")


# --- arithmetic --------------------------------------------------------------------------------


@FOLDERS.register("Add")
def fold_add(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a + b``."""
    return ball.add(*operands)


@FOLDERS.register("Sub")
def fold_sub(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a − b``."""
    return ball.subtract(*operands)


@FOLDERS.register("Mul")
def fold_mul(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a · b``."""
    return ball.multiply(*operands)


@FOLDERS.register("Div")
def fold_div(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a / b``."""
    return ball.divide(*operands)


@FOLDERS.register("Reciprocal")
def fold_reciprocal(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``1 / a``."""
    return ball.divide(ball.exact(1.0), operands[0])


@FOLDERS.register("Sqrt")
def fold_sqrt(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``√a``."""
    return ball.square_root(operands[0])


@FOLDERS.register("Neg")
def fold_neg(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``−a``."""
    return Constant(-operands[0].middle, operands[0].radius, operands[0].sources)


@FOLDERS.register("Abs")
def fold_abs(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``|a|``."""
    return Constant(np.abs(operands[0].middle), operands[0].radius, operands[0].sources)


@FOLDERS.register("Relu")
def fold_relu(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``max(a, 0)``, 1-Lipschitz."""
    a = operands[0]
    return Constant(np.maximum(a.middle, 0.0), a.radius, a.sources)


@FOLDERS.register("Exp")
def fold_exp(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``e^a``."""
    steepest = float(np.exp((operands[0].middle + operands[0].spread).max(initial=0.0))) * 1.001
    return ball.monotone(operands[0], np.exp, steepest)


@FOLDERS.register("Tanh")
def fold_tanh(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Hyperbolic tangent."""
    return ball.monotone(operands[0], np.tanh, 1.0)


@FOLDERS.register("Pow")
def fold_pow(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Powers 2, 3, 1/2, −1/2 and −1."""
    base, exponent = operands
    power = float(exponent.middle.reshape(-1)[0]) if exponent.value.size == 1 else math.nan
    if power == 2.0:
        return ball.multiply(base, base)
    if power == 3.0:
        return ball.multiply(ball.multiply(base, base), base)
    if power == 0.5:
        return ball.square_root(base)
    if power == -0.5:
        return ball.divide(ball.exact(1.0), ball.square_root(base))
    if power == -1.0:
        return ball.divide(ball.exact(1.0), base)
    raise scope.refuse("raises a weight to a power other than 2, 3, 1/2, -1/2, -1")


@FOLDERS.register("MatMul")
def fold_matmul(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``a @ b``."""
    return ball.matrix_product(*operands)


@FOLDERS.register("Gemm")
def fold_gemm(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``alpha · a @ b + beta · c``."""
    options = Attributes(node, scope)
    a, b = operands[:2]
    if options.integer("transA", 0):
        a = a.reshaped(np.transpose)
    if options.integer("transB", 0):
        b = b.reshaped(np.transpose)
    product = ball.multiply(ball.matrix_product(a, b), ball.exact(options.number("alpha", 1.0)))
    if len(operands) < 3 or not node.input[2]:
        return product
    return ball.add(product, ball.multiply(operands[2], ball.exact(options.number("beta", 1.0))))


def _reduction_axes(
    node: NodeProto, operands: list[Constant], scope: Scope
) -> tuple[tuple[int, ...] | None, bool]:
    options = Attributes(node, scope)
    axes: tuple[int, ...] = options.integers("axes", ())
    if len(operands) > 1 and node.input[1]:
        axes = tuple(int(axis) for axis in operands[1].value.reshape(-1))
    return axes or None, bool(options.integer("keepdims", 1))


@FOLDERS.register("ReduceSum")
def fold_reduce_sum(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Sum over axes."""
    axes, keepdims = _reduction_axes(node, operands, scope)
    return ball.total(operands[0], axes, keepdims=keepdims)


@FOLDERS.register("ReduceMean")
def fold_reduce_mean(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Mean over axes."""
    axes, keepdims = _reduction_axes(node, operands, scope)
    summed = ball.total(operands[0], axes, keepdims=keepdims)
    return ball.divide(summed, ball.exact(operands[0].value.size / max(1, summed.value.size)))


@FOLDERS.register("ReduceL2")
def fold_reduce_l2(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """l2 norm over axes."""
    axes, keepdims = _reduction_axes(node, operands, scope)
    squares = ball.multiply(operands[0], operands[0])
    return ball.square_root(ball.total(squares, axes, keepdims=keepdims))


@FOLDERS.register("ReduceSumSquare")
def fold_reduce_sum_square(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Sum of squares over axes."""
    axes, keepdims = _reduction_axes(node, operands, scope)
    return ball.total(ball.multiply(operands[0], operands[0]), axes, keepdims=keepdims)


@FOLDERS.register("Max", "Min")
def fold_extremum(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """Elementwise maximum or minimum: 1-Lipschitz in the larger of the radii."""
    choose = np.maximum if node.op_type == "Max" else np.minimum
    value, radius = operands[0].middle, operands[0].spread
    for other in operands[1:]:
        value = choose(value, other.middle)
        radius = np.maximum(radius, other.spread)
    sources = tuple(dict.fromkeys(name for operand in operands for name in operand.sources))
    inexact = any(operand.radius is not None for operand in operands)
    return Constant(value, np.broadcast_to(radius, value.shape) if inexact else None, sources)


@FOLDERS.register("Clip")
def fold_clip(node: NodeProto, operands: list[Constant], scope: Scope) -> Constant:
    """``min(max(a, low), high)``, 1-Lipschitz in a."""
    options = Attributes(node, scope)
    low, high = options.number("min", -math.inf), options.number("max", math.inf)
    if len(node.input) > 1 and node.input[1]:
        low = scope.number(node.input[1], "lower limit")
    if len(node.input) > 2 and node.input[2]:
        high = scope.number(node.input[2], "upper limit")
    a = operands[0]
    return Constant(np.minimum(np.maximum(a.middle, low), high), a.radius, a.sources)


def initialiser(tensor: onnx.TensorProto) -> np.ndarray:
    """An initialiser's array.  Raises ValueError when the bytes do not fit the declared shape."""
    return numpy_helper.to_array(tensor)
