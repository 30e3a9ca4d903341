"""The part of a model file that an output needs: ONNX Runtime runs every node that it is given.

lipcert reads that part alone.  A loop of 2^62 turns, or a constant of a terabyte, to which the
output owes nothing would otherwise be run all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto

FOLDER_KEY = "session.model_external_initializers_file_folder_path"
"""Where ONNX Runtime looks for the files beside a model that it is given as bytes."""


def needed_part(model: str | bytes, output: str) -> tuple[str | bytes, str]:
    """The model as it is where all its nodes are needed, else the part of it; and its folder.

    Parameters
    ----------
    model : a path, or the content of a file.
    output : name of the value that is asked for.
    """
    folder = str(Path(model).parent) if isinstance(model, str) else ""
    proto = ModelProto()
    proto.ParseFromString(Path(model).read_bytes() if isinstance(model, str) else model)
    needed = _needed(list(proto.graph.node), output)
    if len(needed) == len(proto.graph.node):
        return model, folder
    kept = [node for position, node in enumerate(proto.graph.node) if position in needed]
    names = {name for node in kept for name in node.input} | {output}
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    _keep(proto.graph.initializer, names)
    _keep(proto.graph.output, {output})
    del proto.graph.value_info[:]
    return bytes(proto.SerializeToString()), folder


def _needed(nodes: list[NodeProto], output: str) -> set[int]:
    """Positions of the nodes behind an output."""
    makers = {name: position for position, node in enumerate(nodes) for name in node.output}
    found: set[int] = set()
    waiting = [output]
    while waiting:
        position = makers.get(waiting.pop())
        if position is not None and position not in found:
            found.add(position)
            waiting += _reads(nodes[position])
    return found


def _reads(node: NodeProto) -> list[str]:
    """What a node reads, in its subgraphs too."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names += _reads(inner)
            names += [value.name for value in graph.output]
    return names


def _keep(held: Any, names: set[str]) -> None:
    wanted = [item for item in held if item.name in names]
    del held[:]
    held.extend(wanted)
