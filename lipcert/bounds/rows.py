"""Rows of the maps from each signal to some outputs, by one pass of adjoints.

With every nonlinearity written ``φ = c·id + R`` the network is linear in x and in the remainders
R_j(v_j); the rows of those linear maps come from pulling basis vectors back through it, with the
rounding of each step bounded from the vectors at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.operators import flat_identity
from lipcert.rounding import add_up, mul_up
from lipcert.signals import SignalForm, Terms
from lipcert.spectral.tensors import frobenius_up


@dataclass(frozen=True)
class Rows:
    """The rows ``(outputs, size of the signal)`` of one map, and their distance to the true ones.

    ``error`` bounds the Frobenius norm of that distance, hence every norm used of it up to the
    factor :meth:`error_in` applies.
    """

    matrix: Tensor
    error: float

    def error_in(self, norm: str) -> float:
        """Bound of the error's induced norm for l1, l2 or linf."""
        if norm == "l2":
            return self.error
        side = self.matrix.shape[1] if norm == "linf" else self.matrix.shape[0]
        return mul_up(self.error, math.sqrt(side) * (1.0 + 1e-15))

    def row_error_in(self, norm: str) -> float:
        """Bound of the dual norm of the error of one row, or of a difference of two by √2."""
        factor = math.sqrt(self.matrix.shape[1]) if norm == "linf" else 1.0
        return mul_up(self.error, factor * (1.0 + 1e-15))


Centre = Callable[[int], float | Tensor | None]
"""The slope c kept of a stage; None where nothing passes."""


def pull_back(
    form: SignalForm,
    terms: Terms,
    count: int,
    shape: tuple[int, ...],
    centre: Centre,
    context: BoundContext,
    *,
    optional: bool = False,
) -> dict[int, Rows]:
    """Rows of the maps from each signal to ``Σ_j terms[j] z_j``, all nonlinearities linearised.

    Parameters
    ----------
    count, shape : number and shape of the outputs, all of which are pulled back.
    centre : slope kept of each stage (by signal index); None to stop there.
    optional : whether to give up at the deadline.

    Returns the rows by signal index, 0 being the input.  Raises OutOfTimeError where it gives up.
    """
    basis = flat_identity(0, count, shape, context.device)
    pulled: dict[int, Tensor] = {}
    errors: dict[int, float] = {}
    _pull_terms(terms, basis, 0.0, pulled, errors, context)
    rows: dict[int, Rows] = {}
    for signal in sorted(range(len(form.stages) + 1), reverse=True):
        if signal not in pulled:
            continue
        if optional:
            context.leave_if_expired()
        cotangent, error = pulled.pop(signal), errors.pop(signal)
        rows[signal] = Rows(cotangent.reshape(count, -1), error)
        slope = centre(signal) if signal else None
        if slope is None:
            continue
        stage = form.stages[signal - 1]
        largest = float(slope.abs().max()) if isinstance(slope, Tensor) else abs(slope)
        scaled = cotangent * (slope.to(context.device) if isinstance(slope, Tensor) else slope)
        rounding = mul_up(2.0**-52, _size(scaled))
        passed = add_up(mul_up(error, largest), rounding)
        _pull_terms(stage.terms, scaled, passed, pulled, errors, context)
    return rows


def _pull_terms(
    terms: Terms,
    cotangent: Tensor,
    error: float,
    pulled: dict[int, Tensor],
    errors: dict[int, float],
    context: BoundContext,
) -> None:
    size = _size(cotangent)
    for signal, operator in terms.items():
        moved = operator.to(context.device)
        image = moved.adjoint(cotangent.reshape(cotangent.shape[0], *operator.out_shape))
        own = add_up(
            mul_up(context.gain_of(operator), error),
            mul_up(operator.evaluation_error.l2, size),
            mul_up(operator.underflow, float(len(cotangent))),
        )
        if signal in pulled:
            image = pulled[signal] + image
            own = add_up(own, errors[signal], mul_up(2.0**-52, _size(image)))
        pulled[signal] = image
        errors[signal] = own


def _size(batch: Tensor) -> float:
    return float(frobenius_up(batch.reshape(1, batch.shape[0], -1)))
