"""Whether two imports gave the same graph, to the last bit of every coefficient."""

from __future__ import annotations

import types
from collections.abc import Mapping

import numpy as np
import torch

from lipcert.graph import Origin


def are_same(first: object, second: object) -> bool:
    """Whether two values are built alike of equal parts; NaN equals itself, 0 is not −0.

    Objects are alike where their classes and attributes are, functions where their code and what
    they close over are.  What was computed from them and kept plays no part.
    """
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor)
        return first.device == second.device and are_same(
            first.detach().cpu().numpy(), second.detach().cpu().numpy()
        )
    if isinstance(first, np.ndarray):
        assert isinstance(second, np.ndarray)
        alike = first.shape == second.shape and first.dtype == second.dtype
        return alike and first.tobytes() == second.tobytes()
    if isinstance(first, float):
        return repr(first) == repr(second)
    if isinstance(first, tuple | list):
        assert isinstance(second, tuple | list)
        return len(first) == len(second) and all(map(are_same, first, second))
    if isinstance(first, Mapping):
        assert isinstance(second, Mapping)
        return list(first) == list(second) and all(are_same(first[k], second[k]) for k in first)
    if isinstance(first, types.FunctionType):
        assert isinstance(second, types.FunctionType)
        return first.__code__ == second.__code__ and are_same(_held(first), _held(second))
    if isinstance(first, Origin):
        assert isinstance(second, Origin)
        return are_same(_effect(first), _effect(second))
    if hasattr(first, "__dict__") and not isinstance(first, type):
        return are_same(_attributes(first), _attributes(second))
    return bool(first == second)


def _held(function: types.FunctionType) -> tuple[object, ...]:
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return (cells, function.__defaults__, function.__kwdefaults__)


def _effect(origin: Origin) -> tuple[object, ...]:
    """What an origin says; what its moves close over may hold numbers that they do not read."""
    return (origin.name, origin.shape, origin.slope, origin.index)


def _attributes(value: object) -> dict[str, object]:
    """What was given to an object, without what its cached properties hold."""
    kind = type(value)
    return {
        name: held
        for name, held in sorted(vars(value).items())
        if type(getattr(kind, name, None)).__name__ != "cached_property"
    }
