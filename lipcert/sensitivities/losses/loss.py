"""What a loss is to a sensitivity: a proven constant, and the function it is the constant of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from lipcert.errors import InputError
from lipcert.registry import Registry, choice_of


@dataclass(frozen=True, kw_only=True)
class Loss(ABC):
    """A loss of one example, as a function of the model's output vector z of K numbers.

    Nothing is reduced over the batch here.  A reduction over outputs belongs to the loss.

    Attributes
    ----------
    name : what ``--loss`` calls it.
    labels : the labels it takes, in words.
    fewest_outputs : the least K it is defined for.
    source : where its constant is proved.
    """

    name: ClassVar[str]
    labels: ClassVar[str]
    fewest_outputs: ClassVar[int] = 1
    source: ClassVar[str] = "derived again from Béthune 2024, chapter 6"

    @property
    def place(self) -> str:
        """Where errors about this loss point."""
        return f"--loss {self.name}"

    def lipschitz(self, outputs: int, *, output_bound: float = math.inf) -> float:
        """Upper bound of ``‖∂loss/∂z‖₂`` of one example, for every label.

        Parameters
        ----------
        outputs : K.
        output_bound : an upper bound of ``‖z‖₂``, where one is proved; it can only tighten.

        Raises InputError where no finite bound exists.
        """
        self.check_outputs(outputs)
        if not output_bound >= 0.0:
            raise InputError(
                self.place,
                f"an output of norm at most {output_bound} does not exist",
                "give a bound of 0 or more, or none",
            )
        constant = self._constant(outputs, float(output_bound))
        if not math.isfinite(constant):
            raise InputError(
                self.place, "its Lipschitz constant overflows", "choose smaller parameters"
            )
        return constant

    def head_lipschitz(self, W: Tensor) -> float:
        """Upper bound of ``‖∂loss/∂h‖₂`` for ``z = Wh + b``, W ``(K, n)``, any b, h and label.

        Infinite for a loss without a closed form better than ``lipschitz(K)·‖W‖``.
        """
        return math.inf

    def per_example(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Losses ``(N,)`` of outputs ``(N, K)``, or ``(N,)`` for K = 1, differentiable.

        Raises InputError for labels that do not fit.
        """
        z = outputs[:, None] if outputs.ndim == 1 else outputs
        if z.ndim != 2 or not z.is_floating_point():
            raise InputError(
                self.place,
                f"outputs of shape {tuple(outputs.shape)} and type {outputs.dtype} are no vectors",
                "give floating-point outputs (N, K)",
            )
        self.check_outputs(z.shape[1])
        return self._values(z, torch.as_tensor(labels, device=z.device))

    def check_outputs(self, outputs: int) -> None:
        """Raises InputError for a number of outputs that the loss is not defined for."""
        if outputs < self.fewest_outputs:
            raise InputError(
                self.place,
                f"needs at least {self.fewest_outputs} outputs, and the model has {outputs}",
                "use binary-cross-entropy or hinge for one output",
            )

    def describe(self) -> str:
        """One sentence: the formula with its conventions and parameters, labels and source."""
        return f"{self.formula}, of one example; labels: {self.labels} ({self.source})"

    @property
    @abstractmethod
    def formula(self) -> str:
        """The loss in words and symbols, conventions and parameters named."""

    @abstractmethod
    def _constant(self, outputs: int, output_bound: float) -> float: ...

    @abstractmethod
    def _values(self, z: Tensor, labels: Tensor) -> Tensor: ...


LOSSES: Registry[type[Loss]] = Registry("--loss")
"""Every loss by name; each entry is built with its options as keywords."""


def make_loss(name: str, options: Mapping[str, object]) -> Loss:
    """The loss called ``name``, with its options.  Raises InputError for unknown ones."""
    entry = LOSSES[name]
    known = sorted(field.name for field in fields(entry))
    for option in options:
        if option not in known:
            choices = choice_of(option, known, "choose among") if known else "it has none"
            raise InputError(f"--loss {name}", f"has no option {option!r}", choices)
    build: Callable[..., Loss] = entry
    return build(**options)


def parse_loss(text: str) -> Loss:
    """Read ``name`` or ``name,option=value,…``, such as ``cross-entropy,smoothing=0.1``.

    Raises InputError.
    """
    name, *items = (item.strip() for item in text.split(","))
    options: dict[str, object] = {}
    for item in items:
        option, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value or option in options:
            raise InputError(
                f"--loss {text}",
                f"{item!r} is not one option and its value",
                "write a name and options, such as cross-entropy,temperature=multiplies,tau=10",
            )
        options[option] = _number_or_text(value)
    return make_loss(name, options)


def _number_or_text(value: str) -> object:
    try:
        return float(value)
    except ValueError:
        return value


def check_number(
    place: str,
    name: str,
    value: object,
    *,
    least: float,
    excluded: bool = False,
    below: float = math.inf,
) -> None:
    """Raises InputError unless ``least ≤ value < below``, or ``<`` where ``least`` is excluded."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    inside = number and least <= value < below  # type: ignore[operator]
    if not inside or (excluded and value == least):
        sign = ">" if excluded else "≥"
        end = "" if below == math.inf else f" and < {below:g}"
        raise InputError(
            place, f"{name} = {value} is out of range", f"choose a number {sign} {least:g}{end}"
        )
