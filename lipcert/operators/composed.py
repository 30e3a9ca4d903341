"""Products, sums and adjoints of operators."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from lipcert.operators.base import ZERO_NORMS, LinearOperator, Norms, Shape
from lipcert.operators.indexing import Reshape
from lipcert.rounding import add_up, mul_up


class Composed(LinearOperator):
    """The product ``factors[0] · factors[1] · …``: the last factor acts first."""

    def __init__(self, factors: tuple[LinearOperator, ...]) -> None:
        self.factors = factors
        self.in_shape = factors[-1].in_shape
        self.out_shape = factors[0].out_shape

    def apply(self, x: Tensor) -> Tensor:
        for factor in reversed(self.factors):
            x = factor.apply(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for factor in self.factors:
            y = factor.adjoint(y)
        return y

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("a product's sums are bounded through its factors")

    @cached_property
    def absolute_norms(self) -> Norms:
        product = self.factors[0].absolute_norms
        for factor in self.factors[1:]:
            product = product * factor.absolute_norms
        return product

    @cached_property
    def evaluation_error(self) -> Norms:
        """``Π(|A_i| + e_i) − Π|A_i|`` expanded so that nothing is subtracted."""
        magnitude, error = Norms(1.0, 1.0, 1.0), ZERO_NORMS
        for factor in reversed(self.factors):
            own = factor.evaluation_error
            error = error * (factor.absolute_norms + own) + own * magnitude
            magnitude = magnitude * factor.absolute_norms
        return error

    @cached_property
    def underflow(self) -> float:
        """Each factor's underflow, carried on by all the others (a bound in either direction)."""
        total, gain = 0.0, 1.0
        for factor in self.factors:
            total = add_up(mul_up(total, factor.largest_gain), mul_up(factor.underflow, gain))
            gain = mul_up(gain, factor.largest_gain)
        return total

    @property
    def terms(self) -> int:
        return sum(factor.terms for factor in self.factors)

    @property
    def cost(self) -> float:
        return sum(factor.cost for factor in self.factors)

    def to(self, device: torch.device) -> Composed:
        return Composed(tuple(factor.to(device) for factor in self.factors))

    @property
    def device(self) -> torch.device | None:
        return next((f.device for f in self.factors if f.device is not None), None)


class Sum(LinearOperator):
    """``x ↦ Σ_i A_i x``, all operators of one shape."""

    def __init__(self, summands: tuple[LinearOperator, ...]) -> None:
        self.summands = summands
        self.in_shape = summands[0].in_shape
        self.out_shape = summands[0].out_shape

    def apply(self, x: Tensor) -> Tensor:
        total = self.summands[0].apply(x)
        for summand in self.summands[1:]:
            total = total + summand.apply(x)
        return total

    def adjoint(self, y: Tensor) -> Tensor:
        total = self.summands[0].adjoint(y)
        for summand in self.summands[1:]:
            total = total + summand.adjoint(y)
        return total

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("a sum's norms are bounded through its summands")

    @cached_property
    def absolute_norms(self) -> Norms:
        total = self.summands[0].absolute_norms
        for summand in self.summands[1:]:
            total = total + summand.absolute_norms
        return total

    @cached_property
    def evaluation_error(self) -> Norms:
        """The summands' own errors, plus one rounding per addition of their magnitudes."""
        error, magnitude = ZERO_NORMS, ZERO_NORMS
        for summand in self.summands:
            error = error + summand.evaluation_error
            magnitude = magnitude + summand.absolute_norms + summand.evaluation_error
        return error + magnitude.scaled(len(self.summands) * 2.0**-52)

    @cached_property
    def underflow(self) -> float:
        return add_up(*(summand.underflow for summand in self.summands))

    @property
    def terms(self) -> int:
        return max(summand.terms for summand in self.summands) + len(self.summands)

    @property
    def cost(self) -> float:
        return sum(summand.cost for summand in self.summands) + self.out_size

    def to(self, device: torch.device) -> Sum:
        return Sum(tuple(summand.to(device) for summand in self.summands))

    @property
    def device(self) -> torch.device | None:
        return next((s.device for s in self.summands if s.device is not None), None)


class Adjoint(LinearOperator):
    """The transpose of an operator."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        self.in_shape = operator.out_shape
        self.out_shape = operator.in_shape
        self.error = operator.error.transposed

    def apply(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.apply(y)

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        rows, columns = self.operator.absolute_sums()
        return columns, rows

    @cached_property
    def absolute_norms(self) -> Norms:
        return self.operator.absolute_norms.transposed

    @cached_property
    def evaluation_error(self) -> Norms:
        return self.operator.evaluation_error.transposed

    @cached_property
    def underflow(self) -> float:
        return self.operator.underflow

    @property
    def terms(self) -> int:
        return self.operator.terms

    @property
    def cost(self) -> float:
        return self.operator.cost

    def to(self, device: torch.device) -> Adjoint:
        return Adjoint(self.operator.to(device))

    @property
    def device(self) -> torch.device | None:
        return self.operator.device


def transpose(operator: LinearOperator) -> LinearOperator:
    """The adjoint of an operator, pushed through products and sums to the leaves."""
    if isinstance(operator, Adjoint):
        return operator.operator
    if isinstance(operator, Composed):
        return Composed(tuple(transpose(factor) for factor in reversed(operator.factors)))
    if isinstance(operator, Sum):
        return Sum(tuple(transpose(summand) for summand in operator.summands))
    return Adjoint(operator)


def identity(shape: Shape) -> Reshape:
    """The identity on tensors of ``shape``."""
    return Reshape(shape, shape)


def is_identity(operator: LinearOperator) -> bool:
    """Whether an operator is the identity, shape included."""
    return isinstance(operator, Reshape) and operator.in_shape == operator.out_shape


def factors_of(operator: LinearOperator) -> tuple[LinearOperator, ...]:
    """The factors of an operator, outermost first; none for the identity."""
    if is_identity(operator):
        return ()
    return operator.factors if isinstance(operator, Composed) else (operator,)


def compose(*operators: LinearOperator) -> LinearOperator:
    """The product of operators, outermost first, flattened and without identities."""
    factors = tuple(factor for operator in operators for factor in factors_of(operator))
    if not factors:
        return operators[-1]
    return factors[0] if len(factors) == 1 else Composed(factors)


def add(first: LinearOperator, second: LinearOperator) -> LinearOperator:
    """The sum of two operators of one shape, with the factors they share on the right pulled out.

    ``P₁·T + P₂·T = (P₁ + P₂)·T`` keeps a signal that feeds two branches from being counted twice.
    """
    left, right = factors_of(first), factors_of(second)
    shared = 0
    while shared < min(len(left), len(right)) and left[-1 - shared] is right[-1 - shared]:
        shared += 1
    tail = left[len(left) - shared :]
    shape = tail[0].out_shape if tail else first.in_shape
    heads = [compose(*chain[: len(chain) - shared], identity(shape)) for chain in (left, right)]
    summands = tuple(
        part for head in heads for part in (head.summands if isinstance(head, Sum) else (head,))
    )
    return compose(Sum(summands), *tail)
