"""Two results side by side: what changed, in exact counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipcert.errors import InputError
from lipcert.gating.baseline import SCHEMA, read_json, read_records
from lipcert.gating.check import Condition
from lipcert.gating.conditions import JUDGES
from lipcert.gating.record import CountAt, Record, bound_value, read_record
from lipcert.gating.result import ERROR, FAIL, NOT_MET, Verdict
from lipcert.gating.values import size_value

REMEDY = "give results of lipcert certify or gate --format json, or baselines"


@dataclass(frozen=True)
class Row:
    """One quantity of two records: "clean", "certified", "attacked" (at ``eps``) or "lipschitz".

    Shares are counts and totals; one side is None where it was not counted.
    """

    quantity: str
    eps: str = ""
    old: tuple[int, int] | float | None = None
    new: tuple[int, int] | float | None = None

    @property
    def change(self) -> Fraction | None:
        """New minus old: of the shares, or of the bounds; None where there is none."""
        old, new = _number(self.old), _number(self.new)
        return None if old is None or new is None else new - old


@dataclass(frozen=True)
class Pair:
    """Two records of one check, either of which may be missing, and what became of it."""

    name: str
    old: Record | None
    new: Record | None
    rows: tuple[Row, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def same_data(self) -> bool:
        """Whether both were counted on the same bytes."""
        return not (self.old and self.new) or self.old.data_sha256 == self.new.data_sha256


@dataclass(frozen=True)
class Comparison:
    """Two results; ``max_drop`` as it was written, or None."""

    old: str
    new: str
    pairs: tuple[Pair, ...]
    max_drop: str | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Verdicts on the largest drop allowed, in order."""
        return tuple(verdict for pair in self.pairs for verdict in pair.verdicts)

    @property
    def exit_code(self) -> int:
        """1 where something dropped further than allowed."""
        return NOT_MET if any(verdict.outcome == FAIL for verdict in self.verdicts) else 0


def compare(
    old: str | Path,
    new: str | Path,
    *,
    max_drop: str | None = None,
    allow_different_data: bool = False,
) -> Comparison:
    """Compare two files of results.

    Parameters
    ----------
    max_drop : largest drop of a share that is allowed, such as "0.01".
    allow_different_data : compare also what was counted on other data.

    Raises InputError for files that hold no result, for different data or norms, and where
    ``max_drop`` is given, for what the new result lacks and for different semantics.
    """
    allowed = Fraction(0) if max_drop is None else size_value(max_drop)
    if allowed is None or allowed > 1:
        raise InputError(f"--max-drop {max_drop!r}", "is not a share from 0 to 1", "such as 0.01")
    before, after = read_result(Path(old)), read_result(Path(new))
    if len(before) == len(after) == 1 and ("" in before) != ("" in after):
        before, after = {"": next(iter(before.values()))}, {"": next(iter(after.values()))}
    pairs = []
    for name in dict.fromkeys((*before, *after)):
        pair = Pair(name, before.get(name), after.get(name))
        _check_pair(pair, str(new), allow_different_data, max_drop is not None)
        rows = tuple(_rows(pair.old, pair.new))
        verdicts = () if max_drop is None else _verdicts(pair, str(new), max_drop)
        pairs.append(Pair(name, pair.old, pair.new, rows, verdicts))
    if not any(pair.old and pair.new for pair in pairs):
        raise InputError(str(new), f"has no check in common with {old}", "compare two of a kind")
    return Comparison(str(old), str(new), tuple(pairs), max_drop)


def read_result(path: Path) -> dict[str, Record]:
    """The records in a file by name; ``certify`` has one without a name."""
    content = read_json(path, REMEDY)
    readers = {
        "lipcert/certify/2": _read_certify,
        "lipcert/gate/1": _read_gate,
        SCHEMA: _read_baseline,
    }
    schema = content.get("schema")
    if not isinstance(schema, str) or schema not in readers:
        known = ", ".join(readers)
        raise InputError(str(path), f"has schema {schema!r}, not one of: {known}", REMEDY)
    return readers[schema](path, content)


def _read_certify(path: Path, content: Mapping[str, Any]) -> dict[str, Record]:
    try:
        certified = [{**entry, "eps": entry["eps_text"]} for entry in content["certified"]]
        bound = bound_value(content["bound"]["value"])
        texts = {key: content.get(key) for key in ("norm", "input_range", "normalization")}
        texts["semantics"] = content.get("semantics", "real")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(str(path), f"is not whole ({error!r})", REMEDY) from error
    fields = {**content, "name": "", "certified": certified, "lipschitz": bound, "settings": texts}
    return {"": read_record(str(path), fields)}


def _read_baseline(path: Path, content: Mapping[str, Any]) -> dict[str, Record]:
    return read_records(path, content.get("checks"))


def _read_gate(path: Path, content: Mapping[str, Any]) -> dict[str, Record]:
    checks = content.get("checks")
    if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
        raise InputError(str(path), "has no list of checks", REMEDY)
    measured = [check.get("measured") for check in checks if check.get("measured")]
    return read_records(path, measured)


def _check_pair(pair: Pair, new: str, allow_different_data: bool, gated: bool) -> None:
    place = f"{new}, check {pair.name!r}" if pair.name else new
    if pair.new is None and gated:
        raise InputError(place, "has no counts", "run it again, or leave out --max-drop")
    if not pair.old or not pair.new:
        return
    if pair.old.norm != pair.new.norm:
        raise InputError(
            place, f"is of the {pair.new.norm} norm, the old one of {pair.old.norm}",
            "compare results of one norm",
        )  # fmt: skip
    if gated and pair.old.semantics != pair.new.semantics:
        raise InputError(
            place, f"counts for {pair.new.semantics} arithmetic, the old one for "
            f"{pair.old.semantics}", "compare results of one, or leave out --max-drop",
        )  # fmt: skip
    if not pair.same_data and not allow_different_data:
        raise InputError(
            place, f"was counted on other data (sha256 {pair.new.data_sha256[:12] or 'none'}, "
            f"before {pair.old.data_sha256[:12] or 'none'})",
            "compare results on the same data, or pass --allow-different-data",
        )  # fmt: skip


def _rows(old: Record | None, new: Record | None) -> list[Row]:
    if not old or not new:
        return []
    rows = []
    if old.samples is not None or new.samples is not None:
        rows.append(Row("clean", "", old.share(), new.share()))
    for size in _sizes(old, new):
        rows.append(Row("certified", size, old.share(size), new.share(size)))
    for size in _sizes(old, new):
        row = Row("attacked", size, _attacked(old, size), _attacked(new, size))
        if row.old is not None or row.new is not None:
            rows.append(row)
    return [*rows, Row("lipschitz", "", old.lipschitz, new.lipschitz)]


def _sizes(old: Record, new: Record) -> list[str]:
    """The sizes of both by value, each once, from small to large."""
    found: dict[Fraction, str] = {}
    for entry in (*old.certified, *new.certified):
        found.setdefault(size_value(entry.eps) or Fraction(0), entry.eps)
    return [found[value] for value in sorted(found)]


def _attacked(record: Record, size: str) -> tuple[int, int] | None:
    entry: CountAt | None = record.at(size)
    if entry is None or entry.attacked is None or record.samples is None:
        return None
    return entry.attacked, record.samples


def _verdicts(pair: Pair, new: str, max_drop: str) -> tuple[Verdict, ...]:
    if not pair.old or not pair.new or pair.old.samples is None:
        return ()
    verdicts = []
    for size in ("", *(entry.eps for entry in pair.old.certified)):
        if pair.new.share(size) is None:
            finding = f"has no count at eps={size}" if size else "has no counts"
            raise InputError(new, finding, "certify it at the sizes of the old result")
        condition = Condition("max-drop", max_drop, size)
        semantics = pair.new.semantics
        verdict = Verdict(pair.name, condition, ERROR, pair.new.norm, semantics=semantics)
        verdicts.append(JUDGES["max-drop"](verdict, pair.new, pair.old))
    return tuple(verdicts)


def _number(value: tuple[int, int] | float | None) -> Fraction | None:
    if value is None or value == float("inf"):
        return None
    return Fraction(*value) if isinstance(value, tuple) else Fraction(value)
