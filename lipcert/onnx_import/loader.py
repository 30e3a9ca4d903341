"""From an ONNX file or parsed model to a :class:`~lipcert.graph.Graph`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

import lipcert.onnx_import.folders
import lipcert.onnx_import.ops  # noqa: F401  (both fill registries)
from lipcert.errors import InputError, LipcertError, UnsupportedError
from lipcert.graph import Affine, Graph, Node
from lipcert.onnx_import.batches import check_batch_is_carried
from lipcert.onnx_import.constants import Constant, NotFiniteError
from lipcert.onnx_import.external import read_external
from lipcert.onnx_import.folding import fold
from lipcert.onnx_import.functions import MAX_NODES, inline_functions
from lipcert.onnx_import.initialisers import read_initialisers, uses_narrow_types
from lipcert.onnx_import.order import needed_in_order
from lipcert.onnx_import.pairing import pair_extrema
from lipcert.onnx_import.pending import import_pending, refuse_masked
from lipcert.onnx_import.reads import made_of, trainable_reads, with_all_sources
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.onnx_import.signature import (
    STANDARD_DOMAINS,
    Signature,
    read_opset,
    read_signature,
    single_input,
    single_output,
)
from lipcert.operators import Indexing, Shape

MAX_FILE = (1 << 31) - 1
"""Bytes of the largest message of protocol buffers."""
LONGEST_NAME = 100_000
"""Characters of the longest name of a node, a value or an attribute."""


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
        model,
        name=path.name,
        sha256=digest.hexdigest(),
        source=str(path),
        input_shape=input_shape,
        output=output,
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
        if path.stat().st_size > MAX_FILE:
            finding = f"holds {path.stat().st_size} bytes, above the {MAX_FILE} of an ONNX file"
            raise InputError(str(path), finding, "export it with external data")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), f"cannot be read: {reason}", "check its permissions") from error
    if not content:
        raise InputError(str(path), "is empty", "export the model again")
    return content


def parse_model(content: bytes, name: str) -> ModelProto:
    """Parse a serialised model and check that it is one."""
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own DecodeError
        raise InputError(
            name, "is not an ONNX model (or is truncated)", "export the model again"
        ) from error
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InputError(name, "holds no ONNX graph", "name an .onnx file")
    count = len(model.graph.node)
    if count > MAX_NODES:
        raise InputError(name, f"has {count} nodes, above {MAX_NODES}", "export a smaller model")
    if not all(_is_text(item) for item in _names(model.graph)):
        finding = f"has names that are not text, or longer than {LONGEST_NAME} characters"
        raise InputError(name, finding, "export the model again")
    return inline_functions(model, name)


def _names(graph: GraphProto) -> Iterator[object]:
    """Every name in a graph; protobuf does not check that they are text."""
    for node in graph.node:
        yield from (*node.input, *node.output, node.name, node.op_type, node.domain, node.overload)
        yield from (attribute.name for attribute in node.attribute)
    for named in (*graph.initializer, *graph.input, *graph.output):
        yield named.name


def _is_text(name: object) -> bool:
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        return False
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


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
    opset = read_opset(model, name)
    constants = read_initialisers(model, name)
    signal = single_input(model, constants, name)
    target = single_output(model, output, name)
    signature = read_signature(signal, model, target, input_shape, name)
    order = needed_in_order(model.graph.node, target, {*constants, signal.name}, name)
    named = {v for node in model.graph.node for v in (*node.input, *node.output)}
    narrow = uses_narrow_types(model)
    trained = {
        key: tuple(held.value.shape)
        for key, held in constants.items()
        if held.is_float and held.value.ndim
    }

    def build(signature: Signature) -> Graph:
        scope = Scope(
            opset,
            dict(constants),
            {signal.name: signature.shape},
            batch=signature.batch,
            narrow=narrow,
            named=named,
        )
        needed = {v for _, node in order for v in node.input} | {target}
        reads: list[tuple[str, str]] = []
        for position, node in order:
            _import_node(node, position, scope, needed)
            reads += trainable_reads(node, position, scope)
        result = scope.names.get(target, target)
        nodes = pair_extrema([*scope.nodes, *_output_node(result, scope, signal.name)])
        return Graph(
            name,
            tuple(nodes),
            signal.name,
            result,
            signature.shape,
            signature.batched,
            opset,
            sha256,
            source,
            trained,
            file_output=target,
            reads=tuple(dict.fromkeys((*reads, *made_of(result, scope)))),
        ).ending_at(result)

    graph = build(signature)
    _refuse_empty(graph)
    if signature.batch > 1:
        check_batch_is_carried(graph, signature, build)
    return graph


def _refuse_empty(graph: Graph) -> None:
    for node in graph.nodes:
        if 0 in node.shape:
            raise UnsupportedError(
                f"node {node.name!r} ({node.onnx_type}, opset {graph.opset})",
                f"makes an empty tensor of shape {node.shape}",
                "export the model again",
            )


def _import_node(node: NodeProto, position: int, scope: Scope, needed: set[str]) -> None:
    node = scope.enter(node, position)
    if node.domain not in STANDARD_DOMAINS:
        raise scope.refuse(
            f"belongs to the operator set {node.domain!r}",
            "export with standard operators (optimised or quantised models are not read)",
        )
    for name in node.input:
        if name and not (name in scope.constants or name in scope.shapes or name in scope.pending):
            raise scope.refuse(f"reads {name!r}, which nothing defines", "export the model again")
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
        raise scope.refuse("has a subgraph", "export without control flow (If, Loop, Scan)")
    _check_schema(node, scope)
    try:
        _import_operator(node, scope)
    except LipcertError:
        raise
    except NotFiniteError as error:
        raise scope.refuse(str(error), "a model with such constants has no bound") from error
    except Exception as error:  # whatever a malformed node made numpy or torch say
        raise scope.refuse(f"does not fit its operands ({error})") from error
    for name in node.output:
        known = name in scope.shapes or name in scope.constants or name in scope.names
        if name in needed and not known and name not in scope.pending:
            raise scope.refuse(
                f"its output {name!r} is used, which is not supported", "export without it"
            )


def _check_schema(node: NodeProto, scope: Scope) -> None:
    """Refuse operands and attributes that the operator does not have."""
    try:
        schema = onnx.defs.get_schema(node.op_type, scope.opset, "")
    except onnx.defs.SchemaError:
        raise scope.refuse(
            f"is not an operator of opset {scope.opset}", "export with standard operators"
        ) from None
    counts = (
        (len(node.input), schema.min_input, schema.max_input, "inputs"),
        (len(node.output), schema.min_output, schema.max_output, "outputs"),
    )
    for count, least, most, what in counts:
        if not least <= count <= most:
            raise scope.refuse(f"has {count} {what}, not {least} to {most}")
    names = [attribute.name for attribute in node.attribute]
    unknown = [name for name in names if name not in schema.attributes]
    if unknown or len(set(names)) != len(names):
        raise scope.refuse(f"has attributes that are unknown or repeated: {', '.join(names)}")


def _import_operator(node: NodeProto, scope: Scope) -> None:
    if node.op_type in ("Shape", "Size") and not scope.is_constant(node.input[0]):
        _import_shape(node, scope)
    elif all(scope.is_constant(name) for name in node.input if name):
        for name, constant in zip(node.output, fold(node, scope), strict=False):
            scope.define(name, with_all_sources(constant, node, scope))
    elif scope.repeats(node):
        return
    elif any(name in scope.pending for name in node.input):
        import_pending(node, scope)
    elif node.op_type in IMPORTERS:
        refuse_masked(node, scope)
        IMPORTERS[node.op_type](node, scope)
    else:
        raise scope.refuse(
            "is not an operator that lipcert can bound",
            "leave it out of the exported model, or ask for it to be added",
        )


def _import_shape(node: NodeProto, scope: Scope) -> None:
    """Shape arithmetic: shapes are known, so they are constants."""
    name = node.input[0]
    shape = scope.pending[name].shape if name in scope.pending else scope.shapes[name]
    if node.op_type == "Size":
        value = np.asarray(np.prod(shape), dtype=np.int64)
    else:
        start = next((a.i for a in node.attribute if a.name == "start"), 0)
        end = next((a.i for a in node.attribute if a.name == "end"), len(shape))
        value = np.asarray(shape[slice(start, end)], dtype=np.int64)
    scope.constants[node.output[0]] = Constant(value)


def _output_node(result: str, scope: Scope, source: str) -> list[Node]:
    """For an output that does not depend on the input: zero times the input, plus the constant."""
    scope.label, scope.onnx_type = "output", "Constant"
    if result in scope.pending:
        raise scope.pending[result].refusal
    if result in scope.masked:
        raise scope.refuse(f"the output {result!r} is infinite at places", "export a finite output")
    if result in scope.shapes:
        return []
    constant = scope.constants[result]
    if constant.value.dtype.kind in "USO" or not constant.is_finite:
        raise scope.refuse(f"the output {result!r} is not finite", "export a finite output")
    index = torch.full(constant.value.shape, -1, dtype=torch.int64)
    operation = Affine(
        Indexing(index, scope.shapes[source]), constant.tensor(), constant.total_error()
    )
    return [Node("output", "Constant", operation, (source,), result, tuple(index.shape))]
