"""Backward: a bound of the norm of the loss gradient at every value of a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from lipcert.bounds import BoundContext
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.operators import Dense, Reshape, is_identity
from lipcert.rounding import add_up, mul_up
from lipcert.sensitivities.suffix import suffix_constants
from lipcert.signals import SignalForm

Head = Callable[[Tensor], float]
"""From the weight ``(K, n)`` of the last layer, ``z = W h + b``: a bound of ‖Wᵀg‖ over all g that
are gradients of the loss in z."""


@dataclass(frozen=True)
class Cotangent:
    """A bound G of the norm of the loss gradient at a value, and the argument that gave it."""

    G: float
    how: str


@dataclass
class Backward:
    """Bounds of the loss gradient at a graph's values.

    Parameters
    ----------
    graph, form : the model, and its signal form.
    loss_lipschitz : of the loss in the model's output.
    context : norms found so far, in l2.
    head : of the loss, where it has one.
    suffix : the method that bounds the constants of the model's last layers.
    """

    graph: Graph
    form: SignalForm
    loss_lipschitz: float
    context: BoundContext
    head: Head | None = None
    suffix: str = "averaged"
    _constants: dict[str, float] | None = None

    def run(self, on: frozenset[str]) -> dict[str, Cotangent]:
        """Bounds at every value, by the tightenings that are ``on``.

        Each node passes on what arrives at its output times its constant; what the readers of a
        value pass on adds up.  The same over whole linear stretches (the constant of the rest of
        the model as AutoLip has it) bounds it too.
        """
        graph = self.graph
        arriving: dict[str, float] = {graph.output: self.loss_lipschitz}
        through = self._stretches() if "stretches" in on else {}
        if "suffix" in on:
            for value, constant in self.constants.items():
                gradient = mul_up(constant, self.loss_lipschitz)
                through[value] = min(_number(through.get(value, math.inf)), _number(gradient))
        found: dict[str, Cotangent] = {}
        pairwise = self._pairwise() if "head" in on else None
        for node in reversed(graph.nodes):
            own = self._settled(node.output, arriving, through, found)
            passed = mul_up(self._constant(node), own)
            if pairwise is not None and node is pairwise[0]:
                passed = min(passed, pairwise[1])
            for name in node.inputs:
                arriving[name] = add_up(arriving.get(name, 0.0), passed)
        self._settled(graph.input, arriving, through, found)
        if pairwise is not None and pairwise[1] <= arriving[pairwise[0].inputs[0]]:
            source = pairwise[0].inputs[0]
            if found[source].how == "layers":
                found[source] = Cotangent(found[source].G, "pairwise head")
        return found

    def _settled(
        self,
        value: str,
        arriving: Mapping[str, float],
        through: Mapping[str, float],
        found: dict[str, Cotangent],
    ) -> float:
        """What arrives at a value from all its readers, all of which have been met."""
        how, best = "layers", _number(arriving.get(value, 0.0))
        if value == self.graph.output:
            how = "loss"
        if _number(through.get(value, math.inf)) < best:
            how, best = "suffix", through[value]
        found[value] = Cotangent(best, how)
        return best

    def _constant(self, node: Node) -> float:
        if isinstance(node.operation, Affine):
            return self.context.norm_of(node.operation.operator).value
        if isinstance(node.operation, Total):
            return 1.0
        return node.operation.lipschitz(*(self.graph.shape_of(name) for name in node.inputs)).l2

    def _stretches(self) -> dict[str, float]:
        """At stage outputs: ``g_j = Σ_k ‖A_kj‖ β_k g_k + ‖C_j‖ L`` over readers k."""
        form, context = self.form, self.context
        gradients = {
            j: mul_up(context.norm_of(A).value, self.loss_lipschitz)
            for j, A in form.output_terms.items()
        }
        for k in range(len(form.stages), 0, -1):
            stage = form.stages[k - 1]
            before = mul_up(stage.constants.l2, gradients.get(k, 0.0))
            for j, operator in stage.terms.items():
                part = mul_up(context.norm_of(operator).value, before)
                gradients[j] = add_up(gradients.get(j, 0.0), part)
        values = {0: self.graph.input}
        values |= {k: stage.node.output for k, stage in enumerate(form.stages, start=1)}
        return {values[j]: g for j, g in gradients.items()}

    @property
    def constants(self) -> dict[str, float]:
        """Proven constants of the maps from the stages' outputs to the model's."""
        if self._constants is None:
            found = suffix_constants(self.graph, self.form, self.suffix, self.context)
            self._constants = found
        return self._constants

    def _pairwise(self) -> tuple[Node, float] | None:
        """The dense layer that gives the output, and the head's bound at its input."""
        if self.head is None:
            return None
        producers = {node.output: node for node in self.graph.nodes}
        readers: dict[str, int] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                readers[name] = readers.get(name, 0) + 1
        value = self.graph.output
        while value in producers:
            node = producers[value]
            alone = readers.get(value, 0) == (0 if value == self.graph.output else 1)
            if not alone or not isinstance(node.operation, Affine):
                return None
            operator = node.operation.operator
            if isinstance(operator, Dense):
                if operator.in_size != operator.weight.shape[1]:
                    return None
                off = mul_up(operator.error.l2, self.loss_lipschitz)
                return node, add_up(_number(self.head(operator.weight)), off)
            if not (is_identity(operator) or isinstance(operator, Reshape)):
                return None
            value = node.inputs[0]
        return None


def _number(bound: float) -> float:
    return math.inf if math.isnan(bound) else bound
