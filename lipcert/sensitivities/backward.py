"""Backward: a bound of the norm of the loss gradient at every value of a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from lipcert.bounds import BoundContext
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.operators import Dense, Indexing, Reshape, is_identity
from lipcert.rounding import add_up, mul_up
from lipcert.sensitivities.parts import Constant, Parts, suffixes
from lipcert.signals import SignalForm, Terms, ending_at, readers_of

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
    suffixes : constants of the maps from values to the output.
    head : of the loss, where it has one.
    bodies : constants of the maps from values to the input of the layer that the head is of.
    shared : see :func:`shared_reads`.
    """

    graph: Graph
    form: SignalForm
    loss_lipschitz: float
    context: BoundContext
    suffixes: Parts
    head: Head | None = None
    bodies: Parts = field(default_factory=Parts)
    shared: Mapping[str, Terms] = field(default_factory=dict)

    def run(
        self,
        on: frozenset[str],
        suffixes: Mapping[str, Constant] | None = None,
        bodies: Mapping[str, Constant] | None = None,
    ) -> dict[str, Cotangent]:
        """Bounds at every value, by the tightenings that are ``on``.

        Each node passes on what arrives at its output times its constant; what the readers of a
        value pass on adds up.  The same over whole linear stretches (the constant of the rest of
        the model as AutoLip has it) bounds it too, and so do the constants of suffixes and bodies,
        in whose place others may be given, to try what they were worth.
        """
        graph = self.graph
        pairwise = self.pairwise() if "head" in on else None
        offers: dict[str, list[Cotangent]] = {}
        if "stretches" in on:
            for value, gradient in self._stretches().items():
                offers.setdefault(value, []).append(Cotangent(gradient, "stretches"))
        if "suffix" in on:
            suffixes = self.suffixes.smallest(on) if suffixes is None else suffixes
            _offer(offers, suffixes, self.loss_lipschitz, "suffix")
        if "suffix" in on and pairwise is not None:
            bodies = self.bodies.smallest(on) if bodies is None else bodies
            _offer(offers, bodies, pairwise[1], "suffix to the head")
        arriving = {graph.output: [Cotangent(self.loss_lipschitz, "loss")]}
        found: dict[str, Cotangent] = {}
        for node in reversed(graph.nodes):
            found[node.output] = _settled(arriving.get(node.output, []), offers, node.output)
            passed = self._through(node, found[node.output])
            if pairwise is not None and node is pairwise[0]:
                passed = min(passed, Cotangent(pairwise[1], "pairwise head"), key=_size)
            for name in node.inputs:
                arriving.setdefault(name, []).append(passed)
        found[graph.input] = _settled(arriving.get(graph.input, []), offers, graph.input)
        return found

    def _through(self, node: Node, after: Cotangent) -> Cotangent:
        """What a node passes on to each of its operands; a weight's norm makes it its own."""
        gradient = mul_up(self._constant(node), after.G)
        return Cotangent(gradient, "layers" if _weighs(node) else after.how)

    def _constant(self, node: Node) -> float:
        if isinstance(node.operation, Affine):
            return self.context.norm_of(node.operation.operator).value
        if isinstance(node.operation, Total):
            return 1.0
        return node.operation.lipschitz(*(self.graph.shape_of(name) for name in node.inputs)).l2

    def _stretches(self) -> dict[str, float]:
        """At stage outputs: ``g_j = Σ_k ‖A_kj‖ β_k g_k + ‖C_j‖ L`` over readers k.

        The same at values that several nodes read parts of, where that takes no other norms.
        """
        form, context = self.form, self.context
        gradients = {
            j: mul_up(context.norm_of(A).value, self.loss_lipschitz)
            for j, A in form.output_terms.items()
        }
        arriving = {len(form.stages) + 1: self.loss_lipschitz}
        for k in range(len(form.stages), 0, -1):
            stage = form.stages[k - 1]
            before = mul_up(stage.constants.l2, gradients.get(k, 0.0))
            arriving[k] = before
            for j, operator in stage.terms.items():
                part = mul_up(context.norm_of(operator).value, before)
                gradients[j] = add_up(gradients.get(j, 0.0), part)
        values = {0: self.graph.input}
        values |= {k: stage.node.output for k, stage in enumerate(form.stages, start=1)}
        through = {values[j]: g for j, g in gradients.items()}
        for value, terms in self.shared.items():
            parts = [mul_up(context.norm_of(A).value, arriving[k]) for k, A in terms.items()]
            through[value] = add_up(*parts)
        return through

    def pairwise(self) -> tuple[Node, float] | None:
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


def _weighs(node: Node) -> bool:
    operation = node.operation
    return isinstance(operation, Affine) and not isinstance(operation.operator, Indexing)


def shared_reads(graph: Graph, form: SignalForm) -> dict[str, Terms]:
    """The values that are read more than once and reach stages and the output through
    rearrangements only, as the halves of a MaxMin do; with these, see :func:`readers_of`.

    Taken together the readers of one stage cost no more than one.
    """
    once = {graph.input, graph.output, *(stage.node.output for stage in form.stages)}
    twice: dict[str, Terms] = {}
    lost = set(once)
    for node in graph.nodes:
        for name in node.inputs:
            if _weighs(node):
                lost.add(name)
            if name in once and name not in lost:
                twice[name] = {}
            once.add(name)
    for name in twice:
        terms = readers_of(graph, form, name)
        if all(isinstance(A, Indexing) for A in terms.values()):
            twice[name] = terms
    return {name: terms for name, terms in twice.items() if terms}


def bodies(graph: Graph, form: SignalForm, backward: Backward, methods: Collection[str]) -> Parts:
    """What comes before the last layer, where the loss's head bounds the gradient at its input."""
    found = backward.pairwise()
    if found is None:
        return Parts()
    before = found[0].inputs[0]
    cut = replace(graph, output=before)
    return suffixes(cut, ending_at(graph, form, [before])[before], methods)


def _offer(
    offers: dict[str, list[Cotangent]],
    constants: Mapping[str, Constant],
    after: float,
    what: str,
) -> None:
    """Enter the constants of parts behind which the gradient is at most ``after``."""
    for value, (constant, method) in constants.items():
        gradient = Cotangent(mul_up(constant, after), f"{what} ({method})")
        offers.setdefault(value, []).append(gradient)


def _settled(
    arriving: list[Cotangent], offers: Mapping[str, list[Cotangent]], value: str
) -> Cotangent:
    """The smallest bound at a value all of whose readers have been met."""
    how = arriving[0].how if len(arriving) == 1 else "layers"
    total = Cotangent(_number(add_up(*(one.G for one in arriving))), how)
    return min((total, *offers.get(value, [])), key=_size)


def _size(cotangent: Cotangent) -> float:
    return math.inf if math.isnan(cotangent.G) else cotangent.G


def _number(bound: float) -> float:
    return math.inf if math.isnan(bound) else bound
