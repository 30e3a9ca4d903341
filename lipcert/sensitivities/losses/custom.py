"""A loss of one's own, known by its Lipschitz constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lipcert.errors import InputError
from lipcert.sensitivities.losses.loss import LOSSES, Loss, check_number


@LOSSES.register("custom")
@dataclass(frozen=True, kw_only=True)
class CustomLoss(Loss):
    """Any loss whose gradient with respect to the output vector has an l2 norm of at most L.

    Parameters
    ----------
    constant : L, which nobody but the user has proved.
    function : outputs ``(N, K)`` and labels to losses ``(N,)``, where they are to be checked.
    """

    constant: float | None = None
    function: Callable[[Tensor, Tensor], Tensor] | None = None

    name = "custom"
    labels = "as its function takes them"
    source = "given by the user, not proved by lipcert"

    def __post_init__(self) -> None:
        if self.constant is None:
            raise InputError(
                self.place,
                "its Lipschitz constant is not given",
                "add constant=, a bound of the l2 norm of its gradient by the outputs",
            )
        check_number(self.place, "constant", self.constant, least=0.0)
        if self.function is not None and not callable(self.function):
            raise InputError(
                self.place, "function is not a function", "give one, from Python, or none"
            )

    @property
    def formula(self) -> str:
        return f"a loss of Lipschitz constant L = {self.constant:.9g} in the l2 norm"

    def _constant(self, outputs: int, output_bound: float) -> float:
        return float(self.constant or 0.0)

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        if self.function is None:
            raise InputError(
                self.place,
                "is known by its constant alone, and cannot be evaluated",
                "give its function too, from Python, or leave the data out",
            )
        values = self.function(z, labels)
        if values.shape != (len(z),):
            raise InputError(
                self.place,
                f"its function returns shape {tuple(values.shape)}",
                f"return one loss per example, ({len(z)},)",
            )
        return values
