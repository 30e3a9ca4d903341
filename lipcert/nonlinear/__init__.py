"""Nonlinearities: what they compute and how steep they can be."""

from lipcert.nonlinear.activations import ACTIVATIONS, Activation, PRelu, Unbounded
from lipcert.nonlinear.base import Nonlinearity, Slopes
from lipcert.nonlinear.normalisation import LogSoftmax, Product, RootMeanSquare, Softmax
from lipcert.nonlinear.pooling import Extremes, GroupMax, GroupSort, Larger, MaxMin, MaxPool

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Extremes",
    "GroupMax",
    "GroupSort",
    "Larger",
    "LogSoftmax",
    "MaxMin",
    "MaxPool",
    "Nonlinearity",
    "PRelu",
    "Product",
    "RootMeanSquare",
    "Slopes",
    "Softmax",
    "Unbounded",
]
