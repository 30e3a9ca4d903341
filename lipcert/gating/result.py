"""What a gate found: a verdict for every condition of every check."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from lipcert.gating.check import Check, Condition
from lipcert.gating.record import Record, missing

PASS, FAIL, ERROR = "pass", "fail", "error"
NOT_MET = 1


@dataclass(frozen=True)
class Problem:
    """Why a condition could not be judged: the kind of error, its exit code, what it says."""

    kind: str
    code: int
    message: str


@dataclass(frozen=True)
class Verdict:
    """One condition, judged.

    Parameters
    ----------
    outcome : "pass", "fail", or "error" where it could not be judged.
    share : count and total of the samples, for conditions on them.
    before : count and total of the baseline, for ``max-drop``.
    value : the bound, for ``max-lipschitz``.
    semantics : arithmetic that certified counts are for; a bound is for real arithmetic.
    """

    check: str
    condition: Condition
    outcome: str
    norm: str
    share: tuple[int, int] | None = None
    before: tuple[int, int] | None = None
    value: float | None = None
    problem: Problem | None = None
    semantics: str = "real"

    @property
    def least(self) -> Fraction:
        """The share that is asked for, as an exact fraction."""
        threshold = Fraction(self.condition.threshold)
        return threshold if self.before is None else Fraction(*self.before) - threshold

    @property
    def short(self) -> int:
        """Samples that a share is short by."""
        return 0 if self.share is None else missing(self.share, self.least)

    @property
    def above(self) -> Fraction:
        """By how much a bound is above its threshold."""
        if self.value is None:
            return Fraction(0)
        return max(Fraction(0), Fraction(self.value) - Fraction(self.condition.threshold))


@dataclass(frozen=True)
class CheckResult:
    """One check: what was measured (None after an error), and its verdicts."""

    check: Check
    record: Record | None
    verdicts: tuple[Verdict, ...]
    seconds: float


@dataclass(frozen=True)
class GateResult:
    """All checks of a configuration.

    Parameters
    ----------
    config : the configuration.
    root : the folder that reports name files from.
    baseline : the file that the baseline is, or would be, in; None where none is named.
    kept : records of the baseline that belong to checks that were not run.
    started : when, in UTC.
    """

    config: Path
    checks: tuple[CheckResult, ...]
    baseline: Path | None = None
    kept: tuple[Record, ...] = ()
    root: Path = field(default_factory=Path)
    started: str = ""
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every verdict, in the order of the configuration."""
        return tuple(verdict for result in self.checks for verdict in result.verdicts)

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """Conditions that are not met."""
        return tuple(verdict for verdict in self.verdicts if verdict.outcome == FAIL)

    @property
    def errors(self) -> tuple[Verdict, ...]:
        """Conditions that could not be judged."""
        return tuple(verdict for verdict in self.verdicts if verdict.outcome == ERROR)

    @property
    def met(self) -> bool:
        """Whether every condition was judged and is met."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The highest code of an error; else 1 for a condition that is not met; else 0."""
        codes = [verdict.problem.code for verdict in self.errors if verdict.problem]
        return max(codes, default=NOT_MET if self.failures else 0)

    @property
    def uri(self) -> str:
        """The configuration, from ``root`` where it lies below it, with slashes."""
        try:
            return self.config.resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return self.config.as_posix()
