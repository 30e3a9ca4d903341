"""Sensitivities against the truth: gradient norms of real examples, never above their bounds."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lipcert.certification.data import Dataset
from lipcert.errors import InputError, SoundnessError
from lipcert.graph import Graph
from lipcert.rounding import div_down, sub_down
from lipcert.sensitivities.gradient_rounding import GradientRounding, Roundings
from lipcert.sensitivities.result import Sensitivities
from lipcert.sensitivities.search import Steepest, steepest_input
from lipcert.sensitivities.tracing import parameter_uses
from lipcert.sensitivities.truth import PerExampleLoss, gradient_norms
from lipcert.sensitivities.uses import Use
from lipcert.sensitivities.witness import GradientWitness

BLOCK = 256
"""Examples read at once."""
STARTS = 16
"""Examples that the search starts from."""
TOTAL = "all parameters"


@dataclass(frozen=True)
class Largest:
    """The largest gradient norm among examples, the bound it stays below, and where it is.

    ``index`` counts from 0; None for an input that a search made up.  ``rounding`` bounds what
    float64 can have added to ``norm``.
    """

    name: str
    norm: float
    bound: float
    index: int | None
    rounding: float = 0.0

    @property
    def least(self) -> float:
        """What is left of the norm without rounding, at least 0: comparable with the bound."""
        return max(0.0, sub_down(self.norm, self.rounding))

    @property
    def ratio(self) -> float:
        """Norm over bound, rounded downward: 1 means that the bound is attained."""
        return div_down(self.least, self.bound) if self.bound > 0.0 and self.least else 0.0

    @property
    def exceeds(self) -> bool:
        """Whether the norm is above its bound by more than its own rounding."""
        return self.least > self.bound


@dataclass(frozen=True)
class Comparison:
    """Largest gradient norms among the examples of a data set.

    Parameters
    ----------
    layers : in the order of the sensitivities' layers, jointly over a layer's parameters.
    parameters : each initialiser.
    total : over all parameters jointly.
    searched : the largest total that gradient ascent over inputs found, None without a search;
        ``steepest`` has the input.
    left_out : initialisers with a sensitivity whose true gradients are not known, and which are
        in none of the norms: single numbers that a node neither adds nor multiplies by.
    """

    data: str
    samples: int
    total: Largest
    layers: tuple[Largest, ...]
    parameters: tuple[Largest, ...]
    searched: Largest | None = None
    steepest: Steepest | None = field(default=None, compare=False)
    left_out: tuple[str, ...] = ()


class ExceededError(SoundnessError):
    """A gradient norm above its sensitivity; ``found`` says which, ``witness`` has the example."""

    def __init__(self, model: str, found: Largest, witness: GradientWitness) -> None:
        where = "an input that the search found" if found.index is None else f"sample {found.index}"
        super().__init__(
            f"{model}, {found.name}",
            f"the gradient norm {found.norm:.9g} of {where} is above the sensitivity "
            f"{found.bound:.9g} by more than its rounding ({found.rounding:.2g})",
            "please report it with the witness and the model",
        )
        self.found = found
        self.witness = witness


class Origin(Protocol):
    """What samples were before they became inputs of the model."""

    def original(self, index: int) -> np.ndarray:
        """A sample as the data set holds it, ``sample_shape``."""

    def restored(self, x: np.ndarray) -> np.ndarray:
        """The sample in the data's units of which an input ``x`` is made, ``sample_shape``."""


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
    box: tuple[Tensor, Tensor] | None = None,
    constant: Callable[[float], float] | None = None,
    origin: Origin | None = None,
) -> Comparison:
    """Gradient norms of every example, and of inputs found by ``search`` steps of ascent.

    ``radius`` or ``box`` is the input set of the search, ``frozen`` initialisers have no bound,
    ``constant`` is the loss's Lipschitz constant from a bound of the outputs, and ``origin`` knows
    what inputs are in the data's own units, where they are anything else.

    Raises ExceededError for a norm above its bound by more than its rounding, SoundnessError for a
    parameter without one.
    """
    uses = _trained(graph, sensitivities, frozen)
    examples = _Examples(graph, sensitivities, loss, dataset, labels, uses, constant, origin)
    examples.measure()
    total = examples.largest("total", TOTAL, sensitivities.global_delta)
    layers = [
        examples.largest("layer", one.name, one.delta)
        for one in sensitivities.layers
        if ("layer", one.name) in examples.norms
    ]
    parameters = [
        examples.largest("parameter", one.name, one.delta)
        for one in sensitivities.parameters
        if ("parameter", one.name) in examples.norms
    ]
    steepest = examples.searched(search, radius, box) if search else None
    traced = {use.initialiser for use in uses}
    return Comparison(
        dataset.name,
        len(dataset),
        total,
        tuple(layers),
        tuple(parameters),
        None if steepest is None else examples.steepest(steepest),
        steepest,
        tuple(one.name for one in sensitivities.parameters if one.name not in traced),
    )


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


class _Examples:
    """The examples of a data set, and the largest norms among them."""

    def __init__(
        self,
        graph: Graph,
        sensitivities: Sensitivities,
        loss: PerExampleLoss,
        dataset: Dataset,
        labels: np.ndarray,
        uses: tuple[Use, ...],
        constant: Callable[[float], float] | None,
        origin: Origin | None,
    ) -> None:
        self._graph, self._sensitivities, self._loss = graph, sensitivities, loss
        self._dataset, self._labels, self._uses = dataset, torch.from_numpy(labels), uses
        self._origin = origin
        lipschitz = sensitivities.loss_lipschitz
        self._rounding = GradientRounding(graph, uses, loss, lipschitz, constant)
        self._roundings: dict[int, Roundings] = {}
        self.norms: dict[tuple[str, str], tuple[float, int]] = {}
        """By kind and name the largest norm, and the index of the example that has it."""

    def measure(self) -> None:
        """Compute the norms of all."""
        for start in range(0, len(self._dataset), BLOCK):
            stop = min(start + BLOCK, len(self._dataset))
            x, labels = self._inputs(start, stop), self._labels[start:stop]
            found = gradient_norms(self._graph, self._loss, x, labels, uses=self._uses)
            self._check_finite(found.total, start)
            for name, norms in found.layers.items():
                self._add("layer", name, norms, start)
            for name, norms in found.parameters.items():
                self._add("parameter", name, norms, start)
            self._add("total", TOTAL, found.total, start)

    def _check_finite(self, norms: np.ndarray, first: int) -> None:
        """Raise where there is nothing that could be compared."""
        lost = np.flatnonzero(~np.isfinite(norms))
        if len(lost):
            raise InputError(
                f"{self._dataset.name}, sample {first + int(lost[0])}",
                "its gradient is beyond the range of float64",
                "scale the samples or the weights down",
            )

    def _add(self, kind: str, name: str, norms: np.ndarray, first: int) -> None:
        index = int(norms.argmax())
        best = self.norms.get((kind, name), (-1.0, 0))
        self.norms[kind, name] = max(best, (float(norms[index]), first + index))

    def _inputs(self, start: int, stop: int) -> Tensor:
        x = torch.from_numpy(self._dataset.read(start, stop).astype(np.float64))
        return x.reshape(stop - start, *self._graph.sample_shape)

    def largest(self, kind: str, name: str, bound: float) -> Largest:
        """The largest norm of a layer, a parameter or in all.  Raises ExceededError."""
        norm, index = self.norms[kind, name]
        x = self._inputs(index, index + 1)[0]
        if index not in self._roundings:
            self._roundings[index] = self._rounding.of(x, self._labels[index])
        found = self._roundings[index]
        by_kind = {"layer": found.layers, "parameter": found.parameters, "total": {}}
        rounding = by_kind[kind].get(name, found.total)
        result = Largest(name, norm, bound, index, rounding)
        self._check(kind, result, x, index)
        return result

    def searched(
        self, steps: int, radius: float | None, box: tuple[Tensor, Tensor] | None
    ) -> Steepest:
        """The steepest input that ascent finds from the first examples."""
        count = min(STARTS, len(self._dataset))
        return steepest_input(
            self._graph,
            self._loss,
            self._labels[:count],
            start=self._inputs(0, count),
            steps=steps,
            seed=0,
            radius=radius,
            box=box,
            uses=self._uses,
        )

    def steepest(self, found: Steepest) -> Largest:
        """What the search found.  Raises ExceededError."""
        rounding = self._rounding.of(found.point, self._labels[found.start]).total
        bound = self._sensitivities.global_delta
        result = Largest(f"{TOTAL}, by search", found.norm, bound, None, rounding)
        self._check("total", result, found.point, found.start)
        return result

    def _check(self, kind: str, found: Largest, x: Tensor, labelled: int) -> None:
        """Raise for what exceeds its bound: input ``x`` with the label of sample ``labelled``."""
        if not found.exceeds:
            return
        witness = GradientWitness(
            kind,
            found.name,
            found.norm,
            found.rounding,
            found.bound,
            found.index,
            self._labels[labelled].numpy(),
            self._in_units(x.numpy(), found.index),
            x.numpy(),
            self._sensitivities.loss,
        )
        raise ExceededError(self._graph.name, found, witness)

    def _in_units(self, x: np.ndarray, index: int | None) -> np.ndarray:
        if self._origin is None:
            return x
        return self._origin.restored(x) if index is None else self._origin.original(index)
