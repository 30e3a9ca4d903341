"""What an initialiser is in a graph: which coefficients of which nodes, and by what factor."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipcert.graph import Affine, Operation
from lipcert.nonlinear import PRelu
from lipcert.operators import Adjoint, Convolution, Dense, Diagonal


@dataclass(frozen=True, eq=False)
class Use:
    """One coefficient of a node that an initialiser went into.

    Parameters
    ----------
    initialiser : its name.
    node : position in ``graph.nodes``.
    role : ``weight``, ``bias``, ``scale`` or ``slope``, see :func:`coefficients_of`.
    size : elements of the initialiser.
    index : for each element of the coefficient the element of the initialiser, flat.
    factor : derivative of each element of the coefficient by that element, flat.
    rate : where the coefficient is the initialiser rearranged and multiplied by one number, its
        magnitude; otherwise None.
    """

    initialiser: str
    node: int
    role: str
    size: int
    index: Tensor
    factor: Tensor
    rate: float | None


def coefficients_of(operation: Operation) -> dict[str, Tensor]:
    """The tensors of an operation that initialisers can have gone into, by role."""
    if isinstance(operation, PRelu):
        return {"slope": operation.slope}
    found: dict[str, Tensor] = {}
    if isinstance(operation, Affine):
        operator = operation.operator
        if isinstance(operator, Adjoint):
            operator = operator.operator
        if isinstance(operator, Dense | Convolution):
            found["weight"] = operator.weight
        elif isinstance(operator, Diagonal):
            found["scale"] = operator.scale
        if operation.bias is not None:
            found["bias"] = operation.bias
    return found
