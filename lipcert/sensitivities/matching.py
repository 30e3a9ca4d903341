"""Which coefficient of a graph is which element of an initialiser, from two imports of probes.

With element i of initialiser j holding ``s_j + i`` in the first and ``t_j`` in the second, a
coefficient that is ``c₁ = a(s_j + i)`` and ``c₂ = a·t_j`` there has the factor a and the element
i; the true coefficient must then be ``a·v_j[i]``.  What does not fit is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipcert.errors import UnsupportedError
from lipcert.graph import Graph, Node
from lipcert.sensitivities.uses import Use, coefficients_of

Array = NDArray[np.float64]
Matched = tuple[NDArray[np.bool_], NDArray[np.int64], Array]
"""Which coefficients are an initialiser's, the element each is, and its derivative by it."""

SAME = 1e-12
"""Relative distance within which two computed coefficients are one number."""
INTEGER = 1e-6
"""Distance within which a position is an integer."""
BATCH_NORMALIZATION = "BatchNormalization"


@dataclass(frozen=True, eq=False)
class Matcher:
    """The graph, its two probes, and what initialisers held in each."""

    graph: Graph
    probes: Sequence[Mapping[str, Node]]
    values: Mapping[str, Array]
    shifts: Mapping[str, float]
    levels: Mapping[str, float]

    def uses(self) -> tuple[Use, ...]:
        """All uses, in the order of the nodes."""
        found: list[Use] = []
        for position, node in enumerate(self.graph.nodes):
            names = tuple(dict.fromkeys(name for name in node.parameters if name in self.values))
            own: list[Use] = []
            for role, coefficient in coefficients_of(node.operation).items():
                held = self._in_probes(node, role, coefficient)
                if held is not None:
                    own += self._matched(position, role, names, held)
            missing = set(names) - {use.initialiser for use in own}
            if missing:
                raise self._refusal(node, tuple(sorted(missing)))
            found += own
        return tuple(found)

    def _in_probes(
        self, node: Node, role: str, coefficient: Tensor
    ) -> tuple[Array, Array, Array] | None:
        """A coefficient as it is and in both probes, flat; None where it is fixed."""
        twins = [probe.get(node.output) for probe in self.probes]
        if not all(twins):
            return None  # what was put in front of the imported graph
        others = [coefficients_of(twin.operation)[role] for twin in twins if twin is not None]
        true, first, second = (c.cpu().reshape(-1).numpy() for c in (coefficient, *others))
        if np.array_equal(true, first) and np.array_equal(true, second):
            return None
        return true, first, second

    def _matched(
        self, position: int, role: str, names: tuple[str, ...], held: tuple[Array, Array, Array]
    ) -> list[Use]:
        node = self.graph.nodes[position]
        if node.onnx_type == BATCH_NORMALIZATION and role == "bias":
            return self._offset(position, names, held)
        fixed = (held[0] == held[1]) & (held[0] == held[2])
        uses: list[Use] = []
        for name in names:
            for inverted in (False, True):
                ours, index, factor = self._match(name, held, inverted=inverted)
                ours &= ~fixed
                if ours.any():
                    uses.append(self._use(name, position, role, (ours, index, factor)))
                    fixed |= ours
        if not fixed.all():
            raise self._refusal(node, names)
        return uses

    def _match(self, name: str, held: tuple[Array, Array, Array], *, inverted: bool) -> Matched:
        """Coefficients that are ``a·v[i]`` for one initialiser, or ``1/(a·v[i])``."""
        values = self.values[name]
        with np.errstate(all="ignore"):
            true, first, second = (1.0 / c for c in held) if inverted else held
            factor = second / self.levels[name]
            places = first / factor - self.shifts[name]
            nearest = np.rint(places)
            ours = (np.abs(places - nearest) < INTEGER) & (nearest >= 0) & (nearest < len(values))
            index = np.where(ours, nearest, 0).astype(np.int64)
            expected = factor * values[index]
            ours &= np.abs(true - expected) <= SAME * np.abs(expected)
            derivative = -factor * np.square(held[0]) if inverted else factor
        return ours, index, derivative

    def _offset(
        self, position: int, names: tuple[str, ...], held: tuple[Array, Array, Array]
    ) -> list[Use]:
        """A batch normalisation's ``β − μ·γ/√(v + ε)``, which both of its initialisers move."""
        node = self.graph.nodes[position]
        scaled = next((n for n in self.graph.nodes if n.output == node.inputs[0]), None)
        gains = [name for name in scaled.parameters if name in self.values] if scaled else []
        shifts = [name for name in names if name not in gains]
        if len(shifts) != 1 or len(gains) != 1:
            raise self._refusal(node, tuple(dict.fromkeys((*names, *gains))))
        shift, gain = shifts[0], gains[0]
        channels = np.arange(len(held[0]))
        if not len(channels) == len(self.values[shift]) == len(self.values[gain]):
            raise self._refusal(node, (shift, gain))
        centre = (self.levels[shift] - held[2]) / self.levels[gain]
        pairs = (
            (held[0], self.values[shift], self.values[gain]),
            (held[1], self.shifts[shift] + channels, self.shifts[gain] + channels),
        )
        for stored, added, multiplied in pairs:
            moved = centre * multiplied
            size = np.abs(added) + np.abs(moved) + np.abs(self.values[gain]) + 1.0
            if not bool((np.abs(stored - (added - moved)) <= 100 * SAME * size).all()):
                raise self._refusal(node, (shift, gain))
        everywhere = np.ones(len(channels), dtype=bool)
        return [
            self._use(shift, position, "bias", (everywhere, channels, np.ones(len(channels)))),
            self._use(gain, position, "bias", (everywhere, channels, -centre)),
        ]

    def _use(self, name: str, position: int, role: str, matched: Matched) -> Use:
        ours, index, factor = matched
        size = len(self.values[name])
        rearranged = bool(ours.all()) and len(index) == size and len(np.unique(index)) == size
        steady = float(np.ptp(np.abs(factor))) <= SAME * float(np.abs(factor).max())
        return Use(
            name,
            position,
            role,
            size,
            torch.from_numpy(index),
            torch.from_numpy(np.where(ours, factor, 0.0)),
            float(np.abs(factor[0])) if rearranged and steady else None,
        )

    def _refusal(self, node: Node, names: tuple[str, ...]) -> UnsupportedError:
        return UnsupportedError(
            f"node {node.name!r} ({node.onnx_type}, opset {self.graph.opset})",
            "its coefficients are computed from "
            f"{', '.join(map(repr, names)) or 'initialisers it does not name'}, "
            "so that their gradients are not known",
            "export the weights as the layers use them",
        )
