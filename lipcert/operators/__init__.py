"""Linear operators on tensors: the coefficients of a model's signal form."""

from lipcert.operators.base import LinearOperator, Norms, Shape, flat_identity
from lipcert.operators.composed import (
    Adjoint,
    Composed,
    Sum,
    add,
    compose,
    factors_of,
    identity,
    is_identity,
    transpose,
)
from lipcert.operators.convolution import Convolution
from lipcert.operators.dense import Dense
from lipcert.operators.diagonal import Centring, Diagonal
from lipcert.operators.indexing import Indexing, Reshape, Transpose
from lipcert.operators.simplify import simplified_together, simplify

__all__ = [
    "Adjoint",
    "Centring",
    "Composed",
    "Convolution",
    "Dense",
    "Diagonal",
    "Indexing",
    "LinearOperator",
    "Norms",
    "Reshape",
    "Shape",
    "Sum",
    "Transpose",
    "add",
    "compose",
    "factors_of",
    "flat_identity",
    "identity",
    "is_identity",
    "simplified_together",
    "simplify",
    "transpose",
]
