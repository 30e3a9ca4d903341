"""The model as layers: what `lipcert inspect` shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from lipcert.bounds.autolip import autolip_bound, slope_constant
from lipcert.bounds.context import BoundContext
from lipcert.bounds.obstacles import Obstacle, obstacles_of
from lipcert.bounds.residual import ResidualBlock, residual_blocks
from lipcert.display import Tabular
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.nonlinear import Nonlinearity
from lipcert.operators import Indexing, Shape
from lipcert.rounding import mul_up, sqrt_up
from lipcert.signals import SignalForm, Terms

SELECTIONS = frozenset({"Max", "Min", "ReduceMax", "ReduceMin"})
"""Operators of which a half may be left to a node that pairs it with its counterpart."""


@dataclass(frozen=True)
class Layer:
    """One node of the ONNX graph.

    Parameters
    ----------
    parameters : number of trained numbers in it.
    norm : bound of its Lipschitz constant, all inputs taken jointly.
    how : the way a linear layer's norm was found.
    slopes : slope interval of an elementwise nonlinearity.
    obstacle : why it has no finite constant; empty when it has one.
    """

    name: str
    onnx_type: str
    output_shape: Shape
    parameters: int
    linear: bool
    norm: float
    how: str
    slopes: tuple[float, float] | None
    obstacle: str

    @property
    def is_contraction(self) -> bool:
        """Whether the layer is proved to be 1-Lipschitz."""
        return self.norm <= 1.0


@dataclass(frozen=True)
class Factor:
    """One factor of the AutoLip product: a folded linear stretch or a nonlinearity's constant.

    ``target`` is the nonlinearity (or "output") that it leads to.
    """

    label: str
    value: float
    how: str
    target: str
    is_slope: bool = False


@dataclass(frozen=True)
class Inspection(Tabular):
    """A model laid open.

    Parameters
    ----------
    layers : in order, one per ONNX node that computes something.
    factors : what the product bound is made of, folded linear stretches and slopes.
    obstacles : every node that keeps a bound from being finite.
    product : the AutoLip bound, which joins branches more tightly than by adding their products.
    blocks : every residual block x + g(x).
    """

    model: str
    model_sha256: str
    opset: int
    input_shape: Shape
    output_shape: Shape
    norm: str
    layers: tuple[Layer, ...]
    factors: tuple[Factor, ...]
    obstacles: tuple[Obstacle, ...]
    product: float
    blocks: tuple[ResidualBlock, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of trained numbers in the layers (shared ones counted at each use)."""
        return sum(layer.parameters for layer in self.layers)


def inspect_graph(graph: Graph, form: SignalForm, context: BoundContext) -> Inspection:
    """Lay a graph open: its layers, and the factors of its signal form."""
    layers = []
    groups = [(name, list(nodes)) for name, nodes in groupby(graph.nodes, key=lambda n: n.name)]
    for position, (_, nodes) in enumerate(groups):
        context.progress("norms of layers", (position + 1) / len(groups))
        layers.append(_layer(graph, nodes, context))
    return Inspection(
        graph.name,
        graph.sha256,
        graph.opset,
        graph.input_shape,
        graph.output_shape,
        context.norm,
        tuple(layers),
        tuple(_factors(form, context)),
        obstacles_of(form),
        autolip_bound(form, context).value,
        residual_blocks(graph, context),
    )


def _layer(graph: Graph, nodes: list[Node], context: BoundContext) -> Layer:
    """One ONNX node from the operations it became."""
    last = nodes[-1]
    norm, how = 1.0, []
    for node in nodes:
        value, way = _operation_norm(graph, node, context)
        norm = mul_up(norm, value)
        if way:
            how.append(way)
    if _places_apart(nodes):
        norm, how = 1.0, ["exact"]
    nonlinear = [n.operation for n in nodes if isinstance(n.operation, Nonlinearity)]
    names = dict.fromkeys(name for node in nodes for name in node.parameters)
    counted = sum(math.prod(graph.initialisers.get(name, (0,))) for name in names)
    slopes = nonlinear[0].slopes if len(nonlinear) == 1 else None
    interval = None
    if slopes is not None:
        interval = (_least(slopes.alpha), -_least(-slopes.beta))
    obstacle = next((item.obstacle for item in nonlinear if item.obstacle), "")
    return Layer(
        last.name,
        last.onnx_type,
        last.shape,
        counted,
        not nonlinear and last.onnx_type not in SELECTIONS,
        norm,
        ", ".join(dict.fromkeys(how)),
        interval,
        obstacle,
    )


def _places_apart(nodes: list[Node]) -> bool:
    """Whether the nodes put signals side by side, as a concatenation does: norm 1 jointly."""
    if len(nodes) < 2 or not isinstance(nodes[-1].operation, Total):
        return False
    parts = [n.operation.operator for n in nodes[:-1] if isinstance(n.operation, Affine)]
    maps = [part for part in parts if isinstance(part, Indexing)]
    if len(maps) < len(nodes) - 1 or len(maps) != len(nodes[-1].inputs):
        return False
    covered = sum((part.index >= 0).long() for part in maps)
    single = all(part.largest_multiplicity == 1 for part in maps)
    return single and not bool((covered > 1).any())  # type: ignore[union-attr]


def _least(bound: object) -> float:
    from torch import Tensor

    return float(bound.min()) if isinstance(bound, Tensor) else float(bound)  # type: ignore[arg-type]


def _operation_norm(graph: Graph, node: Node, context: BoundContext) -> tuple[float, str]:
    if isinstance(node.operation, Affine):
        found = context.norm_of(node.operation.operator)
        return found.value, found.how
    if isinstance(node.operation, Total):
        count = len(node.inputs)
        value = {"l2": sqrt_up(float(count)), "l1": 1.0, "linf": float(count)}[context.norm]
        return value, "sum"
    constants = node.operation.lipschitz(*(graph.shape_of(name) for name in node.inputs))
    return {"l1": constants.l1, "l2": constants.l2, "linf": constants.linf}[context.norm], ""


def _factors(form: SignalForm, context: BoundContext) -> Iterable[Factor]:
    names = ["input", *(stage.node.name for stage in form.stages)]
    for stage in form.stages:
        yield from _linear_factors(names, stage.terms, stage.node.name, context)
        slope = slope_constant(stage, context.norm)
        yield Factor(stage.node.name, slope, "slope", stage.node.name, is_slope=True)
    yield from _linear_factors(names, form.output_terms, "output", context)


def _linear_factors(
    names: list[str], terms: Terms, target: str, context: BoundContext
) -> Iterable[Factor]:
    for signal, operator in terms.items():
        found = context.norm_of(operator)
        yield Factor(f"{names[signal]} → {target}", found.value, found.how, target)
