"""From a model file to a :class:`Network`: the operations that are covered."""

from __future__ import annotations

from collections.abc import Callable

from . import curves, linear, moves
from .network import Network
from .reader import Importer, Normalisation
from .wire import File, Node

Handler = Callable[[Importer, Node], None]

OF_SIGNALS: dict[str, Handler] = {
    **dict.fromkeys(moves.MOVES, moves.move),
    **dict.fromkeys((*curves.KINKS, *curves.STEEPEST, "LeakyRelu"), curves.activate),
    "Shape": moves.sides,
    "Concat": moves.concat,
    "Split": moves.split,
    "Pad": moves.pad,
    "Gemm": linear.matmul,
    "MatMul": linear.matmul,
    "Add": linear.add,
    "Sub": linear.add,
    "Mul": linear.multiply,
    "Div": linear.multiply,
    "Neg": linear.multiply,
    "BatchNormalization": linear.normalise,
    "ReduceMean": linear.mean,
    "GlobalAveragePool": linear.mean,
    "Conv": linear.convolve,
    "ConvTranspose": linear.convolve,
    "AveragePool": linear.convolve,
    "MaxPool": curves.pool,
    "Softmax": curves.softmax,
    "Max": curves.extreme,
    "Min": curves.extreme,
}
OF_CONSTANTS: dict[str, Handler] = {
    **dict.fromkeys(moves.MOVES, moves.move),
    "Constant": moves.hold,
    "Concat": moves.concat,
    "MatMul": linear.compute,
    "Mul": linear.compute,
    "Div": linear.compute,
}


def network_of(file: File, before: Normalisation | None = None) -> Network:
    """The network in a model file, behind a normalisation by mean and standard deviation.

    Raises CheckError for what is not covered.
    """
    network = Network("", ())
    own = before if before is not None and before[1] else None
    Importer(file, network, OF_SIGNALS, OF_CONSTANTS, own).run()
    return network
