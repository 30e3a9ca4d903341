"""Records and gates made by hand, for every test that needs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lipcert.errors import UnsupportedError
from lipcert.gating.check import Check, Condition
from lipcert.gating.conditions import judge, problem_of, refused
from lipcert.gating.record import CountAt, Record
from lipcert.gating.result import CheckResult, GateResult

VERSIONS = {"lipcert": "0.1.0", "python": "3.11.7"}
CONDITIONS = (
    Condition("min-clean-accuracy", "0.97"),
    Condition("min-certified-accuracy", "0.50", "0.25"),
    Condition("max-lipschitz", "1.3"),
    Condition("max-drop", "0.01"),
    Condition("max-drop", "0.01", "0.25"),
)


def record(check: Check | None = None, **changes: Any) -> Record:
    """978 of 1000 correct, 412 certified at 0.25, bound 2.5."""
    fields: dict[str, Any] = {
        "name": check.name if check else "mnist",
        "model": "net.onnx",
        "model_sha256": "a" * 64,
        "norm": check.norm if check else "l2",
        "lipschitz": 2.5,
        "method": "lipsdp",
        "data": "test",
        "data_sha256": "b" * 64,
        "samples": 1000,
        "clean_correct": 978,
        "certified": (CountAt("0.25", 412),),
        "settings": check.compared
        if check
        else {"norm": "l2", "semantics": "real", "method": "auto"},
    }
    return Record(**{**fields, **changes})


def check(
    name: str = "mnist", conditions: tuple[Condition, ...] = CONDITIONS, line: int = 4
) -> Check:
    sizes = tuple(dict.fromkeys(c.eps for c in conditions if c.eps))
    return Check(name, line, Path("net.onnx"), Path("test.npz"), None, {}, sizes, conditions)


def passing(name: str = "fine") -> CheckResult:
    held = check(name, (Condition("min-clean-accuracy", "0.97"),), 14)
    found = record(held)
    verdicts = tuple(judge(held, c, found, None, None) for c in held.conditions)
    return CheckResult(held, found, verdicts, 0.25)


def failing(name: str = "mnist") -> CheckResult:
    """Clean passes; certified, the bound and one drop do not."""
    held = check(name)
    found, before = record(held), record(held, certified=(CountAt("0.250", 430),))
    verdicts = tuple(judge(held, c, found, before, Path("base.json")) for c in held.conditions)
    return CheckResult(held, found, verdicts, 1.5)


def broken(name: str = "odd", message: str = "has an operator that is not known") -> CheckResult:
    held = check(name, CONDITIONS[:2], 24)
    problem = problem_of(UnsupportedError("node 'x'", message, "export it otherwise"))
    return CheckResult(held, None, tuple(refused(held, c, problem) for c in held.conditions), 0.1)


def gate_of(*results: CheckResult, **changes: Any) -> GateResult:
    fields: dict[str, Any] = {
        "config": Path("lipcert.toml"),
        "checks": results,
        "baseline": Path("base.json"),
        "started": "2026-02-03T04:05:06",
        "seconds": 2.0,
        "versions": VERSIONS,
    }
    return GateResult(**{**fields, **changes})
