"""How the coefficients of a graph depend on initialisers that are single numbers, by probes.

A coefficient c that a number s went into is ``c₀ + r·s`` or ``d/s``.  With 2s and 4s in the file
it must be ``c + r·s`` and ``c + 3r·s``, or c/2 and c/4; what is neither is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from lipcert.errors import LipcertError
from lipcert.graph import Graph, Node
from lipcert.sensitivities.uses import Use, coefficients_of

Array = NDArray[np.float64]
Probe = Callable[[Mapping[str, Array]], Mapping[str, Node]]
"""From other values of initialisers to the nodes, by output, that they give.  Raises LipcertError
where these are not the same nodes with other coefficients."""

SAME = 1e-12
"""Distance, relative to what is subtracted, within which two computed coefficients are one."""


def scalar_uses(graph: Graph, held: Mapping[str, float], probe: Probe) -> tuple[Use, ...]:
    """The uses of those of the single numbers ``held`` whose part in every node is known."""
    found: list[Use] = []
    for together in _apart(graph, tuple(held)):
        own = _together(graph, {name: held[name] for name in together}, probe)
        if own is None and len(together) > 1:
            for name in together:
                found += _together(graph, {name: held[name]}, probe) or []
        else:
            found += own or []
    return tuple(found)


def _apart(graph: Graph, names: tuple[str, ...]) -> list[list[str]]:
    """The names in sets of which no node uses two."""
    sets: list[list[str]] = []
    for name in names:
        beside = {other for n in graph.nodes if name in n.parameters for other in n.parameters}
        for together in sets:
            if not beside.intersection(together):
                together.append(name)
                break
        else:
            sets.append([name])
    return sets


def _together(graph: Graph, held: Mapping[str, float], probe: Probe) -> list[Use] | None:
    """The uses of numbers that no node uses two of; None where they cannot be told apart."""
    steps = {name: value or 0.5 for name, value in held.items()}
    firsts = {name: np.array([value + steps[name]]) for name, value in held.items()}
    seconds = {name: np.array([value + 3.0 * steps[name]]) for name, value in held.items()}
    try:
        probes = [probe(firsts), probe(seconds)]
    except LipcertError:
        return None
    found: list[Use] = []
    lost: set[str] = set()
    for position, node in enumerate(graph.nodes):
        own = [name for name in held if name in node.parameters]
        moved = _moved(node, probes)
        if moved and not own:
            return None
        if own:
            uses = [_use(own[0], position, role, three, held) for role, three in moved.items()]
            found += [use for use in uses if use is not None]
            if not uses or None in uses:
                lost.add(own[0])
    return [use for use in found if use.initialiser not in lost]


def _moved(node: Node, probes: list[Mapping[str, Node]]) -> dict[str, tuple[Array, Array, Array]]:
    """By role a coefficient as it is and in both probes, flat, where these differ."""
    twins = [probe.get(node.output) for probe in probes]
    if not all(twins):
        return {}  # what was put in front of the imported graph
    found = {}
    others = [coefficients_of(twin.operation) for twin in twins if twin is not None]
    for role, coefficient in coefficients_of(node.operation).items():
        held = (coefficient, *(other[role] for other in others))
        true, first, second = (c.cpu().reshape(-1).numpy() for c in held)
        if not (np.array_equal(true, first) and np.array_equal(true, second)):
            found[role] = (true, first, second)
    return found


def _use(
    name: str,
    position: int,
    role: str,
    three: tuple[Array, Array, Array],
    held: Mapping[str, float],
) -> Use | None:
    true, first, second = three
    value, step = held[name], held[name] or 0.5
    size = np.abs(true) + np.abs(first) + np.abs(second)
    rate = (second - first) / (2.0 * step)
    straight = np.abs(first - true - rate * step) <= SAME * size
    # a slope that is what rounding left of a difference is none
    straight &= (rate == 0.0) | (np.abs(rate * step) >= size * 1e-3)
    inverse = np.zeros_like(straight)
    if value:
        inverse = np.abs(np.stack([2.0 * first, 4.0 * second]) - true).max(0) <= SAME * size
        rate = np.where(straight, rate, -true / value)
    if not bool((straight | inverse).all()):
        return None
    index = torch.zeros(len(true), dtype=torch.int64)
    return Use(name, position, role, 1, index, torch.from_numpy(rate), None)
