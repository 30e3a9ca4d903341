"""Constants of a model up to every value that float32 rounds, for the checker's formula.

lipcert's own bounds are tighter than what the checker makes of gains alone; they are taken where
the two speak of the same tensor, and what is between follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds.combine import combine
from lipcert.certification.float32 import Known, uncovered
from lipcert.checker.network import Network, growth
from lipcert.graph import Graph
from lipcert.head import logits_of
from lipcert.sensitivities.parts import COSTLY, TIGHTEST
from lipcert.signals import SignalForm, ending_at, fold

QUICK = tuple(method for method in TIGHTEST if method != COSTLY)


def surroundings(graph: Graph, network: Network, context: BoundContext) -> Known:
    """Proven l2 constants of each of the network's values, as long as the context has time.

    Parameters
    ----------
    graph : the certified map; ``network`` the same as the checker reads it.

    Raises UnsupportedError where the two do not take the same value for the logits.
    """
    graph = graph.ending_at(logits_of(graph))
    names = counterparts(graph, network)
    if names.get(network.logits) != graph.output:
        raise uncovered("its output is not read the same way by the checker", graph.name)
    form = fold(graph)
    return _prefixes(network, _before(graph, form, names, context))


def counterparts(graph: Graph, network: Network) -> dict[str, str]:
    """The graph's name of each tensor that both know, by the network's; the input is left out."""
    known = {node.output: node.shape for node in graph.nodes}
    found = {name: name for name in network.makers if name in known}
    found.pop(graph.input, None)
    if network.input != graph.input:  # before a normalisation
        found[graph.input] = graph.nodes[0].output
    return {
        name: own for name, own in found.items() if math.prod(known[own]) == network.sizes[name]
    }


def _before(
    graph: Graph, form: SignalForm, names: Mapping[str, str], context: BoundContext
) -> dict[str, float]:
    """``‖Δvalue‖/‖Δx‖`` by the network's names."""
    forms = ending_at(graph, form, dict.fromkeys(names.values()))
    places = {stage.node.output: k for k, stage in enumerate(form.stages, start=1)}
    found: dict[str, float] = {}
    for method in QUICK:
        if found and context.expired:
            break
        whole = context.once(METHODS[method], form)
        for name, own in names.items():
            constant = (
                whole.signals[places[own]]
                if own in places
                else combine(forms[own].output_terms, whole.signals, context)
            )
            found[name] = min(found.get(name, math.inf), constant)
    return found


def _prefixes(network: Network, found: Mapping[str, float]) -> Known:
    """For every value, by what it is made of where nothing smaller was found."""
    known = {network.input: 1.0}
    for name, maker in network.makers.items():
        known[name] = min(growth(maker, known), found.get(name, math.inf))
    return known
