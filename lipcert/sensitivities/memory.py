"""What one call of ``sensitivities`` leaves for the next of the same graph with other weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lipcert.graph import Affine, Graph, Operation, Origin
from lipcert.operators import LinearOperator
from lipcert.spectral import NormBound
from lipcert.spectral.starts import Starts

Array = NDArray[np.float64]
K = TypeVar("K")
T = TypeVar("T")


@dataclass
class Kept(Generic[K, T]):
    """Results by the object that they depend on, which must not change."""

    _found: dict[tuple[Hashable, ...], tuple[K, T]] = field(default_factory=dict)

    def of(self, held: K, find: Callable[[], T], *also: Hashable) -> T:
        """What was found for the very same object (and ``also``) before, or is found now."""
        key = (id(held), *also)
        if key not in self._found:
            self._found[key] = (held, find())
        return self._found[key][1]


@dataclass
class Memory:
    """Results that do not depend on the weights, and norms of operators that stayed the same.

    Parameters
    ----------
    norms : by the operator's id, with the operator.
    spreads : how far each initialiser is spread over coefficients.
    shifts : what each bias is added to: gain, gains and places of its use.
    starts : where estimates of norms begin.
    values_at_zero : bounds of the norms of nonlinearities' values at zero.
    """

    norms: dict[int, tuple[LinearOperator, NormBound]] = field(default_factory=dict)
    spreads: Kept[Origin, float] = field(default_factory=Kept)
    shifts: Kept[Origin, tuple[float, Array, NDArray[np.int64]]] = field(default_factory=Kept)
    starts: Starts = field(default_factory=Starts)
    values_at_zero: Kept[Operation, float] = field(default_factory=Kept)

    def for_another(self) -> Memory:
        """What remains of use for another graph: nothing that must be right."""
        return Memory(starts=self.starts)

    def norms_of(self, graph: Graph) -> dict[int, tuple[LinearOperator, NormBound]]:
        """The norms of the graph's own operators that are known."""
        operations = [node.operation for node in graph.nodes]
        held = {id(one.operator) for one in operations if isinstance(one, Affine)}
        return {key: found for key, found in self.norms.items() if key in held}
