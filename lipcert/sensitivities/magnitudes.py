"""Forward: a bound of the l2 norm of every value of a graph over an input set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from lipcert.bounds import BoundContext
from lipcert.certification.evaluation import Evaluation, RoundedEvaluator, largest_norm
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.nonlinear import (
    Activation,
    MaskedSoftmax,
    Nonlinearity,
    RootMeanSquare,
    Softmax,
)
from lipcert.operators import Dense, Indexing
from lipcert.operators.indexing import exact_root
from lipcert.rounding import (
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    add_up,
    div_up,
    down,
    hypot_up,
    mul_up,
    sqrt_up,
)
from lipcert.sensitivities.dense_layers import dense_and_bias, only_shifted
from lipcert.sensitivities.exact_affine import AffineBall
from lipcert.sensitivities.inputs import InputSet
from lipcert.sensitivities.memory import Kept, Memory
from lipcert.sensitivities.parts import UNKNOWN, Constant, Parts


@dataclass(frozen=True)
class Magnitude:
    """What is known of a value: its norm is at most X, its distance to its value at the centre D.

    ``how`` names the argument that gave X.
    """

    X: float
    D: float
    how: str


Candidates = Iterator[tuple[str, float]]


@dataclass
class Forward:
    """Bounds of the norms of a graph's values.

    Parameters
    ----------
    graph : the model.
    inputs : the input set.
    context : norms found so far, in l2.
    prefixes : constants of the maps from the input to values.
    memory : of other weights of the same graph.
    """

    graph: Graph
    inputs: InputSet
    context: BoundContext
    prefixes: Parts
    memory: Memory = field(default_factory=Memory)
    _balls: dict[int, AffineBall | None] = field(default_factory=dict)
    _runs: dict[tuple[object, ...], dict[str, Magnitude]] = field(default_factory=dict)
    _apart: dict[str, bool] = field(default_factory=dict)
    _biases: Kept[Affine, float] = field(default_factory=Kept)
    _centre: Evaluation | None = None

    @cached_property
    def _shifted(self) -> frozenset[str]:
        return only_shifted(self.graph)

    def run(
        self, on: frozenset[str], constants: Mapping[str, Constant] | None = None
    ) -> dict[str, Magnitude]:
        """Bounds of every value, by the tightenings that are ``on``.

        ``constants`` stand in for those of the prefixes, to try what others were worth.
        """
        if constants is None:
            constants = self.prefixes.smallest(on)
        key = (on, tuple(constants.items()) if "centre" in on else ())
        if key not in self._runs:
            self._runs[key] = self._run(on, constants)
        return self._runs[key]

    def _run(self, on: frozenset[str], constants: Mapping[str, Constant]) -> dict[str, Magnitude]:
        inputs, graph = self.inputs, self.graph
        found = {graph.input: Magnitude(inputs.bound, inputs.radius, inputs.kind)}
        producers = {node.output: node for node in graph.nodes}
        for node in graph.nodes:
            distance, method = math.inf, ""
            if "centre" in on:
                distance = self._distance(node, found)
                whole = constants.get(node.output, UNKNOWN)
                if mul_up(whole.value, inputs.radius) < distance:
                    distance, method = mul_up(whole.value, inputs.radius), f" ({whole.method})"
            candidates = dict(self._plain(node, found))
            if "activations" in on and isinstance(node.operation, Activation):
                candidates.update(_exact_activation(node, found[node.inputs[0]].X))
            if "centre" in on:
                candidates[f"centre ball{method}"] = add_up(self._at_centre(node.output), distance)
            if "affine" in on:
                least = min((v for v in candidates.values() if v == v), default=math.inf)
                candidates.update(self._exact(node, producers, found, least))
            how, best = min(
                ((how, value) for how, value in candidates.items() if not math.isnan(value)),
                key=lambda item: item[1],
                default=("nothing", math.inf),
            )
            found[node.output] = Magnitude(best, distance, how)
        return found

    def _plain(self, node: Node, found: Mapping[str, Magnitude]) -> Candidates:
        """The triangle inequality, and what the operation cannot exceed."""
        sizes = [found[name].X for name in node.inputs]
        operation = node.operation
        if isinstance(operation, Affine):
            grown = mul_up(self.context.norm_of(operation.operator).value, sizes[0])
            bias = self._biases.of(operation, lambda: _bias_norm(operation))
            yield "triangle", add_up(grown, bias)
        elif isinstance(operation, Total):
            yield "sum", hypot_up(*sizes) if self._are_apart(node) else add_up(*sizes)
        else:
            slope = self._slope(node)
            known = self.memory.values_at_zero
            offset = known.of(operation, lambda: self._at_zero(node, operation))
            yield "slope", add_up(offset, mul_up(slope, hypot_up(*sizes)))
            yield from _range_of(operation, node)

    def _at_zero(self, node: Node, operation: Nonlinearity) -> float:
        """Bound of the norm of what a nonlinearity makes of zeros."""
        zeros = [torch.zeros(1, *self.graph.shape_of(n)).double() for n in node.inputs]
        at_zero = operation.to(torch.device("cpu")).evaluate(*zeros)
        rounding = operation.ulps * SMALLEST_NORMAL * math.prod(node.shape)
        offset = mul_up(largest_norm(at_zero), 1.0 + operation.ulps * 4.0 * UNIT_ROUNDOFF)
        return add_up(offset, rounding) if offset else 0.0

    def _slope(self, node: Node) -> float:
        assert isinstance(node.operation, Nonlinearity)
        return node.operation.lipschitz(*(self.graph.shape_of(name) for name in node.inputs)).l2

    def _distance(self, node: Node, found: Mapping[str, Magnitude]) -> float:
        distances = [found[name].D for name in node.inputs]
        operation = node.operation
        if isinstance(operation, Affine):
            own = mul_up(self.context.norm_of(operation.operator).value, distances[0])
        elif isinstance(operation, Total):
            own = hypot_up(*distances) if self._are_apart(node) else add_up(*distances)
        else:
            own = mul_up(self._slope(node), hypot_up(*distances))
        return _number(own)

    def _are_apart(self, node: Node) -> bool:
        """Whether a sum's operands have no element in common (as in a concatenation)."""
        if node.output not in self._apart:
            producers = {other.output: other for other in self.graph.nodes}
            operations = [producers[n].operation for n in node.inputs if n in producers]
            masks = [
                operation.operator.index.reshape(-1) >= 0
                for operation in operations
                if isinstance(operation, Affine)
                and operation.bias is None
                and isinstance(operation.operator, Indexing)
            ]
            apart = len(masks) == len(node.inputs)
            self._apart[node.output] = apart and not bool((torch.stack(masks).sum(0) > 1).any())
        return self._apart[node.output]

    def _at_centre(self, value: str) -> float:
        """Bound of the norm of a value at the centre of the input set."""
        centre = self._evaluated()
        return add_up(largest_norm(centre.values[value]), centre.errors[value])

    def _evaluated(self) -> Evaluation:
        if self._centre is None:
            point = self.inputs.centre
            if point is None:
                point = torch.zeros(self.graph.sample_shape, dtype=torch.float64)
            names = tuple(node.output for node in self.graph.nodes)
            evaluator = _Evaluator(self.graph, self.context)
            self._centre = evaluator.run(point[None].to(self.graph.device), names)
        return self._centre

    def _exact(
        self,
        node: Node,
        producers: Mapping[str, Node],
        found: Mapping[str, Magnitude],
        least: float,
    ) -> Candidates:
        """The largest norm of a dense layer, its bias perhaps a node of its own; where it can be
        less than ``least``."""
        parts = dense_and_bias(node, producers)
        if parts is None:
            return
        dense, bias, source = parts
        if (bias is None or bias.bias is None) and node.output in self._shifted:
            return  # only the bias is added to it, and the bounds of that sum are found directly
        if id(dense) not in self._balls:
            sigma = self.context.norm_of(dense).value
            self._balls[id(dense)] = AffineBall.of(_on_cpu(dense), sigma)
        ball = self._balls[id(dense)]
        if ball is None:
            return
        before = found[source]
        if bias is not None and bias.bias is not None:
            off = add_up(mul_up(dense.error.l2, before.X), bias.bias_error)
            bound = add_up(ball.bound(before.X, bias.bias.cpu(), below=least), off)
            least = min(least, _number(bound))
            yield "exact affine", bound
        if math.isfinite(before.D):
            centre = self._evaluated()
            off = add_up(mul_up(dense.error.l2, before.D), centre.errors[node.output])
            middle = centre.values[node.output].reshape(dense.out_shape).cpu()
            bound = ball.bound(before.D, middle, below=least)
            yield "exact affine around the centre", add_up(bound, off)


class _Evaluator(RoundedEvaluator):
    """An evaluator that shares its norms with everything else."""

    def __init__(self, graph: Graph, context: BoundContext) -> None:
        self.context = context
        super().__init__(graph)

    def _gain(self, node: Node) -> float:
        if isinstance(node.operation, Affine):
            return self.context.norm_of(node.operation.operator).value
        return super()._gain(node)


def _number(bound: float) -> float:
    return math.inf if math.isnan(bound) else bound


def _on_cpu(dense: Dense) -> Dense:
    return dense.to(torch.device("cpu"))


def _bias_norm(operation: Affine) -> float:
    """Bound of the norm of a bias as it is broadcast to the output's shape."""
    if operation.bias is None:
        return 0.0
    bias: Tensor = operation.bias
    copies = operation.operator.out_size // max(1, bias.numel())
    stored = _length_up(bias)
    return add_up(mul_up(exact_root(copies), stored), operation.bias_error)


def _length_up(values: Tensor) -> float:
    """Bound of the l2 norm, a single number exactly."""
    if values.numel() == 1:
        return abs(float(values))
    return (
        hypot_up(*values.reshape(-1).tolist())
        if values.numel() < 64
        else largest_norm(values[None])
    )


def _range_of(operation: Nonlinearity, node: Node) -> Candidates:
    """Bounds that hold whatever goes in."""
    size = math.prod(node.shape)
    if isinstance(operation, Softmax | MaskedSoftmax):
        lines = size // math.prod(node.shape[axis] for axis in operation.axes)
        yield "range", exact_root(lines)  # ‖p‖₂ ≤ ‖p‖₁ = 1
    if isinstance(operation, RootMeanSquare):
        entry = entry_bound(operation, 1)
        if entry is not None:
            yield "range", mul_up(entry, exact_root(size))


def entry_bound(operation: RootMeanSquare, elements: int) -> float | None:
    """``√(elements/gain)``: of one element with all elements of a group, of √n with one.

    ``Σx²/(gain·mean(x²)) = n/gain`` over a group of n; an offset or a floor only shrinks that.
    """
    if operation.offset < 0.0 or not operation.gain > 0.0:
        return None
    return sqrt_up(div_up(float(elements), down(operation.gain)))


def _exact_activation(node: Node, size: float) -> Candidates:
    """``√n φ(X/√n)`` for sigmoid and tanh: φ(√u)² is concave in u, so equal entries are worst."""
    operation = node.operation
    assert isinstance(operation, Activation)
    if operation.name not in ("Sigmoid", "Tanh") or not math.isfinite(size):
        return
    root = exact_root(math.prod(node.shape))
    share = div_up(size, down(root) if root * root != math.prod(node.shape) else root)
    slack = 1.0 + 16.0 * UNIT_ROUNDOFF
    if operation.name == "Tanh":
        value = min(1.0, math.tanh(share) * slack)
    else:
        value = min(1.0, slack / (1.0 + math.exp(-min(share, 700.0)) * (1.0 - 8 * UNIT_ROUNDOFF)))
    yield "exact activation", mul_up(root, value)
