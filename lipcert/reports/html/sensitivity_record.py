"""A result of ``lipcert sensitivity`` as its JSON tells it, checked: what the formats show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lipcert.reports.html.privacy_record import Privacy
from lipcert.reports.html.spot import MOST, Spot
from lipcert.rounding import sub_down

SENSITIVITY_SCHEMA = "lipcert/sensitivity/1"
LAST_BITS = 2.0**-48
"""Relative rounding of one subtraction and one division."""


@dataclass(frozen=True)
class Parameter:
    """One initialiser, the uses of a tied one summed."""

    name: str
    shape: tuple[int, ...]
    delta: float
    uses: int

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class SensitiveLayer:
    """One layer: bounds of its input, of the gradient at its output, and of that in its parameters.

    ``parameters`` are its initialisers and what each adds to ``delta``.
    """

    name: str
    onnx_type: str
    X: float
    G: float
    delta: float
    why_x: str
    why_g: str
    parameters: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Reached:
    """The largest true gradient norm beside its bound; ``index`` is None for one searched for.

    ``rounding`` bounds what float64 added to the norm; ``ratio`` is the rest of it over the bound,
    rounded downward.
    """

    name: str
    norm: float
    bound: float
    index: int | None
    rounding: float
    ratio: float

    @property
    def least(self) -> float:
        """The norm without its rounding: the truth is not below it."""
        return max(0.0, sub_down(self.norm, self.rounding))


@dataclass(frozen=True)
class Truth:
    """What the gradients of a data set reach, those of the parameters ``left_out`` apart."""

    data: str
    samples: int
    total: Reached
    layers: tuple[Reached, ...]
    parameters: tuple[Reached, ...]
    searched: Reached | None
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class SensitivityRecord:
    """Everything of schema lipcert/sensitivity/1: strings printable, no norm above its bound."""

    model: str
    model_sha256: str
    loss: str
    loss_lipschitz: float
    input_bound: float
    input_kind: str
    is_private: bool
    semantics: str
    total: float
    plain: float
    gains: tuple[tuple[str, float], ...]
    layers: tuple[SensitiveLayer, ...]
    parameters: tuple[Parameter, ...]
    privacy: Privacy | None
    truth: Truth | None
    device: str
    versions: tuple[tuple[str, str], ...]

    @property
    def replace_one(self) -> float:
        """The sensitivity where neighbours differ by one example exchanged."""
        return 2.0 * self.total

    @property
    def numbers(self) -> int:
        """Numbers in all parameters."""
        return sum(parameter.numbers for parameter in self.parameters)


def sensitivity_record_of(values: object, file: str = "result") -> SensitivityRecord:
    """The record of a JSON object of schema lipcert/sensitivity/1.

    Raises
    ------
    InputError : a key is missing, a value has another type, or two contradict each other.
    """
    root = Spot(values, file, command="sensitivity")
    layers = tuple(_layer(spot) for spot in root["layers"].rows())
    parameters = tuple(_parameter(spot) for spot in root["parameters"].rows())
    if not layers:
        root["layers"].refuse("a list of layers")
    gains = root["gains"].entries().items()
    return SensitivityRecord(
        model=root["model"].text(),
        model_sha256=root["model_sha256"].text(),
        loss=root["loss"].text(),
        loss_lipschitz=root["loss_lipschitz"].finite(),
        input_bound=root["input_bound"].finite(),
        input_kind=root["input_kind"].text(),
        is_private=root["is_private"].flag(),
        semantics=root["semantics"].text(),
        total=root["global"].finite(),
        plain=root["plain"].size(),
        gains=tuple((name, found.size()) for name, found in gains),
        layers=layers,
        parameters=parameters,
        privacy=Privacy.of(root),
        truth=root["truth"].maybe(lambda spot: _truth(spot, layers, parameters)),
        device=root["device"].text(),
        versions=tuple((name, at.text()) for name, at in root["versions"].entries().items()),
    )


def _layer(spot: Spot) -> SensitiveLayer:
    return SensitiveLayer(
        spot["name"].text(),
        spot["onnx_type"].text(),
        spot["X"].size(),
        spot["G"].size(),
        spot["delta"].finite(),
        spot["how_X"].text(),
        spot["how_G"].text(),
        tuple((row["name"].text(), row["delta"].finite()) for row in spot["parameters"].rows()),
    )


def _parameter(spot: Spot) -> Parameter:
    shape = tuple(item.count() for item in spot["shape"].rows())
    if math.prod(shape) > MOST:
        spot["shape"].contradict("is that of more numbers than any result has")
    uses = spot["uses"].count()
    if uses == 0:
        spot["uses"].refuse("a positive count")
    return Parameter(spot["name"].text(), shape, spot["delta"].finite(), uses)


def _truth(
    spot: Spot, layers: tuple[SensitiveLayer, ...], parameters: tuple[Parameter, ...]
) -> Truth:
    samples = spot["samples"].count()
    if samples == 0:
        spot["samples"].refuse("a positive count")
    return Truth(
        spot["data"].text(),
        samples,
        _reached(spot["total"], samples),
        _named(spot["layers"], samples, (layer.name for layer in layers)),
        _named(spot["parameters"], samples, (parameter.name for parameter in parameters)),
        spot["searched"].maybe(lambda found: _reached(found, samples)),
        tuple(row.text() for row in spot["left_out"].rows()),
    )


def _named(spot: Spot, samples: int, names: Iterable[str]) -> tuple[Reached, ...]:
    """Rows about what is in the model, each as often as it is there at most."""
    left = Counter(names)
    found = []
    for row in spot.rows():
        one = _reached(row, samples)
        if not left[one.name]:
            row["name"].contradict("is not in the model, or is there twice")
        left[one.name] -= 1
        found.append(one)
    return tuple(found)


def _reached(spot: Spot, samples: int) -> Reached:
    found = Reached(
        spot["name"].text(),
        spot["norm"].finite(),
        spot["bound"].finite(),
        spot["index"].maybe(lambda at: at.count(samples - 1)),
        spot["rounding"].size(),
        spot["ratio"].finite(),
    )
    least, slack = found.least, LAST_BITS * found.norm
    if least - slack > found.bound:
        spot["norm"].contradict("is above its bound")
    ratio = least / found.bound if found.bound > 0.0 else 0.0
    if abs(found.ratio - ratio) * found.bound > slack:
        spot["ratio"].contradict("is not the norm over the bound")
    return found
