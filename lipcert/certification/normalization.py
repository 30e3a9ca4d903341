"""Normalisation as part of the certified map, so that radii are in the data's own units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from lipcert.errors import InputError
from lipcert.graph import Affine, Graph
from lipcert.onnx_import import constants as ball
from lipcert.operators import Diagonal, Shape


@dataclass(frozen=True)
class Normalization:
    """``(x − mean) / std``, one number for all elements or one per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Normalization:
        """Read ``mean=0.13,std=0.31`` or ``mean=a,b,c,std=d,e,f``.  Raises InputError."""
        values: dict[str, list[float]] = {}
        name = ""
        for item in text.replace(" ", "").split(","):
            if "=" in item:
                name, item = item.split("=", 1)
                if name not in ("mean", "std") or name in values:
                    raise _unreadable(text)
                values[name] = []
            if not name:
                raise _unreadable(text)
            try:
                values[name].append(float(item))
            except ValueError as error:
                raise _unreadable(text) from error
        if set(values) != {"mean", "std"}:
            raise _unreadable(text)
        return cls(tuple(values["mean"]), tuple(values["std"])).checked()

    def checked(self) -> Normalization:
        """Itself, when the numbers make sense.  Raises InputError otherwise."""
        finite = all(math.isfinite(v) for v in (*self.mean, *self.std))
        if not finite or not self.mean or not all(v > 0.0 for v in self.std):
            raise InputError(
                "--normalize",
                "needs finite means and positive standard deviations",
                "write mean=0.1307,std=0.3081",
            )
        return self

    @property
    def text(self) -> str:
        """What :meth:`parse` reads."""
        return ",".join(
            f"{name}={','.join(map(repr, values))}" for name, values in self.table.items()
        )

    @property
    def table(self) -> dict[str, tuple[float, ...]]:
        """Means and standard deviations by name."""
        return {"mean": self.mean, "std": self.std}

    def arrays(self, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation shaped to broadcast against samples of ``shape``."""
        return self._spread(self.mean, shape), self._spread(self.std, shape)

    def _spread(self, values: tuple[float, ...], shape: Shape) -> np.ndarray:
        array = np.asarray(values, dtype=np.float64)
        if len(values) == 1:
            return array.reshape(())
        if len(shape) > 1 and shape[0] == len(values):
            return array.reshape(-1, *(1,) * (len(shape) - 1))
        if shape and shape[-1] == len(values):
            return array
        raise InputError(
            "--normalize",
            f"has {len(values)} values for samples of shape {shape}",
            "give one value, or one for each channel",
        )

    def channel_axis(self, shape: Shape) -> int:
        """The axis of samples of ``shape`` along which its values differ."""
        most = max(len(self.mean), len(self.std))
        return 0 if most == 1 or (len(shape) > 1 and shape[0] == most) else -1

    def apply(self, x: np.ndarray, shape: Shape) -> np.ndarray:
        """Normalised float32 samples, as a deployed pipeline would feed them."""
        mean, std = self.arrays(shape)
        return np.asarray((x.astype(np.float64) - mean) / std, dtype=np.float32)

    def before(self, graph: Graph) -> Graph:
        """The graph behind this normalisation, in real arithmetic."""
        mean, std = (ball.Constant(a) for a in self.arrays(graph.sample_shape))
        rate = ball.divide(ball.exact(1.0), std)
        offset = ball.multiply(ball.exact(-1.0), ball.divide(mean, std))
        if graph.batched:
            rate, offset = (c.reshaped(lambda a: np.asarray(a)[None]) for c in (rate, offset))
        shape = graph.input_shape
        scale = Diagonal(rate.tensor(), shape, rate.largest_error())
        copies = math.prod(shape) / max(1, offset.value.size)
        error = offset.total_error() * math.sqrt(copies) * (1.0 + 1e-12)
        bias = offset.tensor()
        return graph.preceded_by(Affine(scale, bias, error), "normalize").to(torch.device("cpu"))


def _unreadable(text: str) -> InputError:
    return InputError(
        "--normalize", f"cannot read {text!r}", "write mean=0.1307,std=0.3081, or one per channel"
    )
