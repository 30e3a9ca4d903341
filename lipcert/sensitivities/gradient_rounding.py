"""What rounding to float64 can add to a computed gradient norm, by running error analysis.

Computed values x̂ and gradients ĝ differ from exact ones by what each operation rounds, carried on
by the norms and constants of what follows (Higham 2002, sections 3.5 and 3.8).  The exact chain
rule is taken *at the computed values*: Δ bounds its result, too, up to the distance of these
values to the exact ones, because every argument behind Δ holds for any slopes in the
nonlinearities' intervals and any gradient of the loss.  So an activation's kink within the rounding
error of its argument does no harm, and

    ‖computed gradient‖ ≤ Δ + rounding.

Derivatives of nonlinearities and losses are taken to be computed as products and sums of their
elements, each operation within the units in the last place of the function itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.certification.evaluation import Evaluation, RoundedEvaluator, largest_norm
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.operators import Adjoint, Convolution
from lipcert.rounding import (
    SMALLEST_NORMAL,
    add_up,
    div_up,
    gamma,
    hypot_up,
    mul_up,
    sqrt_up,
    sub_down,
)
from lipcert.sensitivities.cotangents import longest_sum
from lipcert.sensitivities.truth import (
    PerExampleLoss,
    SquaredNorms,
    cotangents,
    forward,
    squared_norms,
)
from lipcert.sensitivities.usage import tap_factor
from lipcert.sensitivities.uses import Use, coefficients_of

CPU = torch.device("cpu")
"""Where this is found; it bounds sums in any order, and so on a GPU too."""
FACTOR = 2.0**-40
"""Relative error of a coefficient's derivative by its initialiser: products and quotients of a
few numbers; of a difference, as single numbers have it, no more is let pass."""
STEPS = 64
"""Roundings beyond those of sums, generously."""


@dataclass(frozen=True)
class Roundings:
    """What rounding can have added to the gradient norms of one example."""

    parameters: Mapping[str, float]
    layers: Mapping[str, float]
    total: float


class _Evaluator(RoundedEvaluator):
    """An evaluator that tells the constants of its nodes."""

    @property
    def gains(self) -> dict[str, float]:
        """By output."""
        return {n.output: gain for n, gain in zip(self.graph.nodes, self._gains, strict=True)}


class GradientRounding:
    """Bounds of the rounding in gradient norms of single examples.

    Parameters
    ----------
    uses : of the parameters meant.
    loss_lipschitz : of the loss in the model's output.
    constant : that constant from a bound of the output's norm, where it depends on it.
    """

    def __init__(
        self,
        graph: Graph,
        uses: tuple[Use, ...],
        loss: PerExampleLoss,
        loss_lipschitz: float,
        constant: Callable[[float], float] | None = None,
    ) -> None:
        self._graph, self._uses, self._loss = graph.to(CPU), uses, loss
        self._lipschitz, self._constant = loss_lipschitz, constant
        self._evaluator = _Evaluator(self._graph)

    def of(self, x: Tensor, label: Tensor) -> Roundings:
        """For one example: ``(*sample_shape)`` and a label ``(…)``."""
        graph = self._graph
        x = x.detach().to(CPU, torch.float64)[None]
        labels = label[None].to(CPU)
        names = (graph.input, *(node.output for node in graph.nodes))
        with torch.no_grad():
            values = self._evaluator.run(x, names)
        with torch.enable_grad():
            ends, outputs = forward(graph, range(len(graph.nodes)), x)
            gradients = cotangents(self._loss(outputs, labels), ends)
        sizes = {
            node.output: largest_norm(gradient)
            for node, gradient in zip(graph.nodes, gradients, strict=True)
        }
        errors = self._backward(values, sizes)
        norms = squared_norms(graph, self._uses, self._loss, x, labels)
        return self._roundings(values, sizes, errors, norms)

    def _backward(self, values: Evaluation, sizes: Mapping[str, float]) -> dict[str, float]:
        """Bounds of the distance of each gradient to the exact chain rule's."""
        graph = self._graph
        gains, errors = self._evaluator.gains, {graph.output: self._at_output(values)}
        for node in reversed(graph.nodes):
            before, size = errors.get(node.output, 0.0), sizes[node.output]
            gain = gains[node.output]
            passed = add_up(mul_up(gain, before), _own(node, gain, size))
            # the sum over all readers of a value, one after the other
            passed = add_up(passed, mul_up(gamma(len(graph.nodes)), gain, add_up(size, before)))
            for name in node.inputs:
                errors[name] = add_up(errors.get(name, 0.0), passed)
        return errors

    def _at_output(self, values: Evaluation) -> float:
        """Of the loss's own gradient: its rounding, and outputs longer than exact ones can be."""
        output = self._graph.output
        size = float(torch.linalg.vector_norm(values.values[output]))
        rounded = gamma(16 * self._graph.outputs + STEPS)
        error = add_up(values.errors[output], mul_up(rounded, size))
        rounding = mul_up(rounded, self._lipschitz)
        if self._constant is None:
            return rounding
        longest = add_up(size, error)
        growth = self._constant(longest) - self._constant(max(0.0, sub_down(size, error)))
        return add_up(rounding, max(0.0, growth) * (1.0 + 1e-12))

    def _roundings(
        self,
        values: Evaluation,
        sizes: Mapping[str, float],
        errors: Mapping[str, float],
        norms: SquaredNorms,
    ) -> Roundings:
        parameters: dict[str, float] = {}
        layers: dict[str, dict[str, float]] = {}
        for use in self._uses:
            node, name = self._graph.nodes[use.node], use.initialiser
            source = node.inputs[0]
            own = _of_use(
                use,
                node,
                (largest_norm(values.values[source]), values.errors[source]),
                (sizes[node.output], errors.get(node.output, 0.0)),
                float(norms.parameters[name].sqrt()),
            )
            parameters[name] = add_up(parameters.get(name, 0.0), own)
            parts = layers.setdefault(node.name, {})
            parts[name] = add_up(parts.get(name, 0.0), own)
        return Roundings(
            parameters,
            {name: _joint(parts, norms.layers[name]) for name, parts in layers.items()},
            _joint(parameters, norms.total),
        )


def _own(node: Node, gain: float, size: float) -> float:
    """What one step back through a node rounds."""
    operation = node.operation
    if isinstance(operation, Affine):
        operator = operation.operator
        return add_up(mul_up(operator.evaluation_error.l2, size), operator.underflow)
    if isinstance(operation, Total):
        return 0.0
    count = math.prod(node.shape)
    rounded = mul_up(gamma(8 * operation.ulps + count + STEPS), gain, size)
    return add_up(rounded, operation.ulps * SMALLEST_NORMAL * count)


def _of_use(
    use: Use, node: Node, x: tuple[float, float], g: tuple[float, float], norm: float
) -> float:
    """Of one use: x and g are norms and errors at its node, ``norm`` that of the whole gradient.

    With ``‖∂c‖ ≤ a·‖g‖‖x‖`` bilinear in both, the errors give ``a·(e_g‖x̂‖ + (‖ĝ‖ + e_g)e_x)``; a
    square with an error of ``γM²`` has a root with one of ``γM²/norm``.
    """
    if norm == 0.0:
        return 0.0
    spread = _multiplicity(use)
    gain = mul_up(spread, _gain(use, node))
    # a bias is multiplied by nothing
    (size, off) = (1.0, 0.0) if use.role == "bias" else x
    given, missed = g
    moved = add_up(mul_up(missed, size), mul_up(add_up(given, missed), off))
    most = mul_up(gain, given, size)
    formed = mul_up(gamma(_steps(use, node)), most, max(1.0, div_up(most, norm)))
    return add_up(mul_up(gain, moved), formed, mul_up(FACTOR, most))


def _steps(use: Use, node: Node) -> int:
    """The most roundings on the way from x and g to the norm."""
    broadcast = 0 if use.role == "weight" else math.prod(node.shape)
    gathered = len(use.index) if use.rate is None else 0
    return broadcast + gathered + use.size + longest_sum(node.operation, use.role) + STEPS


def _gain(use: Use, node: Node) -> float:
    """The a of ``‖∂c‖ ≤ a·‖g‖‖x‖`` for a coefficient c."""
    operation = node.operation
    if use.role == "bias":
        copies = math.prod(node.shape) / max(1, coefficients_of(operation)["bias"].numel())
        return sqrt_up(copies)
    operator = operation.operator if isinstance(operation, Affine) else None
    inner = operator.operator if isinstance(operator, Adjoint) else operator
    return tap_factor(inner) if isinstance(inner, Convolution) else 1.0


def _multiplicity(use: Use) -> float:
    """``max_j (Σ factor_i²)^½`` over the coefficients i that element j goes into."""
    if use.rate is not None:
        return use.rate
    squares = torch.zeros(use.size, dtype=torch.float64)
    squares.index_add_(0, use.index.cpu(), use.factor.cpu().double().square())
    return sqrt_up(mul_up(float(squares.max()), 1.0 + gamma(len(use.index) + 2)))


def _joint(parts: Mapping[str, float], square: Tensor) -> float:
    """Of the root of a sum of squares."""
    summed = mul_up(gamma(len(parts) + STEPS), float(square.sqrt()))
    return add_up(hypot_up(*parts.values()), summed)
