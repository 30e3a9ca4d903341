"""Which node of a file reads which initialiser as a number that training could change."""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto

from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.folding import UNTOUCHED
from lipcert.onnx_import.scope import Scope

SETTINGS = frozenset(
    {
        *(("BatchNormalization", position) for position in (3, 4)),
        *(("Resize", position) for position in (1, 2)),
        *(("Upsample", 1), ("Dropout", 1)),
    }
)
"""Operands that no training changes by gradients: statistics, sizes, and what inference ignores."""


def trainable_reads(node: NodeProto, position: int, scope: Scope) -> list[tuple[str, str]]:
    """Pairs of the node's label and an initialiser, for a node just imported.

    Nodes that only compute constants hand their reads on to those that use the result.  Of nodes
    that share a name only the first keeps it here.
    """
    folded = all(scope.is_constant(name) for name in node.input if name)
    if folded or scope.merged.intersection(node.output):
        return []
    label = scope.label
    names: dict[str, None] = {}
    for place, name in enumerate(node.input):
        if (node.op_type, place) not in SETTINGS:
            names.update(dict.fromkeys(_sources(name, scope)))
    if names and scope.readers.setdefault(label, position) != position:
        label = f"{label} (again)"
    return [(label, name) for name in names]


def made_of(result: str, scope: Scope) -> list[tuple[str, str]]:
    """What an output that does not depend on the input reads."""
    return [("output", name) for name in _sources(result, scope)]


def with_all_sources(constant: Constant, node: NodeProto, scope: Scope) -> Constant:
    """A folded constant that names every initialiser its value depends on."""
    if not constant.is_float or node.op_type in UNTOUCHED:
        return constant
    names = [*constant.sources, *(s for name in node.input for s in _sources(name, scope))]
    return replace(constant, sources=tuple(dict.fromkeys(names)))


def _sources(name: str, scope: Scope) -> tuple[str, ...]:
    constant = scope.constants.get(name)
    return constant.sources if constant is not None and constant.is_float else ()
