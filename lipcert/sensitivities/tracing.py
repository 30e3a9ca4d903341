"""Where the initialisers of a model file stand in its graph, found by importing probes.

The graph holds coefficients, not initialisers: transposed, spread over channels, multiplied by a
Gemm's beta or a normalisation's rate.  Two more imports of the file with other values in its
initialisers tell for every coefficient which element it is and by what it is multiplied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from lipcert.errors import InputError, LipcertError, UnsupportedError
from lipcert.graph import Graph, Node
from lipcert.onnx_import import build_graph, parse_model
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.external import read_external
from lipcert.onnx_import.initialisers import read_initialisers
from lipcert.onnx_import.loader import read_model_bytes
from lipcert.sensitivities.matching import Matcher
from lipcert.sensitivities.scalars import Probe, scalar_uses
from lipcert.sensitivities.uses import Use, coefficients_of

Array = NDArray[np.float64]


def parameter_uses(graph: Graph, *, model: ModelProto | None = None) -> tuple[Use, ...]:
    """Every use of an initialiser that the graph's nodes name among their parameters.

    The statistics of a normalisation and what went into a recognised activation are not among
    them, nor single numbers whose effect on a node is neither affine nor a division.

    Parameters
    ----------
    graph : as imported, also behind a normalisation or on another device.
    model : what it was imported from, external data in it; None reads ``graph.source`` again.

    Raises
    ------
    InputError : the file is gone or has changed since, or the graph has none and no model is given.
    UnsupportedError : a coefficient that is not an initialiser rearranged, multiplied by constants
        or inverted, by node and initialiser.
    """
    known = {name for node in graph.nodes for name in node.parameters}
    if not known:
        return ()
    if model is None:
        model = _read_again(graph)
    named = known.intersection(graph.initialisers)
    held = read_initialisers(model, graph.name)
    singles = {
        name: float(held[name].middle)
        for name in sorted(known.difference(named).intersection(held))
        if held[name].is_float and held[name].value.size == 1
    }
    probe = partial(_probe, graph, model)
    return (*_arrays(graph, named, held, probe), *scalar_uses(graph, singles, probe))


def _arrays(
    graph: Graph, named: set[str], held: Mapping[str, Constant], probe: Probe
) -> tuple[Use, ...]:
    """The uses of the initialisers ``named``, all found by the same two probes."""
    if not named:
        return ()
    # irrational steps: no two initialisers' probes are rational multiples of each other
    shifts = {name: 1.0 + (k * 2.0**0.5) % 1.0 for k, name in enumerate(sorted(named), start=1)}
    levels = {name: 1.0 + (k * 5.0**0.5) % 1.0 for k, name in enumerate(sorted(named), start=1)}
    values = {name: held[name].middle.reshape(-1) for name in named}
    ramps = {name: shifts[name] + np.arange(len(values[name])) for name in named}
    flats = {name: np.full(len(values[name]), levels[name]) for name in named}
    return Matcher(graph, [probe(ramps), probe(flats)], values, shifts, levels).uses()


def _read_again(graph: Graph) -> ModelProto:
    if not graph.source:
        raise InputError(graph.name, "was not read from a file", "give the ONNX model as well")
    path = Path(graph.source)
    content = read_model_bytes(path)
    digest = hashlib.sha256(content)
    model = parse_model(content, path.name)
    read_external(model, path, digest)
    if digest.hexdigest() != graph.sha256:
        raise InputError(str(path), "has changed since it was read", "read it again")
    return model


def _probe(graph: Graph, model: ModelProto, values: Mapping[str, Array]) -> dict[str, Node]:
    """The nodes, by output, of the model with other values in its initialisers."""
    probe = ModelProto()
    probe.CopyFrom(model)
    for tensor in probe.graph.initializer:
        if tensor.name in values:
            value = values[tensor.name].reshape(tuple(tensor.dims))
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    try:
        built = build_graph(
            probe,
            name=graph.name,
            input_shape=graph.sample_shape,
            output=graph.file_output or None,
        )
    except LipcertError as error:
        raise UnsupportedError(
            graph.name, f"cannot be read with other weights ({error})", "export it without folding"
        ) from error
    known = {node.output: node for node in built.nodes}
    front = 0  # nodes put before the imported graph
    while front < len(graph.nodes) and graph.nodes[front].output not in known:
        front += 1
    for position, node in enumerate(graph.nodes):
        twin = known.get(node.output)
        if twin is None and position < front and not node.parameters:
            continue
        if twin is None or not _is_same_kind(node, twin, built.input):
            raise UnsupportedError(
                f"node {node.name!r} ({node.onnx_type})",
                "depends on the values of the weights in what it computes, not only in its "
                "coefficients",
                "give parallel layers different values",
            )
    return known


def _is_same_kind(node: Node, twin: Node, source: str) -> bool:
    """Whether two nodes read the same values and have coefficients of the same shapes."""
    pairs = zip(node.inputs, twin.inputs, strict=False)
    shapes = [
        {role: held.shape for role, held in coefficients_of(n.operation).items()}
        for n in (node, twin)
    ]
    return (
        len(node.inputs) == len(twin.inputs)
        and all(own == other or other == source for own, other in pairs)
        and shapes[0] == shapes[1]
    )
