"""Which nodes of a file are needed for an output, and in which order."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import NodeProto

from lipcert.errors import InputError

Placed = tuple[int, NodeProto]
"""A node with its position in the file."""


def needed_in_order(
    nodes: Iterable[NodeProto], target: str, given: set[str], name: str
) -> list[Placed]:
    """The nodes behind ``target`` in topological order; refused where there is none.

    Parameters
    ----------
    nodes : of the file, in any order.
    target : the output wanted.
    given : names of the input and the initialisers.
    name : what to call the model in messages.
    """
    producers = _producers(nodes, given, name)
    if target not in producers and target not in given:
        raise InputError(name, f"nothing defines its output {target!r}", "export the model again")
    order: list[Placed] = []
    done: set[int] = set()
    waiting: set[int] = set()
    stack = [target]
    while stack:
        value = stack[-1]
        position, node = producers.get(value, (-1, None))
        if node is None or position in done:
            stack.pop()
            continue
        missing = [
            item for item in node.input if item in producers and producers[item][0] not in done
        ]
        if not missing:
            done.add(position)
            order.append((position, node))
            stack.pop()
            continue
        if position in waiting:
            label = node.name or f"{node.op_type}_{position}"
            raise InputError(
                name,
                f"node {label!r} ({node.op_type}) needs its own output {value!r} (a cycle)",
                "export the model again",
            )
        waiting.add(position)
        stack.extend(missing)
    return order


def _producers(nodes: Iterable[NodeProto], given: set[str], name: str) -> dict[str, Placed]:
    producers: dict[str, Placed] = {}
    for position, node in enumerate(nodes):
        for value in node.output:
            if not value:
                continue
            if value in producers or value in given:
                label = node.name or f"{node.op_type}_{position}"
                raise InputError(
                    name,
                    f"node {label!r} ({node.op_type}) defines the value {value!r} again",
                    "export the model again",
                )
            producers[value] = (position, node)
    return producers
