"""An example whose gradient is steeper than was proved, and all that is needed to see it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class GradientWitness:
    """One example, and the gradient norm that exceeds its bound.

    Parameters
    ----------
    kind, name : "layer", "parameter" or "total", and which.
    norm, rounding : the norm found, and what rounding can have added to it at most.
    bound : the sensitivity that it exceeds by more.
    index : of the sample, counted from 0; None for an input that a search made up.
    label : as the loss takes it, class index or target.
    sample : ``sample_shape``, in the data's units.
    model_input : ``sample_shape``, as the model sees it.
    loss : in words.
    """

    kind: str
    name: str
    norm: float
    rounding: float
    bound: float
    index: int | None
    label: np.ndarray
    sample: np.ndarray
    model_input: np.ndarray
    loss: str

    def arrays(self) -> Mapping[str, np.ndarray]:
        """What a file of it holds, the index -1 where there is none."""
        return {
            "x": self.sample[None],
            "y": self.label[None],
            "model_input": self.model_input[None],
            "index": np.array(-1 if self.index is None else self.index),
            "kind": np.array(self.kind),
            "name": np.array(self.name),
            "norm": np.array(self.norm),
            "rounding": np.array(self.rounding),
            "bound": np.array(self.bound),
            "loss": np.array(self.loss),
        }
