"""Measuring: what ``lipcert.certify`` or ``lipcert.bound`` finds for a check, as a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lipcert.errors import UnboundedError
from lipcert.gating.check import Check
from lipcert.gating.record import CountAt, Record

if TYPE_CHECKING:
    from lipcert.bounds.result import LipschitzBound
    from lipcert.certification.result import Certificates

Progress = Callable[[str, float], None]


def measure(check: Check, progress: Progress) -> Record:
    """The record of a check.  Raises what ``certify`` and ``bound`` raise."""
    return measure_bound(check, progress) if check.data is None else measure_data(check, progress)


def measure_data(check: Check, progress: Progress) -> Record:
    """Counts on the check's data, and the bound behind them."""
    from lipcert.certifying import certify

    assert check.data is not None
    options = _options(check)
    if check.labels is not None:
        options["labels"] = check.labels
    found = certify(check.model, check.data, eps=check.sizes, progress=progress, **options)
    return record_of(check, found)


def measure_bound(check: Check, progress: Progress) -> Record:
    """The bound of the logits alone."""
    from lipcert.api import bound

    found = bound(check.model, logits=True, lower_seconds=0.0, progress=progress, **_options(check))
    if not found.is_finite:
        raise UnboundedError(str(check.model), f"no finite {found.norm} bound: {found.obstacle}")
    return Record(check.name, **_bound_fields(found), settings=check.compared)


def record_of(check: Check, found: Certificates) -> Record:
    """Certificates as a record."""
    return Record(
        check.name,
        **_bound_fields(found.bound),
        data=found.data,
        data_sha256=found.data_sha256,
        samples=found.samples,
        clean_correct=found.clean_correct,
        certified=tuple(
            CountAt(entry.eps_text, entry.count, entry.attacked) for entry in found.certified
        ),
        settings=check.compared,
    )


def _bound_fields(bound: LipschitzBound) -> dict[str, Any]:
    return {
        "model": bound.model,
        "model_sha256": bound.model_sha256,
        "norm": bound.norm,
        "lipschitz": bound.value,
        "method": bound.method,
    }


def _options(check: Check) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in check.settings.items()}
