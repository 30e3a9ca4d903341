"""Reading a model's nodes in order into a :class:`Network`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from .batches import check_carried
from .constants import fraction, loosened, spread
from .exact import CheckError, Weight, weight
from .maps import Map, Scale
from .network import Affine, Network, References, Stage
from .wire import File, Node

Normalisation = tuple[tuple[Fraction, ...], tuple[Fraction, ...]]
"""Means and standard deviations, one each or one per channel."""


@dataclass
class Importer:
    """Reads nodes in order.

    Parameters
    ----------
    of_signals, of_constants : what is called for each operation, of signals or of constants alone.
    before : a normalisation of the data before the model.
    signals, reals, wholes : what each name stands for: references to elements of values, constants
        that are real numbers, constants that are whole numbers.
    ordered : the larger and then the smaller elements of two signals, by their names.
    """

    file: File
    network: Network
    of_signals: Mapping[str, Callable[[Importer, Node], None]]
    of_constants: Mapping[str, Callable[[Importer, Node], None]]
    before: Normalisation | None = None
    signals: dict[str, References] = field(default_factory=dict)
    reals: dict[str, Weight] = field(default_factory=dict)
    wholes: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    ordered: dict[tuple[str, str], References] = field(default_factory=dict)

    def run(self) -> None:
        """Read the whole file.  Raises CheckError for what is not covered."""
        shape = (1, *(side or 0 for side in self.file.input_shape[1:]))
        if not self.file.input_shape or min(shape) < 1:
            raise CheckError("the model does not declare the shape of its input")
        self.network.input, self.network.input_shape = self.file.input, shape
        if self.before is None:
            flat = self.network.value(self.file.input, math.prod(shape), None)
        else:
            self.network.input = f"{self.file.input}/data"
            self.network.value(self.network.input, math.prod(shape), None)
            maker = normalisation(self.network.input, *self.before, shape)
            means, deviations = self.before
            tame = all(2**-40 < std < 2**40 for std in deviations)
            if not tame or not all(abs(mean) < 2**60 for mean in means):
                self.network.computed = self.network.input  # float32 may lose it
            flat = self.network.value(self.file.input, math.prod(shape), maker)
        self.signals[self.file.input] = flat.reshape(shape)
        for name, values in self.file.constants.items():
            self.constant(name, values)
        for node in self.file.nodes:
            self.node(node)
        for name in self.file.outputs[:1]:
            self.finish(name)

    def constant(self, name: str, values: np.ndarray) -> None:
        """Take in a constant of the file."""
        if values.dtype.kind == "f":
            self.reals[name] = weight(values)
        else:
            self.wholes[name] = values

    def finish(self, name: str) -> None:
        """Settle output and logits: what a final softmax reads decides like the output itself."""
        if len(self.file.outputs) != 1 or name not in self.signals:
            raise CheckError("the model does not have exactly one output that depends on its input")
        network = self.network
        network.output = network.joined(f"{name}/out", self.signals[name])
        network.output_count = network.sizes[network.output]
        network.logits = network.output
        last = network.makers.get(network.output)
        one = network.output_count == 1
        if isinstance(last, Stage) and last.kind == ("Sigmoid" if one else "Softmax"):
            network.logits = last.source

    def node(self, node: Node) -> None:
        """Read one node."""
        known = [name for name in node.inputs if name]
        fed = [name for name in known if name in self.signals]
        for name in known:
            if name not in self.signals and name not in self.reals and name not in self.wholes:
                raise CheckError(f"{node.kind} reads {name!r} before it is made")
        table = self.of_signals if fed else self.of_constants
        handler = table.get(node.kind)
        if handler is None:
            where = repr(node.outputs[0]) if node.outputs else "a node"
            raise CheckError(f"the operation {node.kind} of {where} is not covered")
        for name in filter(None, node.outputs):
            if name in self.signals or name in self.reals or name in self.wholes:
                raise CheckError(f"the name {name!r} stands for two tensors")
        handler(self, node)
        if (self.file.input_shape[0] or 1) > 1 and fed:
            check_carried(self, node)

    def real(self, name: str) -> Weight:
        """A constant of reals."""
        if name not in self.reals:
            raise CheckError(f"{name!r} is no constant, and no product of signals is covered")
        return self.reals[name]

    def listed(self, node: Node, place: int, attribute: str) -> tuple[int, ...] | None:
        """Whole numbers given as an input or, in older opsets, as an attribute."""
        if len(node.inputs) > place and node.inputs[place]:
            if node.inputs[place] not in self.wholes:
                raise CheckError(f"{attribute} of {node.kind} is not known beforehand")
            return tuple(int(v) for v in self.wholes[node.inputs[place]].reshape(-1))
        value = node.attributes.get(attribute)
        return tuple(int(v) for v in value) if value is not None else None

    def doubles(self, name: str) -> np.ndarray:
        """A constant as exact float64."""
        if name not in self.file.constants:
            raise CheckError(f"{name!r} is no constant of the file")
        return np.asarray(self.file.constants[name], dtype=np.float64)

    def affine(
        self,
        node: Node,
        summands: list[tuple[str, tuple[Map, ...]]],
        shape: tuple[int, ...],
        bias: Weight | None = None,
        computed: tuple[int, float | None] = (0, None),
    ) -> None:
        """A new value ``Σ maps(source) + bias``."""
        name = node.outputs[0]
        maker = Affine(tuple(summands), bias, *computed)
        self.signals[name] = self.network.value(name, math.prod(shape), maker).reshape(shape)

    def stage(self, node: Node, array: References, maker: Stage) -> None:
        """A new value behind a nonlinearity of the same size."""
        name = node.outputs[0]
        source = self.network.joined(f"{name}/in", array)
        own = Stage(source, maker.kind, maker.slopes, maker.constant, maker.parameters)
        self.signals[name] = self.network.value(name, array.size, own).reshape(array.shape)


def normalisation(
    source: str, mean: tuple[Fraction, ...], std: tuple[Fraction, ...], shape: tuple[int, ...]
) -> Affine:
    """``(x − mean) / std``, one number for all elements or one per channel."""
    sides = (
        (1, len(std), *(1,) * (len(shape) - 2))
        if shape[1] == len(std)
        else (*(1,) * (len(shape) - 1), len(std))
    )
    factors = [fraction(1 / s, (1,)) for s in std]
    shifts = [fraction(-m / s, (1,)) for m, s in zip(mean, std, strict=True)]
    own, bias = (
        loosened(
            weight(np.array([float_of(part) for part in parts]).reshape(sides)),
            np.array([part.radius for part in parts]),
        )
        for parts in (factors, shifts)
    )
    wide = spread(own, shape)
    flat = Weight(wide.mantissa.reshape(-1), wide.exponent, wide.radius)
    shift = spread(bias, shape)
    return Affine(((source, (Scale(flat),)),), shift, 6, shift.length)


def float_of(own: Weight) -> float:
    """The one number that a weight holds."""
    return math.ldexp(float(own.mantissa.reshape(-1)[0]), own.exponent)
