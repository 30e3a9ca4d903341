"""LipSDP for the parts of a model where it may pay, in the time that is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from lipcert.bounds import BoundContext
from lipcert.graph import Graph, Node
from lipcert.sensitivities.backward import Backward, Cotangent
from lipcert.sensitivities.magnitudes import Forward, Magnitude
from lipcert.sensitivities.parts import UNKNOWN, Parts
from lipcert.sensitivities.result import LayerSensitivity
from lipcert.signals import SignalForm
from lipcert.spectral.tensors import unit_vectors

TRIED = 0.7
"""What a part's constant is multiplied by to see what a smaller one were worth."""
LEAST = 1e-3
"""Of the square of the global bound: parts that are worth less are not solved."""
CLOSE = 0.02
"""Parts whose constant is so near to a slope of theirs are not solved: no bound is below that."""
POINTS, STEPS = 3, 10
"""Random points at which slopes are sought, and the power steps at each."""
SHORTEST = 0.05
"""Seconds in which nothing can be solved."""


@dataclass(frozen=True)
class _Candidate:
    """A part that may be solved: what that is worth, of the global bound's square, and costs."""

    parts: Parts
    value: str
    worth: float
    work: float


@dataclass
class Worth:
    """What smaller constants of parts would make of the bounds found so far.

    Parameters
    ----------
    on : the tightenings.
    layers : the sensitivities found so far.
    loss : the loss's constant from a bound of the output's norm.
    """

    graph: Graph
    forward: Forward
    backward: Backward
    on: frozenset[str]
    layers: Sequence[LayerSensitivity]
    loss: Callable[[float], float]

    def candidates(self) -> list[_Candidate]:
        """The parts worth solving, the cheapest first."""
        X, G = self.forward.run(self.on), self.backward.run(self.on)
        found = []
        forward, backward = self.forward, self.backward
        for parts in (forward.prefixes, backward.suffixes, backward.bodies):
            known = parts.smallest(self.on)
            for value in parts.forms:
                best, work = known.get(value, UNKNOWN), parts.work(value, self.forward.context)
                if not work:
                    continue
                trial = {**known, value: best._replace(value=best.value * TRIED)}
                after_X, after_G = X, G
                if parts is forward.prefixes:
                    after_X = forward.run(self.on, trial)
                elif parts is backward.suffixes:
                    after_G = backward.run(self.on, suffixes=trial)
                else:
                    after_G = backward.run(self.on, bodies=trial)
                worth = self._worth((X, G), (after_X, after_G))
                if worth > LEAST and steepest(parts.forms[value]) < best.value * (1.0 - CLOSE):
                    found.append(_Candidate(parts, value, worth, work))
        return sorted(found, key=lambda one: one.work)

    def _worth(
        self,
        before: tuple[Mapping[str, Magnitude], Mapping[str, Cotangent]],
        after: tuple[Mapping[str, Magnitude], Mapping[str, Cotangent]],
    ) -> float:
        """How much smaller the square of the global bound becomes, about."""
        output = self.graph.output
        loss = _ratio(self.loss(after[0][output].X), self.loss(before[0][output].X))
        total = sum(layer.delta * layer.delta for layer in self.layers)
        gain = 0.0
        for layer, node in zip(self.layers, self._nodes(), strict=True):
            source = node.inputs[0]
            ratio = loss * _ratio(after[1][node.output].G, before[1][node.output].G)
            if node.origins:
                ratio *= _ratio(after[0][source].X, before[0][source].X)
            gain += layer.delta * layer.delta * (1.0 - ratio * ratio)
        return gain / total if 0.0 < total < math.inf else 0.0

    def _nodes(self) -> list[Node]:
        """The first node of each layer."""
        first: dict[tuple[str, str], Node] = {}
        for node in self.graph.nodes:
            if node.origins or node.shifts:
                first.setdefault((node.name, node.onnx_type), node)
        return [first[layer.name, layer.onnx_type] for layer in self.layers]


def _ratio(after: float, before: float) -> float:
    return after / before if 0.0 < before < math.inf and after < before else 1.0


def steepest(form: SignalForm) -> float:
    """A slope of a part without its biases, which LipSDP knows nothing of: it bounds that too."""
    generator = torch.Generator().manual_seed(0)
    shape = (POINTS, *form.input_shape)
    points = torch.randn(shape, dtype=torch.float64, generator=generator)
    v = torch.randn(shape, dtype=torch.float64, generator=generator)
    pull = torch.func.vjp(form.evaluate, points)[1]
    sizes = torch.zeros(POINTS, dtype=torch.float64)
    for _ in range(STEPS):
        v = unit_vectors(v.reshape(POINTS, -1), (1,)).reshape(shape)
        image = torch.func.jvp(form.evaluate, (points,), (v,))[1]
        sizes = image.flatten(1).norm(dim=1)
        (v,) = pull(image)
    return float(sizes.nan_to_num(0.0, 0.0).max())


def solve_parts(candidates: Sequence[_Candidate], context: BoundContext) -> None:
    """LipSDP on parts in order, each for its share by worth of the time that is left."""
    waiting = sum(one.worth for one in candidates)
    for place, one in enumerate(candidates):
        left = context.settings.deadline - time.monotonic()
        if context.interrupted or left < SHORTEST:
            return
        context.progress(f"LipSDP at {one.value}", place / len(candidates))
        share = left * min(1.0, one.worth / waiting) if place + 1 < len(candidates) else left
        one.parts.solve(one.value, context, time.monotonic() + share)
        waiting -= one.worth
