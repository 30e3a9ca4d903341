"""From X and G at a node to the sensitivity of every initialiser that goes into it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lipcert.errors import InputError, UnsupportedError
from lipcert.graph import Affine, Graph, Node, Origin
from lipcert.nonlinear import PRelu, RootMeanSquare
from lipcert.operators import (
    Adjoint,
    Centring,
    Convolution,
    Dense,
    Diagonal,
    Reshape,
    Shape,
)
from lipcert.operators.indexing import exact_root
from lipcert.rounding import UNIT_ROUNDOFF, gamma, mul_up
from lipcert.sensitivities.magnitudes import entry_bound
from lipcert.sensitivities.memory import Memory
from lipcert.sensitivities.usage import kernel_factor, tap_factor

Array = NDArray[np.float64]

UNDERFLOW = 1e-150
"""More than what squares that vanish can add to a root of sums of squares up to 1."""

FREEZE = (
    "train without it and name it in frozen (--frozen NAME), or export the model so that it "
    "enters a layer as it is"
)


@dataclass(frozen=True, eq=False)
class Use:
    """One entry of an initialiser into a node.

    Parameters
    ----------
    gains : where each element p_j acts on a part g_j of the gradient at the output and these parts
        are apart, ``|∂p_j| ≤ gains[j]·‖g_j‖``; None for a matrix or a kernel.
    gain : ``‖∂p‖ ≤ gain·G`` for the whole.
    places : which element acts where, flat over the output, where ``gains`` are given.
    is_shift : whether it is added to the output.
    """

    node: Node
    origin: Origin
    gain: float
    gains: Array | None = None
    places: NDArray[np.int64] | None = None
    is_shift: bool = False


def check_reads(graph: Graph, frozen: Collection[str]) -> None:
    """Refuse a model with an initialiser whose effect on its layers is not known.

    Raises
    ------
    UnsupportedError : naming the node and the initialiser.
    InputError : for a name in ``frozen`` that the model does not read.
    """
    known = {name for _, name in graph.reads} | set(graph.initialisers)
    known |= {name for node in graph.nodes for name in node.parameters}
    for name in frozen:
        if name not in known:
            raise InputError(f"frozen {name!r}", "is no initialiser of the model", "check its name")
    for node in graph.nodes:
        traced = {origin.name for origin in (*node.origins, *node.shifts)}
        for name in node.parameters:
            if name not in traced and name not in frozen:
                finding = f"its coefficients are computed from the initialiser {name!r}"
                raise UnsupportedError(_place(node), finding, FREEZE)
    covered = {(node.name, name) for node in graph.nodes for name in node.parameters}
    lost = [read for read in graph.reads if read not in covered and read[1] not in frozen]
    if lost:
        label, name = lost[0]
        finding = f"the initialiser {name!r} enters it in a way that is not bounded"
        others = list(dict.fromkeys(other for _, other in lost if other != name))
        also = f" (and likewise {', '.join(others)})" if others else ""
        raise UnsupportedError(f"node {label!r}", finding, FREEZE + also)


def _place(node: Node) -> str:
    return f"node {node.name!r} ({node.onnx_type})"


@dataclass
class Uses:
    """Every entry of an initialiser into a graph, with its gains for given magnitudes.

    Parameters
    ----------
    frozen : initialisers that are not trained.
    memory : of other weights of the same graph.
    """

    graph: Graph
    frozen: Collection[str] = ()
    memory: Memory = field(default_factory=Memory)

    def of(self, node: Node, X: float, on: frozenset[str]) -> list[Use]:
        """The entries into one node whose input is at most X."""
        found = [self._coefficient(node, origin, X, on) for origin in node.origins]
        found += [self._shift(node, origin) for origin in node.shifts]
        return [use for use in found if use.origin.name not in self.frozen]

    def _coefficient(self, node: Node, origin: Origin, X: float, on: frozenset[str]) -> Use:
        operation = node.operation
        if isinstance(operation, PRelu):
            # ∂s_j = Σ g_i min(x_i, 0) over the elements i that s_j bends
            return _elementwise(node, origin, tuple(operation.slope.shape), X, None)
        operator = operation.operator if isinstance(operation, Affine) else None
        if isinstance(operator, Diagonal):
            entry = self._entry(node)
            return _elementwise(node, origin, tuple(operator.scale.shape), X, entry)
        inner = operator.operator if isinstance(operator, Adjoint) else operator
        if isinstance(inner, Dense):
            return Use(node, origin, mul_up(self._spread(origin), X))
        if isinstance(inner, Convolution):
            factor = kernel_factor(inner) if "usage" in on else tap_factor(inner)
            return Use(node, origin, mul_up(self._spread(origin), factor, X))
        finding = f"the initialiser {origin.name!r} enters it in a way that is not bounded"
        raise UnsupportedError(_place(node), finding, FREEZE)

    def _spread(self, origin: Origin) -> float:
        return self.memory.spreads.of(origin, lambda: _spread(origin))

    def _shift(self, node: Node, origin: Origin) -> Use:
        """A bias: ``∂b_j = Σ slope_i g_i`` over the places i that b_j is added at."""
        assert isinstance(node.operation, Affine) and node.operation.bias is not None
        held, shape = tuple(node.operation.bias.shape), node.shape
        gain, gains, places = self.memory.shifts.of(
            origin, lambda: _gains_of_shift(origin, held, shape), held, shape
        )
        return Use(node, origin, gain, gains, places, is_shift=True)

    def _entry(self, node: Node) -> float | None:
        """Bound of one element of the node's input, where a normalisation made it.

        ``|x_i|/√mean(x²) ≤ √n`` in a group of n, and √(n−1) once the group's mean is zero.
        """
        producers = self._producers
        value = node.inputs[0]
        while value in producers and _is_rearrangement(producers[value]):
            value = producers[value].inputs[0]
        made = producers.get(value)
        if made is None or not isinstance(made.operation, RootMeanSquare):
            return None
        count = math.prod(made.shape[axis] for axis in made.operation.axes)
        before = producers.get(made.inputs[0])
        if before is not None and isinstance(before.operation, Affine):
            centring = before.operation.operator
            if isinstance(centring, Centring) and set(centring.axes) == set(made.operation.axes):
                # exact in real arithmetic: a centred group satisfies x_i² ≤ (1 − 1/n) Σ x²
                count = count - 1 if before.operation.bias is None else count
        return entry_bound(made.operation, count)

    @cached_property
    def _producers(self) -> Mapping[str, Node]:
        return {node.output: node for node in self.graph.nodes}


def _is_rearrangement(node: Node) -> bool:
    operation = node.operation
    plain = isinstance(operation, Affine) and operation.bias is None
    return plain and isinstance(operation, Affine) and isinstance(operation.operator, Reshape)


def _spread(origin: Origin) -> float:
    """``max_j (Σ slope_i²)^½`` over the coefficients i that element j goes into."""
    index = origin.index.reshape(-1)
    if not index.size:
        return 0.0
    if not origin.slope.ndim:
        return mul_up(float(origin.slope), exact_root(int(np.bincount(index).max())))
    return float(_root_sums(index, origin.slope.reshape(-1), origin).max())


def _root_sums(index: NDArray[np.int64], slope: Array, origin: Origin) -> Array:
    """``(Σ slope_i²)^½`` for every element of an initialiser, rounded upward."""
    count = math.prod(origin.shape)
    most = float(slope.max(initial=0.0))
    if most == 0.0 or not math.isfinite(most):
        return np.full(count, most)
    sums = np.bincount(index, weights=np.square(slope / most), minlength=count)
    slack = 1.0 + 4.0 * gamma(int(np.bincount(index, minlength=1).max()) + 6)
    return np.asarray((np.sqrt(sums) * slack + UNDERFLOW) * most * (1.0 + 4e-16) + 5e-324)


def _gains_of_shift(
    origin: Origin, held: Shape, shape: Shape
) -> tuple[float, Array, NDArray[np.int64]]:
    """Gain, gains and places of a bias of shape ``held`` that is added to an output."""
    places, slope = _spread_over(origin, held, shape)
    if not slope.ndim:
        copies = np.bincount(places, minlength=math.prod(origin.shape))
        gains = np.array([exact_root(int(n)) for n in copies])
        if float(slope) != 1.0:
            gains = gains * float(slope) * (1.0 + 4.0 * UNIT_ROUNDOFF) + 5e-324
    else:
        gains = _root_sums(places, slope, origin)
    return float(gains.max(initial=0.0)), gains, places


def _elementwise(node: Node, origin: Origin, held: Shape, X: float, entry: float | None) -> Use:
    """A scale: ``|∂s_j| ≤ slope·‖g_j‖‖x_j‖`` over the places that s_j multiplies.

    ``‖x_j‖`` is at most X, and at most √copies times the largest element.
    """
    places, slope = _spread_over(origin, held, node.shape)
    count = math.prod(origin.shape)
    if slope.ndim:
        steepest = np.zeros(count)
        np.maximum.at(steepest, places, slope)
    else:
        steepest = np.full(count, float(slope))
    reach = np.full(count, X)
    if entry is not None:
        copies = np.bincount(places, minlength=count)
        reach = np.minimum(X, np.sqrt(copies) * entry * (1.0 + 8.0 * UNIT_ROUNDOFF))
    with np.errstate(invalid="ignore"):
        gains = np.where(steepest > 0.0, steepest * reach, 0.0)
    exact = not slope.ndim and float(slope) == 1.0 and entry is None
    gains = gains if exact else gains * (1.0 + 4.0 * UNIT_ROUNDOFF) + 5e-324
    return Use(node, origin, float(gains.max(initial=0.0)), gains, places)


def _spread_over(origin: Origin, held: Shape, shape: Shape) -> tuple[NDArray[np.int64], Array]:
    """Element and slope at each place of an output that the coefficients are broadcast to."""
    index = np.broadcast_to(origin.index.reshape(tuple(held)), shape).reshape(-1)
    slope = origin.slope
    if slope.ndim:
        slope = np.broadcast_to(slope.reshape(tuple(held)), shape).reshape(-1)
    return index, slope
