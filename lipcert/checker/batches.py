"""Files with a fixed batch, read for one sample: each node must treat its samples alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exact import CheckError
from .wire import Node

if TYPE_CHECKING:
    from .reader import Importer

OTHER_RANK = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "ReduceMean", "GlobalAveragePool")
"""What may change the number of axes."""


def check_carried(importer: Importer, node: Node) -> None:
    """Refuse a node whose results, for a batch, might not be those for its samples one by one.

    All signals keep the batch as their first axis, and have as many axes as all that they meet.
    """
    fed = [importer.signals[name] for name in node.inputs if name in importer.signals]
    made = [importer.signals[name] for name in node.outputs if name in importer.signals]
    rank = fed[0].ndim
    alike = fed if node.kind in OTHER_RANK else fed + made
    kept = bool(made) and all(array.ndim and len(array) == 1 for array in fed + made)
    kept = kept and all(array.ndim == rank for array in alike)
    if not kept or node.kind == "Shape" or (node.kind == "MatMul" and rank < 2):
        raise CheckError(f"{node.kind} may mix the samples of the model's fixed batch")
    if _leads(importer, node, rank):
        raise CheckError(f"{node.kind} acts on the model's fixed batch")


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
    if node.kind not in ("Slice", "Squeeze", "Unsqueeze", "ReduceMean"):
        return False
    axes = importer.listed(node, 3 if node.kind == "Slice" else 1, "axes")
    rank = importer.signals[node.outputs[0]].ndim if node.kind == "Unsqueeze" else rank
    return not axes or any(axis % rank == 0 for axis in axes)
