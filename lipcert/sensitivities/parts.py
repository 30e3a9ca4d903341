"""Constants of the model up to a value and from a value on: the smallest of several methods."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds.combine import combine
from lipcert.bounds.parts import without_dead_stages
from lipcert.bounds.plan import plan, size_of
from lipcert.errors import SolverError
from lipcert.graph import Affine, Graph, Node, Total
from lipcert.nonlinear import Activation
from lipcert.operators import Indexing, Reshape, Transpose
from lipcert.signals import SignalForm, ending_at, starting_at

logger = logging.getLogger(__name__)

COSTLY = "lipsdp"
"""The method that is run on those parts alone where it may pay, while time is left."""
QUICK = ("autolip",)
TIGHTEST = ("autolip", "averaged", COSTLY)


class Constant(NamedTuple):
    """A proven Lipschitz constant and the method that gave it."""

    value: float
    method: str


UNKNOWN = Constant(math.inf, "")


@dataclass
class Parts:
    """Parts of a model by the value that they end or start at, and constants of them.

    Parameters
    ----------
    forms : the parts that methods can be run on.
    found : of each part the constants by method.
    """

    forms: Mapping[str, SignalForm] = field(default_factory=dict)
    found: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, value: str, method: str, constant: float) -> None:
        """Enter what a method found."""
        self.found.setdefault(value, {})[method] = constant

    def smallest(self, on: Collection[str]) -> dict[str, Constant]:
        """Of each part the smallest constant, the costly method's only where that is ``on``."""
        best = {}
        for value, known in self.found.items():
            offers = [
                Constant(constant, method)
                for method, constant in known.items()
                if (method != COSTLY or COSTLY in on) and not math.isnan(constant)
            ]
            best[value] = min(offers, default=UNKNOWN, key=lambda offer: offer.value)
        return best

    def run(self, method: str, context: BoundContext) -> None:
        """Run a method on the parts where it has not been; one beyond the norms while there is
        time."""
        for value, form in self.forms.items():
            if method in self.found.get(value, {}):
                continue
            if context.expired and method not in QUICK:
                return
            self.add(value, method, context.once(METHODS[method], form).value)

    def work(self, value: str, context: BoundContext) -> float:
        """Operations of one iteration of the costly method, 0 where it can say nothing new or has
        no time to say it."""
        known, form = self.found.get(value, {}), self.forms.get(value)
        if form is None or COSTLY in known or not 0.0 < min(known.values(), default=0.0) < math.inf:
            return 0.0
        live = without_dead_stages(form)
        bends = len(live.stages)
        if not bends or (bends == 1 and all(map(_moves_only, live.output_terms.values()))):
            return 0.0
        if context.expired or all(stretch.boxed for stretch in plan(live, context)):
            return 0.0
        return size_of(live, 1, bends + 1).work

    def solve(self, value: str, context: BoundContext, deadline: float) -> None:
        """The costly method on one part, until a deadline."""
        with context.until(deadline) as own:
            try:
                self.add(value, COSTLY, METHODS[COSTLY](self.forms[value], own).value)
            except SolverError as error:
                logger.info("%s", error)


def prefixes(
    graph: Graph, form: SignalForm, methods: Collection[str], context: BoundContext
) -> Parts:
    """The maps from the input to the stages' outputs, to what layers read, and to the output.

    One run of a method on the whole model gives the constants of all signals.  Where no more than
    the norms is asked for, concatenations are the only other values: they take no others.
    """
    names = {stage.node.output: k for k, stage in enumerate(form.stages, start=1)}
    read = dict.fromkeys(_read_by_layers(graph))
    if _beyond_norms(methods):
        read[graph.output] = None
    else:
        read = dict.fromkeys(value for value in _concatenations(graph) if value in read)
    forms = ending_at(graph, form, read) if read else {}
    parts = Parts(forms)
    for method in (m for m in methods if m != COSTLY):
        whole = context.once(METHODS[method], form)
        for value, k in names.items():
            parts.add(value, method, whole.signals[k])
        if graph.output not in names:
            parts.add(graph.output, method, whole.value)
        for value in forms if method == "autolip" else ():
            if value not in parts.found:
                joint = combine(forms[value].output_terms, whole.signals, context)
                parts.add(value, method, joint)
    return parts


def suffixes(graph: Graph, form: SignalForm, methods: Collection[str]) -> Parts:
    """The maps to the output from the values that gradients of layers come through."""
    forms = {}
    if _beyond_norms(methods):
        # from the output on: the short ones first
        for value in reversed(list(_passed_by_gradients(graph))):
            rest = starting_at(graph, form, value)
            if rest is not None:
                forms[value] = rest
    return Parts(forms)


def _beyond_norms(methods: Collection[str]) -> bool:
    return any(method not in QUICK for method in methods)


def _moves_only(operator: object) -> bool:
    return isinstance(operator, Reshape | Transpose)


def _is_move(node: Node) -> bool:
    return isinstance(node.operation, Affine) and _moves_only(node.operation.operator)


def _read_by_layers(graph: Graph) -> Iterator[str]:
    """Values that nodes with coefficients to train read, up to a rearrangement."""
    producers = {node.output: node for node in graph.nodes}
    for node in graph.nodes:
        if not node.origins:
            continue
        value = node.inputs[0]
        while value in producers:
            if not _is_move(producers[value]):
                yield value
                break
            value = producers[value].inputs[0]


def _concatenations(graph: Graph) -> Iterator[str]:
    """Sums of rearranged values."""
    moved = {
        node.output
        for node in graph.nodes
        if isinstance(node.operation, Affine) and isinstance(node.operation.operator, Indexing)
    }
    for node in graph.nodes:
        if isinstance(node.operation, Total) and moved.issuperset(node.inputs):
            yield node.output


def _passed_by_gradients(graph: Graph) -> Iterator[str]:
    """For each node with parameters the last value on the way to the output that all of the
    gradient at its own output passes without a loss, in the graph's order."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    places = {node.output: place for place, node in enumerate(graph.nodes)}
    found = set()
    for node in graph.nodes:
        value = node.output
        while (node.origins or node.shifts) and value != graph.output:
            reading = readers.get(value, [])
            if len(reading) != 1 or not _passes(reading[0]):
                found.add(value)
                break
            value = reading[0].output
            if not reading[0].is_linear:
                found.add(value)
                break
    yield from sorted(found - {graph.output}, key=lambda value: places[value])


def _passes(node: Node) -> bool:
    """Whether the constant at its input is that at its output, times a slope at most."""
    if isinstance(node.operation, Activation):
        return isinstance(node.operation.slopes.beta, float)
    return isinstance(node.operation, Total) or _is_move(node)
