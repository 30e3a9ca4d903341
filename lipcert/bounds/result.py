"""What a bound method answers, and the result that users see."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipcert.bounds.context import BoundContext
from lipcert.bounds.multipliers import StageMultipliers
from lipcert.bounds.obstacles import Obstacle
from lipcert.display import Tabular
from lipcert.errors import InputError
from lipcert.registry import Registry
from lipcert.signals import SignalForm


@dataclass(frozen=True, eq=False)
class Constants:
    """Proven Lipschitz constants of one method.

    Parameters
    ----------
    value : of the whole map.
    signals : of the map from the input to each signal, by index.
    pairwise : computes the ``(K, K)`` constants of the differences ``y_i − y_j``, zero diagonal.
    details : how the value came about, in a few words; empty where the method's name says it.
    exact : whether the value is the constant itself, up to its outward rounding.
    multipliers : that a proof file can start from, by stage; None where there are none.
    """

    value: float
    signals: dict[int, float]
    pairwise: Callable[[], np.ndarray]
    details: str = ""
    exact: bool = False
    multipliers: Mapping[str, StageMultipliers] | None = None


def pairs_times(table: np.ndarray, factor: float) -> np.ndarray:
    """Constants of pairs times a factor, rounded up; 0 between an output and itself."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: np.ndarray = np.nextafter(table * factor, np.inf)
    np.fill_diagonal(found, 0.0)
    return np.where(np.isnan(found), np.inf, found)


Method = Callable[[SignalForm, BoundContext], Constants]

ALL_NORMS = ("l1", "l2", "linf")


class MethodTable(Registry[Method]):
    """Bound methods by name, each with the norms it works in."""

    def __init__(self) -> None:
        super().__init__("method")
        self._norms: dict[str, tuple[str, ...]] = {}

    def register(
        self, *names: str, norms: tuple[str, ...] = ALL_NORMS
    ) -> Callable[[Method], Method]:
        """Decorator that enters a method for some norms, all three unless told."""
        self._norms.update(dict.fromkeys(names, norms))
        return super().register(*names)

    def for_norm(self, norm: str) -> tuple[str, ...]:
        """The methods that work in a norm."""
        return tuple(name for name in self if norm in self._norms[name])

    def norms_of(self, name: str) -> tuple[str, ...]:
        """The norms that a method works in."""
        self[name]
        return self._norms[name]

    def check_norm(self, name: str, norm: str) -> None:
        """Raise InputError where a method does not work in a norm."""
        if norm not in self.norms_of(name):
            raise InputError(
                f"method {name!r}",
                f"bounds the {' and '.join(self._norms[name])} norm only, not {norm}",
                f"use one of: auto, {', '.join(self.for_norm(norm))}",
            )


METHODS = MethodTable()
"""``METHODS[name](form, context)``: every entry returns proven upper bounds."""


@dataclass(frozen=True)
class ProofFacts:
    """What a proof file proves, and how.

    Parameters
    ----------
    constant : proved, exactly as the file claims it.
    method : "lipsdp" for one matrix inequality, "averaged" for claims value by value.
    claims : their number; ``size`` of the file in bytes, ``sha256`` of it.
    seconds : that making it took.
    format : of the file; ``file`` is its name and ``check`` the command that checks it, both ""
        where it has none yet.
    """

    constant: Fraction
    method: str
    claims: int
    size: int
    sha256: str
    seconds: float
    format: str = ""
    file: str = ""
    check: str = ""

    def named(self, file: str | Path, *about: str | Path) -> ProofFacts:
        """The facts of a proof written to ``file``; ``about`` is the model, then the data."""
        command = shlex.join(map(str, ("lipcert", "check", file, *about)))
        return replace(self, file=Path(file).name, check=command)

    @property
    def value(self) -> float:
        """The constant as float64, rounded upward."""
        near = float(self.constant)
        return near if Fraction(near) >= self.constant else math.nextafter(near, math.inf)


@dataclass(frozen=True)
class LipschitzBound(Tabular):
    """A proven upper bound of a model's Lipschitz constant, and a lower bound beside it.

    Parameters
    ----------
    value : the bound; ``inf`` where none is finite, ``obstacle`` then says why.
    lower : a slope found somewhere: the constant is not below it.
    norm : "l1", "l2" or "linf", measured on input and output alike.
    method : the method whose bound is the smallest.
    methods : the bound of every method that ran.
    details : how each of them came about, where there is more to say than its name.
    exact : whether the bound is the constant itself, up to outward rounding.
    pairwise : K×K constants of the differences of two outputs, None unless asked for.
    seconds : wall-clock time.
    proof : what the proof file holds that was made of it, None where none was asked for.
    multipliers : that a proof file can start from, by stage.
    """

    value: float
    lower: float
    norm: str
    method: str
    seconds: float
    methods: dict[str, float] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    exact: bool = False
    pairwise: tuple[tuple[float, ...], ...] | None = None
    obstacle: Obstacle | None = None
    model: str = ""
    model_sha256: str = ""
    output: str = ""
    semantics: str = "real"
    spectral: str = "auto"
    device: str = "cpu"
    versions: dict[str, str] = field(default_factory=dict)
    proof: ProofFacts | None = None
    multipliers: Mapping[str, StageMultipliers] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def is_finite(self) -> bool:
        """Whether there is a finite bound."""
        return math.isfinite(self.value)

    @property
    def ratio(self) -> float:
        """Bound over lower bound: 1 means that the bound is exact."""
        if self.value == 0.0:
            return 1.0
        return self.value / self.lower if self.lower > 0.0 else math.inf

    def __str__(self) -> str:
        if not self.is_finite:
            reason = str(self.obstacle) if self.obstacle else "overflow"
            return f"{self.model}: no finite {self.norm} bound: {reason}"
        return (
            f"{self.model}: {self.norm} Lipschitz constant ≤ {self.value:.10g} "
            f"({self.method}), ≥ {self.lower:.6g}, ratio {self.ratio:.4g}"
        )
