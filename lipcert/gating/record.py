"""A record: the exact counts of one check, as they are measured, stored and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from lipcert.errors import InputError
from lipcert.gating.values import size_value


@dataclass(frozen=True)
class CountAt:
    """Samples certified at one ε, and those that an attack left; None without an attack."""

    eps: str
    count: int
    attacked: int | None = None


@dataclass(frozen=True)
class Record:
    """What one model does on one data set.

    Parameters
    ----------
    name : of the check.
    settings : what a record must share with another to be compared with it; without
        ``semantics``, which older ones lack, counts are for real arithmetic.
    lipschitz : proven bound of the logits.
    samples, clean_correct : exact counts; None without data.
    """

    name: str
    model: str
    model_sha256: str
    norm: str
    lipschitz: float
    method: str
    data: str = ""
    data_sha256: str = ""
    samples: int | None = None
    clean_correct: int | None = None
    certified: tuple[CountAt, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def semantics(self) -> str:
        """Arithmetic that the certified counts are for."""
        return str(self.settings.get("semantics", "real"))

    def at(self, eps: str) -> CountAt | None:
        """The count at an ε of this value, however it is written."""
        wanted = size_value(eps)
        return next((entry for entry in self.certified if size_value(entry.eps) == wanted), None)

    def share(self, eps: str = "") -> tuple[int, int] | None:
        """Count and total of the samples certified at ``eps``, of the correct ones for ""."""
        if self.samples is None:
            return None
        if not eps:
            return (self.clean_correct or 0), self.samples
        entry = self.at(eps)
        return None if entry is None else (entry.count, self.samples)

    @property
    def object(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return {**asdict(self), "certified": [asdict(entry) for entry in self.certified]}


def read_record(place: str, value: object) -> Record:
    """A record from JSON.  Raises InputError for a value that is none."""
    try:
        return _record(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            place, f"holds no usable record ({type(error).__name__}: {error})",
            "write it again with lipcert",
        ) from error  # fmt: skip


def _record(value: object) -> Record:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    texts = ("name", "model", "model_sha256", "norm", "method", "data", "data_sha256")
    samples, correct = value["samples"], value["clean_correct"]
    if (samples is None) != (correct is None):
        raise ValueError("samples without counts")
    record = Record(
        **{key: _text(value[key]) for key in texts},
        lipschitz=bound_value(value["lipschitz"]),
        samples=None if samples is None else _count(samples, least=1),
        clean_correct=None if correct is None else _count(correct, most=samples),
        certified=tuple(_count_at(entry, samples) for entry in value["certified"]),
        settings={"semantics": "real", **value["settings"]},
    )
    return record


def _count_at(entry: Mapping[str, Any], samples: int) -> CountAt:
    size, attacked = _text(entry["eps"]), entry.get("attacked")
    if size_value(size) is None:
        raise ValueError(f"{size!r} is no perturbation size")
    left = None if attacked is None else _count(attacked, most=samples)
    return CountAt(size, _count(entry["count"], most=samples), left)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _count(value: object, *, least: int = 0, most: int | None = None) -> int:
    if type(value) is not int or value < least or (most is not None and value > most):
        raise ValueError(f"{value!r} is no count")
    return value


def bound_value(value: object) -> float:
    """A bound from JSON, where infinity is the string "inf"."""
    if value == "inf":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{value!r} is no bound")
    return float(value)


def missing(share: tuple[int, int], least: Fraction) -> int:
    """How many samples more it takes to reach a share of ``least``; 0 where it is reached."""
    count, total = share
    return max(0, math.ceil(least * total) - count)
