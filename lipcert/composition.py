"""Where a graph is a composition of maps, and its residual blocks x + g(x).

A value that everything passes through cuts the graph in two.  Around a sum of such a value and of
what is computed from it lies a residual block, in which neither part alone says what both do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lipcert.graph import Affine, Graph, Node, Total
from lipcert.nonlinear import Nonlinearity
from lipcert.operators import is_identity


@dataclass(frozen=True, eq=False)
class Piece:
    """One map of a composition; ``skips`` where a linear path leads around its activations."""

    graph: Graph
    skips: bool


@dataclass(frozen=True, eq=False)
class Skip:
    """A residual block ``y = x + g(x)``.

    Parameters
    ----------
    total : the node that adds.
    start : the name of the value x.
    branch : g, a graph from x.
    """

    total: Node
    start: str
    branch: Graph


def waists(graph: Graph) -> list[str]:
    """The values that everything passes through, from the input to the output.

    Nodes that the output does not depend on do not count.
    """
    nodes = graph.ending_at(graph.output).nodes
    last = {name: place for place, node in enumerate(nodes) for name in node.inputs}
    found, open_until = [graph.input], last.get(graph.input, -1)
    for place, node in enumerate(nodes):
        if open_until <= place:
            found.append(node.output)
        open_until = max(open_until, last.get(node.output, -1))
    return found


def pieces_of(graph: Graph) -> list[Piece]:
    """Residual blocks and what is between them, in order; the graph is their composition."""
    edges = waists(graph)
    found: list[Piece] = []
    first = edges[0]
    for start, stop in itertools.pairwise(edges):
        own = between(graph, start, stop)
        if not _skips(own):
            continue
        if first != start:
            found.append(Piece(between(graph, first, start), skips=False))
        found.append(Piece(own, skips=True))
        first = stop
    if first != edges[-1] or not found:
        found.append(Piece(between(graph, first, edges[-1]), skips=False))
    return found


def between(graph: Graph, start: str, stop: str) -> Graph:
    """The part of a graph from one value to another that depends on it alone."""
    cut = replace(
        graph,
        nodes=_after(graph, start),
        input=start,
        input_shape=graph.shape_of(start),
    )
    return cut.ending_at(stop)


def _after(graph: Graph, value: str) -> tuple[Node, ...]:
    names = [node.output for node in graph.nodes]
    return graph.nodes[names.index(value) + 1 :] if value in names else graph.nodes


def _skips(graph: Graph) -> bool:
    """Whether the output is linear in the input on one path and not on another."""
    if not any(isinstance(node.operation, Nonlinearity) for node in graph.nodes):
        return False
    linear = {graph.input}
    for node in graph.nodes:
        if node.is_linear and linear.intersection(node.inputs):
            linear.add(node.output)
    return graph.output in linear


def skips_of(graph: Graph) -> list[Skip]:
    """The residual blocks x + g(x) of a graph in order, nested ones included.

    x must be added as it is, and g must depend on the graph's input through x alone.
    """
    makers = {node.output: node for node in graph.nodes}
    found = []
    for node in graph.ending_at(graph.output).nodes:
        if isinstance(node.operation, Total):
            found += list(_skips_into(graph, node, makers))[:1]
    return found


def _skips_into(graph: Graph, total: Node, makers: dict[str, Node]) -> Iterator[Skip]:
    roots = [_unchanged(name, makers) for name in total.inputs]
    for place, start in enumerate(roots):
        rest = tuple(name for other, name in enumerate(total.inputs) if other != place)
        if not rest or graph.shape_of(start) != total.shape:
            continue
        nodes = _from(start, rest, graph, makers)
        if nodes is None:
            continue
        output = rest[0]
        if len(rest) > 1:
            output = f"{total.output} without {start}"
            nodes = (*nodes, replace(total, inputs=rest, output=output))
        branch = replace(graph, nodes=nodes, input=start, input_shape=total.shape, output=output)
        yield Skip(total, start, branch)


def _unchanged(name: str, makers: dict[str, Node]) -> str:
    """The value that another is a copy of."""
    while name in makers:
        node = makers[name]
        own = node.operation
        if not isinstance(own, Affine) or own.bias is not None or not is_identity(own.operator):
            break
        name = node.inputs[0]
    return name


def _from(
    start: str, values: tuple[str, ...], graph: Graph, makers: dict[str, Node]
) -> tuple[Node, ...] | None:
    """The nodes that compute values from ``start``; None where they read anything else."""
    needed: set[str] = set()
    waiting = [name for name in values if name != start]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        if name not in makers:
            return None
        needed.add(name)
        waiting += [source for source in makers[name].inputs if source != start]
    if not needed:
        return None
    return tuple(node for node in graph.nodes if node.output in needed)
