"""Nonlinearities: what they compute and how steep they can be."""

from lipcert.nonlinear.activations import ACTIVATIONS, Activation, PRelu, Unbounded
from lipcert.nonlinear.base import Groups, Nonlinearity, Slopes
from lipcert.nonlinear.normalisation import (
    LogSoftmax,
    MaskedSoftmax,
    Product,
    RootMeanSquare,
    Softmax,
)
from lipcert.nonlinear.piecewise import PiecewiseLinear
from lipcert.nonlinear.pooling import Extremes, GroupMax, GroupSort, Larger, MaxMin, MaxPool

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Extremes",
    "GroupMax",
    "GroupSort",
    "Groups",
    "Larger",
    "LogSoftmax",
    "MaskedSoftmax",
    "MaxMin",
    "MaxPool",
    "Nonlinearity",
    "PRelu",
    "PiecewiseLinear",
    "Product",
    "RootMeanSquare",
    "Slopes",
    "Softmax",
    "Unbounded",
]
