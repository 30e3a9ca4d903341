"""Files with a fixed batch, read for one sample: each node must treat its samples alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exact import CheckError
from .wire import Node

if TYPE_CHECKING:
    from .reader import Importer

NEVER = ("Shape",)


def check_carried(importer: Importer, node: Node) -> None:
    """Refuse a node whose results, for a batch, might not be those for its samples one by one.

    All signals keep the batch as their first axis, and have as many axes as all that they meet.
    """
    fed = [importer.signals[name] for name in node.inputs if name in importer.signals]
    made = [importer.signals[name] for name in node.outputs if name in importer.signals]
    rank = fed[0].ndim
    alike = all(array.ndim == rank for array in fed) and all(len(array) == 1 for array in fed)
    kept = bool(made) and all(array.ndim and len(array) == 1 for array in made)
    moves = node.kind in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
    if moves or node.kind in ("ReduceMean", "GlobalAveragePool"):
        alike = alike and not _leads(importer, node, rank)
    else:
        kept = kept and all(array.ndim == rank for array in made)
    if node.kind == "MatMul":
        alike = alike and rank > 1
    if node.kind in ("Transpose", "Concat", "Split", "Slice", "Softmax"):
        alike = alike and not _leads(importer, node, rank)
    if not alike or not kept or node.kind in NEVER:
        raise CheckError(f"{node.kind} may mix the samples of the model's fixed batch")


def _leads(importer: Importer, node: Node, rank: int) -> bool:
    """Whether a node acts on the first axis."""
    given = node.attributes
    if node.kind == "Reshape":
        first = (importer.listed(node, 1, "shape") or (1,))[0]
        return not (first == -1 or (first == 0 and not given.get("allowzero", 0)))
    if node.kind == "Transpose":
        return bool(given.get("perm", (rank,))[0] != 0)
    if node.kind == "Flatten":
        return bool(given.get("axis", 1) % rank == 0) and given.get("axis", 1) != rank
    if node.kind in ("Concat", "Split", "Softmax"):
        usual = 0 if node.kind == "Split" else 1 if importer.file.opset < 13 else -1
        return bool(given.get("axis", usual) % rank == 0)
    if node.kind == "GlobalAveragePool":
        return False
    place = 3 if node.kind == "Slice" else 1
    axes = importer.listed(node, place, "axes")
    rank = importer.signals[node.outputs[0]].ndim if node.kind == "Unsqueeze" else rank
    return axes is None or any(axis % rank == 0 for axis in axes) or not axes
