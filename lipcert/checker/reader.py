"""Reading a model's nodes in order into a :class:`Network`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from .batches import check_carried
from .constants import rationals, reshaped, spread
from .exact import CheckError, Weight, weight
from .maps import Linear, Scale
from .network import Affine, Network, References, Stage
from .wire import File, Node

Fractions = tuple[Fraction, ...]
Normalisation = tuple[Fractions, Fractions]
"""Means and standard deviations, one each or one per channel."""
Summands = list[tuple[str, tuple[Linear, ...]]]
"""Values and the maps after each, whose results are added."""


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
        if self.file.input_bytes > 4:
            self.network.beyond = "its input is of 64 bits"
        maker = None
        if self.before is not None:
            self.network.input = f"{self.file.input}/data"
            data = self.network.value(self.network.input, math.prod(shape), None)
            maker = self.normalisation(data.reshape(shape), *self.before)
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
            if values.itemsize > 4:
                self.network.beyond = f"the constant {name!r} is of 64 bits"
        else:
            self.wholes[name] = values

    def finish(self, name: str) -> None:
        """Settle output and logits: what a final softmax reads decides like the output itself."""
        if len(self.file.outputs) != 1 or name not in self.signals:
            raise CheckError("the model does not have exactly one output that depends on its input")
        network = self.network
        network.output = network.joined(f"{name}/out", self.signals[name])
        network.logits = network.output
        last = network.makers.get(network.output)
        one = network.sizes[network.output] == 1
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
        try:
            handler(self, node)
            if (self.file.input_shape[0] or 1) > 1 and fed:
                check_carried(self, node)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            where = "".join(node.outputs[:1])
            raise CheckError(f"{node.kind} of {where!r} makes no sense: {error}") from error

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

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a signal or a constant of reals."""
        return (self.signals[name] if name in self.signals else self.real(name).mantissa).shape

    def scaled(self, array: References, shape: tuple[int, ...], factor: Weight | None) -> Summands:
        """A signal broadcast to a shape, times a constant."""
        own: tuple[Linear, ...] = ()
        if factor is not None:
            own = (Scale(reshaped(spread(factor, shape), (math.prod(shape),))),)
        parts = self.network.gathers(np.broadcast_to(array, shape))
        return [(source, (*maps, *own)) for source, maps in parts]

    def through(self, node: Node, array: References, one: Linear) -> Summands:
        """A signal, made one value, through a map."""
        return [(self.network.joined(f"{node.outputs[0]}/in", array), (one,))]

    def affine(
        self,
        node: Node,
        summands: Summands,
        shape: tuple[int, ...],
        bias: Weight | None = None,
        computed: tuple[int, float | None] = (0, None),
    ) -> None:
        """A new value ``Σ maps(source) + bias``."""
        name = node.outputs[0]
        maker = Affine(tuple(summands), bias, *computed)
        self.signals[name] = self.network.value(name, math.prod(shape), maker).reshape(shape)

    def stage(
        self, node: Node, array: References, maker: Stage, shape: tuple[int, ...] | None = None
    ) -> None:
        """A new value behind a nonlinearity, of the same shape unless another is given."""
        name, sides = node.outputs[0], array.shape if shape is None else shape
        own = replace(maker, source=self.network.joined(f"{name}/in", array))
        self.signals[name] = self.network.value(name, math.prod(sides), own).reshape(sides)

    def normalisation(self, data: References, mean: Fractions, std: Fractions) -> Affine:
        """``(x − mean) / std``, one number for all elements or one per channel."""
        shape = data.shape
        tame = all(2**-40 < value < 2**40 for value in std)
        if not tame or not all(abs(value) < 2**60 for value in mean):
            self.network.beyond = "float32 may lose the normalisation before it"
        sides = [1] * len(shape)
        sides[1 if shape[1] == len(std) else -1] = len(std)
        shifts = [-m / s for m, s in zip(mean, std, strict=True)]
        factor, shift = (rationals(v, tuple(sides)) for v in ([1 / s for s in std], shifts))
        bias = spread(shift, shape)
        return Affine(tuple(self.scaled(data, shape, factor)), bias, 6, bias.length)
