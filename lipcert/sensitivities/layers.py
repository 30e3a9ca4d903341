"""Uses of parameters gathered into layers, and layers into the model's sensitivity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lipcert.graph import Graph
from lipcert.rounding import add_up, hypot_up, mul_up
from lipcert.sensitivities.backward import Cotangent
from lipcert.sensitivities.magnitudes import Magnitude
from lipcert.sensitivities.parameters import Use, Uses
from lipcert.sensitivities.result import LayerSensitivity, ParameterSensitivity


def layers_of(
    graph: Graph,
    uses: Uses,
    magnitudes: Mapping[str, Magnitude],
    cotangents: Mapping[str, Cotangent],
    on: frozenset[str],
) -> tuple[LayerSensitivity, ...]:
    """One layer for each ONNX node with parameters, in the graph's order."""
    groups: dict[tuple[str, str], list[Use]] = {}
    for node in graph.nodes:
        if node.origins or node.shifts:
            found = uses.of(node, magnitudes[node.inputs[0]].X, on)
            if found:
                groups.setdefault((node.name, node.onnx_type), []).extend(found)
    return tuple(_layer(group, magnitudes, cotangents) for group in groups.values())


def _layer(
    uses: list[Use], magnitudes: Mapping[str, Magnitude], cotangents: Mapping[str, Cotangent]
) -> LayerSensitivity:
    by_name: dict[str, list[Use]] = {}
    for use in uses:
        by_name.setdefault(use.origin.name, []).append(use)
    parameters = tuple(
        ParameterSensitivity(name, own[0].origin.shape, _delta(own, cotangents), len(own))
        for name, own in by_name.items()
    )
    first = uses[0].node
    before, after = magnitudes[first.inputs[0]], cotangents[first.output]
    return LayerSensitivity(
        first.name,
        first.onnx_type,
        before.X,
        after.G,
        # every joint bound of the theory is the root of the sum of squares of the parts
        hypot_up(*(parameter.delta for parameter in parameters)),
        parameters,
        before.how,
        after.how,
    )


def _delta(uses: list[Use], cotangents: Mapping[str, Cotangent]) -> float:
    """Bound of one initialiser's gradient over its entries into a layer.

    Entries that act at the same places of gradients bounded alike are taken together, element by
    element: ``‖∂p‖ ≤ G max_j Σ gains_j``.  Any others add up.
    """
    total = 0.0
    waiting = list(uses)
    while waiting:
        use = waiting.pop(0)
        G = cotangents[use.node.output].G
        together = [other for other in waiting if _acts_alike(use, other)]
        if together and use.gains is not None:
            waiting = [other for other in waiting if not any(other is t for t in together)]
            gains = use.gains
            for other in together:
                assert other.gains is not None
                gains = np.nextafter(gains + other.gains, np.inf)
            total = add_up(total, mul_up(float(gains.max(initial=0.0)), G))
        else:
            total = add_up(total, mul_up(use.gain, G))
    return total


def _acts_alike(use: Use, other: Use) -> bool:
    """Whether the second node only adds to the first one's output, at the same places.

    The gradients at both outputs are then one and the same.
    """
    if use.places is None or other.places is None:
        return False
    same_gradient = other.node is use.node or other.node.inputs == (use.node.output,)
    return same_gradient and other.is_shift and np.array_equal(use.places, other.places)


def totals(layers: tuple[LayerSensitivity, ...]) -> tuple[ParameterSensitivity, ...]:
    """Each initialiser over all its layers: gradients of tied uses add up."""
    found: dict[str, ParameterSensitivity] = {}
    for layer in layers:
        for own in layer.parameters:
            before = found.get(own.name)
            if before is None:
                found[own.name] = own
            else:
                found[own.name] = ParameterSensitivity(
                    own.name,
                    own.shape,
                    add_up(before.delta, own.delta),
                    before.uses + own.uses,
                )
    return tuple(found.values())


def global_delta(layers: tuple[LayerSensitivity, ...]) -> float:
    """``√Σ Δ²`` over the initialisers."""
    return hypot_up(*(parameter.delta for parameter in totals(layers)))
