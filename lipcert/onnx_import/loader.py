"""From an ONNX file, bytes or a torch module to a :class:`~lipcert.graph.Graph`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, NodeProto, ValueInfoProto

import lipcert.onnx_import.ops  # noqa: F401  (fills IMPORTERS)
from lipcert.errors import InputError, UnsupportedError
from lipcert.graph import Affine, Graph, Node
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.external import read_external
from lipcert.onnx_import.folding import as_constant, fold, initialiser
from lipcert.onnx_import.pairing import pair_extrema
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import MAX_ELEMENTS, Scope
from lipcert.operators import Indexing, Shape

STANDARD_DOMAINS = ("", "ai.onnx")


def load_graph(
    path: str | Path, *, input_shape: Shape | None = None, output: str | None = None
) -> Graph:
    """Read a model file.

    Parameters
    ----------
    path : the ``.onnx`` file; external data is read from the same folder.
    input_shape : shape of one sample, for models with dynamic sizes beyond the batch.
    output : name of the output to take, for models with several.

    Raises
    ------
    InputError : the file is missing or is not a usable ONNX model.
    UnsupportedError : a node that lipcert cannot read or bound, by name.
    """
    path = Path(path)
    content = read_model_bytes(path)
    digest = hashlib.sha256(content)
    model = parse_model(content, path.name)
    read_external(model, path, digest)
    return build_graph(
        model, name=path.name, sha256=digest.hexdigest(), source=str(path),
        input_shape=input_shape, output=output,
    )


def read_model_bytes(path: Path) -> bytes:
    """The bytes of a model file, with a sentence for everything that can be wrong with it."""
    try:
        if path.is_dir():
            raise InputError(str(path), "is a folder", "name the .onnx file in it")
        if not path.exists():
            raise InputError(str(path), "no such file", "check the path of the model")
        if not path.is_file():
            raise InputError(str(path), "is not a regular file", "name an .onnx file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), f"cannot be read: {reason}") from error
    if not content:
        raise InputError(str(path), "is empty", "export the model again")
    return content


def parse_model(content: bytes, name: str) -> ModelProto:
    """Parse a serialised model and check that it is one."""
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RuntimeError) as error:
        raise InputError(
            name, "is not an ONNX model (or is truncated)", "export the model again"
        ) from error
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InputError(name, "holds no ONNX graph", "name an .onnx file")
    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:
            raise InputError(name, f"has functions that cannot be inlined: {error}") from error
    return model


def build_graph(
    model: ModelProto,
    *,
    name: str,
    sha256: str = "",
    source: str = "",
    input_shape: Shape | None = None,
    output: str | None = None,
) -> Graph:
    """Turn a parsed model, external data already in it, into a graph for one sample."""
    opset = _opset(model, name)
    constants = _initialisers(model, name)
    signal = _single_input(model, constants, name)
    target = _single_output(model, output, name)
    shape, batched, batch = _input_shape(signal, model, target, input_shape, name)
    order = _needed_in_order(model.graph.node, target, {*constants, signal.name}, name)
    scope = Scope(opset, constants, {signal.name: shape}, batch=batch)
    scope.named = {v for node in model.graph.node for v in (*node.input, *node.output)}
    needed = {v for _, node in order for v in node.input} | {target}
    for position, node in order:
        _import_node(node, position, scope, needed)
    result = scope.names.get(target, target)
    nodes = [*scope.nodes, *_output_node(result, scope, signal.name)]
    graph = Graph(
        name, tuple(pair_extrema(nodes)), signal.name, result, shape, batched, opset, sha256,
        source, {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer},
        file_output=target,
    ).ending_at(result)
    if batch > 1:
        _check_batch_is_carried(graph, batch)
    return graph


def _import_node(node: NodeProto, position: int, scope: Scope, needed: set[str]) -> None:
    node = scope.enter(node, position)
    if node.domain not in STANDARD_DOMAINS:
        raise scope.refuse(
            f"belongs to the operator set {node.domain!r}",
            "export with standard operators (optimised or quantised models are not read)",
        )
    for name in node.input:
        if name and not scope.is_constant(name) and name not in scope.shapes:
            raise scope.refuse(f"reads {name!r}, which nothing defines")
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
        raise scope.refuse("has a subgraph", "export without control flow (If, Loop, Scan)")
    try:
        if node.op_type in ("Shape", "Size") and node.input[0] in scope.shapes:
            _import_shape(node, scope)
        elif all(scope.is_constant(name) for name in node.input if name):
            for name, constant in zip(node.output, fold(node, scope), strict=False):
                scope.constants[name] = constant
        elif node.op_type in IMPORTERS:
            IMPORTERS[node.op_type](node, scope)
        else:
            raise scope.refuse(
                "is not an operator that lipcert can bound",
                "leave it out of the exported model, or ask for it to be added",
            )
    except (IndexError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise UnsupportedError(
            scope.place, f"does not fit its operands ({error})", "check the model with onnx.checker"
        ) from error
    for name in node.output:
        known = name in scope.shapes or name in scope.constants or name in scope.names
        if name in needed and not known:
            raise scope.refuse(f"its output {name!r} is used, which is not supported")


def _import_shape(node: NodeProto, scope: Scope) -> None:
    """Shape arithmetic: shapes are known, so they are constants."""
    shape = scope.shapes[node.input[0]]
    if node.op_type == "Size":
        value = np.asarray(np.prod(shape), dtype=np.int64)
    else:
        start = next((a.i for a in node.attribute if a.name == "start"), 0)
        end = next((a.i for a in node.attribute if a.name == "end"), len(shape))
        value = np.asarray(shape[slice(start, end)], dtype=np.int64)
    scope.constants[node.output[0]] = Constant(value)


def _opset(model: ModelProto, name: str) -> int:
    versions = [o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS]
    if not versions:
        raise InputError(name, "does not say which ONNX operator set it uses")
    if not 7 <= max(versions) <= onnx.defs.onnx_opset_version():
        raise InputError(
            name, f"uses ONNX operator set {max(versions)}",
            f"7 to {onnx.defs.onnx_opset_version()} are read; convert or export it again",
        )
    return int(max(versions))


def _initialisers(model: ModelProto, name: str) -> dict[str, Constant]:
    constants: dict[str, Constant] = {}
    for tensor in model.graph.initializer:
        place = f"{name}, initialiser {tensor.name!r}"
        if tensor.dims and (min(tensor.dims) < 0 or _count(tensor.dims) > MAX_ELEMENTS):
            raise InputError(place, f"declares the shape {tuple(tensor.dims)}")
        try:
            value = initialiser(tensor)
        except Exception as error:
            raise InputError(
                place, f"cannot be read ({error})", "the file is damaged; export it again"
            ) from error
        constant = as_constant(value, None, (tensor.name,))
        if constant.is_float and not np.isfinite(constant.middle).all():
            raise InputError(
                place, "holds NaN or infinite values", "a model with such weights has no bound"
            )
        constants[tensor.name] = constant
    if model.graph.sparse_initializer:
        raise InputError(name, "has sparse initialisers", "export with dense weights")
    return constants


def _count(dims: Iterable[int]) -> int:
    total = 1
    for size in dims:
        total *= max(1, size)
    return total


def _single_input(
    model: ModelProto, constants: dict[str, Constant], name: str
) -> ValueInfoProto:
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        listed = ", ".join(value.name for value in inputs) or "none"
        raise UnsupportedError(
            name, f"has {len(inputs)} inputs ({listed})",
            "a bound needs exactly one; make the others constants when exporting",
        )
    kind = inputs[0].type.tensor_type.elem_type
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16):
        named = onnx.TensorProto.DataType.Name(kind)
        raise UnsupportedError(
            name, f"its input {inputs[0].name!r} has type {named}",
            "a Lipschitz constant needs a real input; start after the embedding or the cast",
        )
    return inputs[0]


def _single_output(model: ModelProto, output: str | None, name: str) -> str:
    names = [value.name for value in model.graph.output]
    if output is not None:
        if output not in names:
            raise InputError(name, f"has no output {output!r}", f"choose of: {', '.join(names)}")
        return output
    if len(names) != 1:
        raise UnsupportedError(
            name, f"has {len(names)} outputs ({', '.join(names)})", "choose one with --output NAME"
        )
    return names[0]


def _input_shape(
    signal: ValueInfoProto, model: ModelProto, target: str,
    wanted: Shape | None, name: str,
) -> tuple[Shape, bool, int]:
    """The input's shape for one sample, whether axis 0 is the batch, and the file's own batch."""
    place = f"{name}, input {signal.name!r}"
    tensor = signal.type.tensor_type
    if not tensor.HasField("shape") and wanted is None:
        raise InputError(place, "has no shape", "give the shape of a sample with --input-shape")
    dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    if wanted is not None:
        return _wanted_shape(dims, wanted, tensor.HasField("shape"), place)
    dims = [d if d is None or d > 0 else None for d in dims]
    if None in dims[1:]:
        free = [str(axis) for axis, d in enumerate(dims) if d is None and axis > 0]
        raise InputError(
            place, f"has dynamic sizes on axes {', '.join(free)}",
            "give the shape of a sample with --input-shape, or export with fixed sizes",
        )
    rest = tuple(d for d in dims[1:] if d is not None)
    if len(dims) < 2 and dims[:1] != [None]:
        return tuple(d for d in dims if d is not None), False, 1
    batch = dims[0]
    if batch in (None, 1):
        return (1, *rest), True, 1
    assert batch is not None
    result = next(value for value in model.graph.output if value.name == target)
    leading = [d.dim_value for d in result.type.tensor_type.shape.dim[:1]]
    if leading == [batch]:
        return (1, *rest), True, batch
    return (batch, *rest), False, 1


def _wanted_shape(
    dims: list[int | None], wanted: Shape, has_shape: bool, place: str
) -> tuple[Shape, bool, int]:
    if min(wanted, default=1) < 1:
        raise InputError(place, f"cannot have the shape {wanted}")
    batched = not has_shape or len(dims) == len(wanted) + 1
    full = (1, *wanted) if batched else wanted
    declared = dims if has_shape else [None] * len(full)
    fits = len(declared) == len(full) and all(
        d in (None, 0, size) for d, size in zip(declared[batched:], wanted, strict=True)
    )
    if not fits:
        raise InputError(
            place, f"the shape {wanted} given does not fit the declared {dims}",
            "give the shape of one sample, without the batch",
        )
    batch = declared[0] if batched and declared[0] else 1
    return full, batched, int(batch)


def _needed_in_order(
    nodes: Iterable[NodeProto], target: str, given: set[str], name: str
) -> list[tuple[int, NodeProto]]:
    """The nodes behind ``target`` in topological order, each with its position in the file."""
    producers: dict[str, tuple[int, NodeProto]] = {}
    for position, node in enumerate(nodes):
        for value in node.output:
            if value:
                if value in producers or value in given:
                    raise InputError(name, f"defines the value {value!r} twice")
                producers[value] = (position, node)
    if target not in producers and target not in given:
        raise InputError(name, f"nothing defines its output {target!r}")
    order: list[tuple[int, NodeProto]] = []
    state: dict[int, int] = {}
    stack = [target]
    while stack:
        value = stack[-1]
        if value in given or value not in producers:
            stack.pop()
            continue
        position, node = producers[value]
        if state.get(position) == 2:
            stack.pop()
            continue
        open_inputs = [
            item for item in node.input
            if item in producers and item not in given and state.get(producers[item][0]) != 2
        ]
        if not open_inputs:
            state[position] = 2
            order.append((position, node))
            stack.pop()
            continue
        if state.get(position) == 1:
            raise InputError(name, f"its graph has a cycle through {value!r}")
        state[position] = 1
        stack.extend(open_inputs)
    return order


def _output_node(result: str, scope: Scope, source: str) -> list[Node]:
    """For an output that does not depend on the input: zero times the input, plus the constant."""
    if result in scope.shapes:
        return []
    import torch

    constant = scope.constants[result]
    index = torch.full(constant.value.shape, -1, dtype=torch.int64)
    operation = Affine(
        Indexing(index, scope.shapes[source]), constant.tensor(), constant.total_error()
    )
    return [Node("output", "Constant", operation, (source,), result, tuple(index.shape))]


def _check_batch_is_carried(graph: Graph, batch: int) -> None:
    """A file with a fixed batch was read for a batch of one: every value must keep its axis 0."""
    for node in graph.nodes:
        if node.shape[:1] not in ((1,), (2,)) and node.onnx_type != "MaxMin":
            raise UnsupportedError(
                f"node {node.name!r} ({node.onnx_type})",
                f"moves the fixed batch axis of size {batch}",
                "export with a batch size of 1 or a dynamic batch",
            )
