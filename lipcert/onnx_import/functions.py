"""Local functions of a model file, written out where they are called."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import FunctionProto, ModelProto, NodeProto, inliner

from lipcert.errors import InputError

Key = tuple[str, str, str]
"""Domain, name and overload of an operator or function."""

MAX_NODES = 50_000
"""Nodes that a model may have once its functions are written out: each takes about 0.1 ms."""


def inline_functions(model: ModelProto, name: str) -> ModelProto:
    """The same model without functions.  Raises InputError where that is impossible."""
    if not model.functions:
        return model
    sizes = _measure({_key(function): function for function in model.functions}, name)
    total = sum(sizes.get(call, 1) for call in _calls(model.graph.node))
    if total > MAX_NODES:
        raise InputError(
            name, f"has {total} nodes once its functions are written out", "export a smaller model"
        )
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise InputError(
            name, f"has functions that cannot be inlined: {error}", "export without functions"
        ) from error


def _key(function: FunctionProto) -> Key:
    return (function.domain, function.name, function.overload)


def _calls(nodes: Iterable[NodeProto]) -> list[Key]:
    """The operators that nodes use, those in their subgraphs included."""
    found: list[Key] = []
    for node in nodes:
        found.append((node.domain, node.op_type, node.overload))
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                found += _calls(graph.node)
    return found


def _measure(table: dict[Key, FunctionProto], name: str) -> dict[Key, int]:
    """Nodes that each function comes to; refused where functions call each other in a circle."""
    sizes: dict[Key, int] = {}
    waiting: set[Key] = set()
    stack = list(table)
    while stack:
        key = stack[-1]
        if key in sizes:
            stack.pop()
            continue
        calls = _calls(table[key].node)
        missing = [call for call in calls if call in table and call not in sizes]
        if not missing:
            sizes[key] = sum(sizes.get(call, 1) for call in calls)
            stack.pop()
        elif key in waiting:
            raise InputError(
                name, f"its function {key[1]!r} calls itself", "export without functions"
            )
        else:
            waiting.add(key)
            stack.extend(missing)
    return sizes
