"""Sensitivities against the truth: gradient norms of real examples, never above their bounds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

from lipcert.certification.data import Dataset
from lipcert.errors import SoundnessError
from lipcert.graph import Graph
from lipcert.sensitivities.result import Sensitivities
from lipcert.sensitivities.search import steepest_input
from lipcert.sensitivities.tracing import parameter_uses
from lipcert.sensitivities.truth import PerExampleLoss, gradient_norms
from lipcert.sensitivities.uses import Use

BLOCK = 256
"""Examples read at once."""
ROUNDING = 1e-9
"""Relative rounding of a gradient's norm in float64, generously: less contradicts nothing."""
STARTS = 16
"""Examples that the search starts from."""


@dataclass(frozen=True)
class Largest:
    """The largest gradient norm among examples, the bound it stays below, and where it is.

    ``index`` counts from 0; None for an input that a search made up.
    """

    name: str
    norm: float
    bound: float
    index: int | None

    @property
    def ratio(self) -> float:
        """Norm over bound: 1 means that the bound is attained."""
        return self.norm / self.bound if self.bound > 0.0 else 0.0


@dataclass(frozen=True)
class Comparison:
    """Largest gradient norms among the examples of a data set.

    Parameters
    ----------
    layers : in the order of the sensitivities' layers, jointly over a layer's parameters; those
        whose only parameters are single numbers, which no gradient is computed of, are left out.
    parameters : each initialiser but single numbers.
    total : over all parameters jointly.
    searched : the largest total that gradient ascent over inputs found, None without a search.
    """

    data: str
    samples: int
    total: Largest
    layers: tuple[Largest, ...]
    parameters: tuple[Largest, ...]
    searched: Largest | None = None


class ExceededError(SoundnessError):
    """A gradient norm above its sensitivity; ``found`` says which."""

    def __init__(self, model: str, found: Largest) -> None:
        where = "an input that the search found" if found.index is None else f"sample {found.index}"
        super().__init__(
            f"{model}, {found.name}",
            f"the gradient norm {found.norm:.9g} of {where} is above the sensitivity "
            f"{found.bound:.9g}",
            "please report it with the model and the sample",
        )
        self.found = found


def compare(
    graph: Graph,
    sensitivities: Sensitivities,
    loss: PerExampleLoss,
    dataset: Dataset,
    labels: np.ndarray,
    *,
    frozen: Collection[str] = (),
    search: int = 0,
    radius: float | None = None,
    box: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> Comparison:
    """Gradient norms of every example, and of inputs found by ``search`` steps of ascent.

    ``radius`` or ``box`` is the input set of the search, ``frozen`` initialisers have no bound.
    Raises ExceededError for a norm above its bound, SoundnessError for a parameter without one.
    """
    uses = _trained(graph, sensitivities, frozen)
    record = _Record()
    for start in range(0, len(dataset), BLOCK):
        stop = min(start + BLOCK, len(dataset))
        x = torch.from_numpy(dataset.read(start, stop).astype(np.float64))
        x = x.reshape(stop - start, *graph.sample_shape)
        found = gradient_norms(graph, loss, x, torch.from_numpy(labels[start:stop]), uses=uses)
        for name, norms in found.layers.items():
            record.add("layer", name, norms, start)
        for name, norms in found.parameters.items():
            record.add("parameter", name, norms, start)
        record.add("total", "all parameters", found.total, start)
    total = record.largest("total", "all parameters", sensitivities.global_delta)
    result = Comparison(
        dataset.name,
        len(dataset),
        total,
        tuple(
            record.largest("layer", one.name, one.delta)
            for one in sensitivities.layers
            if record.has("layer", one.name)
        ),
        tuple(
            record.largest("parameter", one.name, one.delta)
            for one in sensitivities.parameters
            if record.has("parameter", one.name)
        ),
        _searched(graph, sensitivities, loss, dataset, labels, uses, search, radius, box),
    )
    for one in (total, *result.layers, *result.parameters, result.searched):
        if one is not None and one.norm * (1.0 - ROUNDING) > one.bound:
            raise ExceededError(graph.name, one)
    return result


def _trained(
    graph: Graph, sensitivities: Sensitivities, frozen: Collection[str]
) -> tuple[Use, ...]:
    """The uses of all parameters that are not frozen, found independently of their bounds."""
    uses = tuple(use for use in parameter_uses(graph) if use.initialiser not in frozen)
    bounded = {parameter.name for parameter in sensitivities.parameters}
    missing = sorted({use.initialiser for use in uses} - bounded)
    if missing:
        raise SoundnessError(
            f"{graph.name}, {missing[0]}",
            "is a parameter and has no sensitivity",
            "please report it",
        )
    return uses


class _Record:
    """The largest norm of each layer, parameter and in all, and the example that has it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[float, int]] = {}

    def add(self, kind: str, name: str, norms: np.ndarray, first: int) -> None:
        """Take in the norms ``(N,)`` of examples from index ``first``."""
        index = int(norms.argmax())
        best = self._found.get((kind, name), (-1.0, 0))
        self._found[kind, name] = max(best, (float(norms[index]), first + index))

    def has(self, kind: str, name: str) -> bool:
        """Whether there are any norms of it."""
        return (kind, name) in self._found

    def largest(self, kind: str, name: str, bound: float) -> Largest:
        """The largest norm, beside its bound."""
        norm, index = self._found[kind, name]
        return Largest(name, norm, bound, index)


def _searched(
    graph: Graph,
    sensitivities: Sensitivities,
    loss: PerExampleLoss,
    dataset: Dataset,
    labels: np.ndarray,
    uses: tuple[Use, ...],
    steps: int,
    radius: float | None,
    box: tuple[torch.Tensor, torch.Tensor] | None,
) -> Largest | None:
    if not steps:
        return None
    count = min(STARTS, len(dataset))
    start = torch.from_numpy(dataset.read(0, count).astype(np.float64))
    _, norm = steepest_input(
        graph,
        loss,
        torch.from_numpy(labels[:count]),
        start=start.reshape(count, *graph.sample_shape),
        steps=steps,
        seed=0,
        radius=radius,
        box=box,
        uses=uses,
    )
    return Largest("all parameters, by search", norm, sensitivities.global_delta, None)
