"""Groups of parameters that get the same noise: layers, joined where they share a parameter."""

from __future__ import annotations

import math

from lipcert.rounding import hypot_up
from lipcert.sensitivities.privacy import NoiseGroup
from lipcert.sensitivities.result import ParameterSensitivity, Sensitivities


def noise_groups(found: Sensitivities) -> tuple[NoiseGroup, ...]:
    """Every initialiser in exactly one group; ``Δ² = Σ Δ_p²`` over its initialisers.

    A group is called by its layers, joined by ``+`` where a tied parameter joins them.
    """
    homes: dict[str, int] = {}
    members: list[set[str]] = []
    names: list[list[str]] = []
    for layer in found.layers:
        own = {parameter.name for parameter in layer.parameters}
        joined = sorted({homes[name] for name in own if name in homes})
        place = joined[0] if joined else len(members)
        if not joined:
            members.append(set())
            names.append([])
        for other in joined[1:]:
            members[place] |= members[other]
            names[place] += names[other]
            members[other], names[other] = set(), []
        members[place] |= own
        names[place].append(layer.name)
        homes.update(dict.fromkeys(members[place], place))
    totals = {parameter.name: parameter for parameter in found.parameters}
    return tuple(
        _group("+".join(titles), [totals[name] for name in sorted(group)])
        for group, titles in zip(members, names, strict=True)
        if group
    )


def _group(name: str, parameters: list[ParameterSensitivity]) -> NoiseGroup:
    delta = hypot_up(*(parameter.delta for parameter in parameters))
    return NoiseGroup(name, delta, sum(math.prod(parameter.shape) for parameter in parameters))
