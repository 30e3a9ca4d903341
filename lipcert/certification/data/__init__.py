"""Labelled data sets: loading them, and holding them against the model that is to read them.

Every module of this folder is imported, so a new format is one new file.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from pathlib import Path

import numpy as np

from lipcert.certification.data.dataset import BLOCK_VALUES, Dataset, Samples
from lipcert.certification.data.formats import FORMATS, Format, Opened, Request
from lipcert.certification.data.labels import LABEL_NAMES, Labels
from lipcert.certification.data.opening import dataset_of_arrays, open_dataset
from lipcert.errors import InputError

__all__ = [
    "FORMATS",
    "LABEL_NAMES",
    "Dataset",
    "Format",
    "Labels",
    "Opened",
    "Request",
    "Samples",
    "check_labels",
    "check_layout",
    "check_range",
    "dataset_of_arrays",
    "open_dataset",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def check_layout(dataset: Dataset, input_shape: tuple[int, ...]) -> None:
    """Whether reshaping blocks of samples to (n, *input_shape) keeps every value's meaning.

    Accepted: the same shape; one that differs in leading or trailing dimensions of 1; any shape
    for a flat model; flat samples for a model of one or two dimensions besides those of 1.  Flat
    samples for several channels are refused: nothing tells in which order the channels were.

    Raises
    ------
    InputError : another shape, or channels on the other side.
    """
    if not _same_order(dataset.shape, input_shape):
        raise _layout_error(dataset, input_shape)


def check_labels(dataset: Dataset, classes: int | None) -> np.ndarray:
    """The labels as indices below ``classes``, int64.

    ``classes`` is the number of outputs: None (no class axis) or 1 takes labels 0 and 1, and 1
    also takes -1 and +1, which become 0 and 1.

    Raises
    ------
    InputError : a label out of range; names the first sample.
    """
    y = dataset.y
    if classes == 1 and np.all((y == -1) | (y == 1)):
        return (y + 1) // 2
    top = 1 if classes is None or classes == 1 else classes - 1
    wrong = (y < 0) | (y > top)
    if not wrong.any():
        return y
    first = int(np.argmax(wrong))
    outputs = "one output" if classes is None or classes == 1 else f"{classes} outputs"
    finding = (
        f"the label of sample {first} is {y[first]}, outside 0..{top} (the model has {outputs}; "
        f"the labels run {y.min()}..{y.max()})"
    )
    remedy = "number the classes from 0, or give the data this model was trained on"
    raise InputError(_place(dataset), finding, remedy)


def check_range(block: np.ndarray, low: float, high: float, *, first: int = 0) -> None:
    """Refuse samples with a value outside [low, high]; the comparison is exact in every dtype.

    Parameters
    ----------
    block : (n, *shape), samples.
    first : the index of the first of them in the data set.

    Raises
    ------
    InputError : names the first sample outside, counted from 0, and its value.
    """
    if block.size == 0:
        return
    step = max(1, BLOCK_VALUES * len(block) // block.size)
    for start in range(0, len(block), step):
        part = block[start : start + step].reshape(min(step, len(block) - start), -1)
        lows, highs = part.min(axis=1).tolist(), part.max(axis=1).tolist()
        for index, (least, most) in enumerate(zip(lows, highs, strict=True), first + start):
            if not (low <= least and most <= high):
                value = most if low <= least else least
                finding = f"sample {index} holds {value}, outside [{low}, {high}]"
                if 0 < high <= 1 and block.max() > 1.5:
                    finding += (
                        f" (the data run up to {block.max()}: 0..255, it seems, against 0..1)"
                    )
                raise InputError("data", finding, "scale the data or give --normalize")


def _place(dataset: Dataset) -> str:
    """The file name, for the place of an error."""
    return Path(dataset.path).name or dataset.samples.place


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without its leading and trailing dimensions of 1."""
    kept = [axis for axis, size in enumerate(shape) if size != 1]
    return shape[kept[0] : kept[-1] + 1] if kept else ()


def _same_order(shape: tuple[int, ...], model: tuple[int, ...]) -> bool:
    """Whether reshaping samples of ``shape`` to ``model`` keeps every value's meaning."""
    if math.prod(shape) != math.prod(model):
        return False
    core, model_core = _core(shape), _core(model)
    if core == model_core or len(model_core) <= 1:
        return True
    return len(core) <= 1 and len(model_core) == 2


def _layout_error(dataset: Dataset, model: tuple[int, ...]) -> InputError:
    """Says both shapes and, where one is seen, the transposition or reshape that helps."""
    shape = dataset.shape
    finding = f"its samples have shape {shape} and the model takes {model}"
    remedy = "give the data this model was trained on, in the shape it takes"
    rank = len(model)
    first, last = "channels first (NCHW)", "channels last (NHWC)"
    if rank == 2 and shape == model[::-1]:
        finding += ": the two dimensions are the other way round"
        remedy = "save x.transpose(0, 2, 1)"
    elif rank > 2 and shape == model[1:] + model[:1]:
        finding += f": the data have {last}, the model takes {first}"
        remedy = f"save x.transpose{(0, rank, *range(1, rank))}"
    elif rank > 2 and shape == model[-1:] + model[:-1]:
        finding += f": the data have {first}, the model takes {last}"
        remedy = f"save x.transpose{(0, *range(2, rank + 1), 1)}"
    elif math.prod(shape) == math.prod(model) and len(_core(shape)) <= 1:
        finding += ": flat samples do not tell the order of the channels"
        remedy = f"save x.reshape{(-1, *model)} if it is the model's"
    return InputError(_place(dataset), finding, remedy)
