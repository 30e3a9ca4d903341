"""A check: a model, its data, and the conditions they are held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipcert.errors import InputError
from lipcert.gating import values
from lipcert.gating.files import Configuration, unknown_key

PATHS = {"model": values.read_path, "data": values.read_path, "labels": values.read_path}
SETTINGS: dict[str, values.Reader] = {
    "norm": values.chooser(values.NORMS),
    "semantics": values.chooser(values.SEMANTICS),
    "normalize": values.read_text,
    "input-range": values.read_range,
    "input-shape": values.read_shape,
    "output": values.read_text,
    "method": values.read_text,
    "spectral": values.read_text,
    "solver": values.read_text,
    "device": values.chooser(values.DEVICES),
    "time-limit": values.read_seconds,
}
"""Keys that are options of ``lipcert certify``, each with the reader of its value."""
CONDITIONS: dict[str, values.Reader] = {
    "min-clean-accuracy": values.read_share,
    "min-certified-accuracy": values.read_certified,
    "max-lipschitz": values.read_number,
    "max-drop": values.read_share,
}
KEYS: dict[str, values.Reader] = {
    "name": values.read_text, **PATHS, **SETTINGS, "eps": values.read_sizes, **CONDITIONS,
}  # fmt: skip
NEED_DATA = (
    "labels", "normalize", "input-range", "semantics", "eps", "min-clean-accuracy",
    "min-certified-accuracy", "max-drop",
)  # fmt: skip
COMPARED = ("norm", "semantics", "normalize", "input-range", "input-shape", "output", "method")
"""Settings that a baseline must share with what it is compared to."""


@dataclass(frozen=True)
class Condition:
    """One thing that is asked of a check: its kind, its threshold as written, and its ε."""

    kind: str
    threshold: str
    eps: str = ""


@dataclass(frozen=True)
class Check:
    """One ``[[check]]``.

    Parameters
    ----------
    line : where it starts in the configuration.
    settings : options of ``lipcert certify``, by key; only those that were given.
    sizes : every ε that is counted at.
    conditions : in the order in which they are told.
    """

    name: str
    line: int
    model: Path
    data: Path | None
    labels: Path | None
    settings: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def norm(self) -> str:
        """Norm of the perturbations and of the bound."""
        return str(self.settings.get("norm", "l2"))

    @property
    def semantics(self) -> str:
        """Arithmetic that the certified counts are for: "real" or "float32"."""
        return str(self.settings.get("semantics", "real"))

    @property
    def compared(self) -> dict[str, Any]:
        """The settings that make counts comparable, as JSON holds them."""
        given = {"norm": "l2", "semantics": "real", "method": "auto", **self.settings}
        chosen = {key: given[key] for key in COMPARED if key in given}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in chosen.items()}

    @property
    def needs_baseline(self) -> bool:
        """Whether a condition compares with the baseline."""
        return any(condition.kind == "max-drop" for condition in self.conditions)


def read_checks(configuration: Configuration) -> tuple[Check, ...]:
    """The checks of a configuration.  Raises InputError for anything in them that is no good."""
    tables = configuration.table.get("check")
    place = str(configuration.path)
    if tables is None:
        raise InputError(place, "has no [[check]]", "add one with a model and a condition")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise InputError(place, "'check' is not a list of tables", "write [[check]] above each")
    checks = [
        read_check(configuration, table, number, line)
        for number, (table, line) in enumerate(zip(tables, configuration.lines, strict=True), 1)
    ]
    names = [check.name for check in checks]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                place, f"two checks are called {name!r}", "give each a name of its own"
            )
    return tuple(checks)


def read_check(
    configuration: Configuration, table: Mapping[str, Any], number: int, line: int
) -> Check:
    """One check, all of its keys read."""
    place = _place(configuration.path, table, number)
    for key in table:
        if key not in KEYS:
            raise unknown_key(place, key, KEYS)
    read = {key: KEYS[key](f"{place}: {key}", value) for key, value in table.items()}
    if "model" not in read:
        raise InputError(place, "has no model", 'write model = "model.onnx"')
    if "data" not in read:
        for key in NEED_DATA:
            if key in read:
                raise InputError(place, f"has {key} and no data", 'write data = "test.npz"')
    certified = read.get("min-certified-accuracy", {})
    sizes = values.distinct(place, [*certified, *read.get("eps", ())])
    conditions = tuple(_conditions(read, sizes))
    if not conditions:
        kinds = ", ".join(CONDITIONS)
        raise InputError(place, "has no condition", f"add one of: {kinds}")
    if "max-drop" in read and "baseline" not in configuration.table:
        raise InputError(
            place, "has max-drop and there is no baseline",
            'write baseline = "lipcert-baseline.json" above the first [[check]]',
        )  # fmt: skip
    paths = {key: configuration.folder / read[key] for key in PATHS if key in read}
    return Check(
        name=read.get("name") or paths["model"].stem,
        line=line,
        model=paths["model"],
        data=paths.get("data"),
        labels=paths.get("labels"),
        settings={key: read[key] for key in SETTINGS if key in read},
        sizes=sizes,
        conditions=conditions,
    )


def check_files(configuration: Configuration, check: Check) -> None:
    """Raise InputError for a file of the check that is not there."""
    place = f"{configuration.path}, check {check.name!r}"
    for key in PATHS:
        path = getattr(check, key)
        if path is not None and not path.exists():
            raise InputError(
                place, f"{key} {str(path)!r} does not exist",
                "paths are relative to the folder of the configuration",
            )  # fmt: skip


def _conditions(read: Mapping[str, Any], sizes: tuple[str, ...]) -> list[Condition]:
    found = []
    if "min-clean-accuracy" in read:
        found.append(Condition("min-clean-accuracy", read["min-clean-accuracy"]))
    for size, share in read.get("min-certified-accuracy", {}).items():
        found.append(Condition("min-certified-accuracy", share, size))
    if "max-lipschitz" in read:
        found.append(Condition("max-lipschitz", read["max-lipschitz"]))
    if "max-drop" in read:
        found += [Condition("max-drop", read["max-drop"], size) for size in ("", *sizes)]
    return found


def _place(path: Path, table: Mapping[str, Any], number: int) -> str:
    name = table.get("name")
    return f"{path}, check {name!r}" if isinstance(name, str) else f"{path}, check {number}"
