"""The options of a certification, read once; and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lipcert.api import chosen_device
from lipcert.certification.attack import AttackSettings
from lipcert.certification.certificates import parse_eps
from lipcert.certification.float32 import SEMANTICS
from lipcert.certification.normalization import Normalization
from lipcert.certification.task import Rules
from lipcert.errors import InputError
from lipcert.operators import Shape


@dataclass(frozen=True)
class Settings:
    """What a result depends on, beside model and data: see :func:`certify` for each."""

    eps: tuple[tuple[float, str], ...]
    norm: str
    method: str
    spectral: str
    labels: str | None
    normalization: Normalization | None
    input_range: tuple[float, float] | None
    pixel_range: tuple[float, float]
    first: int | None
    attack: AttackSettings | None
    device: str
    time_limit: float
    solver: str
    input_shape: Shape | None
    output: str | None
    semantics: str = "real"

    @classmethod
    def read(
        cls,
        *,
        eps: Sequence[float | str],
        labels: str | Path | None,
        normalize: str | Normalization | None,
        attack: bool | AttackSettings,
        first: int | None,
        norm: str,
        semantics: str = "real",
        **others: Any,
    ) -> Settings:
        """Check what can be checked before anything is opened.  Raises InputError."""
        sizes = tuple((parse_eps(str(e)), str(e)) for e in eps)
        chosen = AttackSettings() if attack is True else attack or None
        if chosen is not None:
            _check_attack(norm, sizes, chosen)
        if semantics not in SEMANTICS:
            choices = " or ".join(SEMANTICS)
            raise InputError("--semantics", f"{semantics!r} is not known", f"use {choices}")
        if first is not None and first < 1:
            raise InputError("--first", f"{first} is not a number of samples", "give 1 or more")
        options = Normalization.parse(normalize) if isinstance(normalize, str) else normalize
        return cls(
            eps=sizes,
            labels=None if labels is None else str(labels),
            normalization=options and options.checked(),
            attack=chosen,
            first=first,
            norm=norm,
            semantics=semantics,
            **others,
        )

    @property
    def rules(self) -> Rules:
        """How samples are judged."""
        return Rules(
            self.norm,
            tuple(size for size, _ in self.eps),
            self.normalization,
            self.input_range,
            self.attack,
            str(chosen_device(self.device)),
        )

    def identity(self) -> dict[str, Any]:
        """Everything, in JSON's types."""
        return asdict(self)

    def command(self, model: str, data: str) -> str:
        """The command line that gives the same result; options left at their default are not named.

        Empty where model or data are not files.
        """
        if not model or not data:
            return ""
        return shlex.join(["lipcert", "certify", model, data, *self._flags()])

    def _flags(self) -> Iterator[str]:
        for _, text in self.eps:
            yield from ("--eps", text)
        plain = {
            "norm": "l2",
            "semantics": "real",
            "method": "auto",
            "spectral": "auto",
            "labels": None,
            "first": None,
            "device": "cpu",
            "time_limit": 30.0,
            "solver": "hkm",
            "output": None,
        }
        for name, default in plain.items():
            value = getattr(self, name)
            if value != default:
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                yield from (f"--{name.replace('_', '-')}", shown)
        if self.input_shape is not None:
            yield from ("--input-shape", "x".join(map(str, self.input_shape)))
        if self.normalization is not None:
            yield from ("--normalize", self.normalization.text)
        if self.input_range is not None:
            yield from ("--input-range", _pair(self.input_range))
        if self.pixel_range != (0.0, 1.0):
            yield from ("--pixel-range", _pair(self.pixel_range))
        yield from self._attack_flags()

    def _attack_flags(self) -> Iterator[str]:
        if self.attack is None:
            return
        yield "--attack"
        usual = AttackSettings()
        for name in ("steps", "restarts", "seed"):
            value = getattr(self.attack, name)
            if value != getattr(usual, name):
                yield from (f"--attack-{name}", str(value))


def _check_attack(norm: str, sizes: Sequence[tuple[float, str]], attack: AttackSettings) -> None:
    if norm not in ("l2", "linf"):
        raise InputError("--attack", f"attacks in l2 and linf, not in {norm}", "leave it out")
    if not sizes:
        raise InputError("--attack", "needs a size to attack with", "give at least one --eps")
    for name, least in (("steps", 1), ("restarts", 1), ("seed", 0)):
        if getattr(attack, name) < least:
            raise InputError(f"--attack-{name}", f"must be at least {least}")


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]!r},{values[1]!r}"
