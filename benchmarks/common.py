"""What the benchmarks share: where the development models are, timing, and result files."""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from lipcert.versions import versions

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def dev_folder() -> Path:
    """The folder with MANIFEST.csv, models and data; LIPCERT_DEV_MODELS names another."""
    folder = Path(os.environ.get("LIPCERT_DEV_MODELS", ROOT.parent / "shared"))
    if not (folder / "MANIFEST.csv").exists():
        sys.exit("the development models are not here; set LIPCERT_DEV_MODELS to their folder")
    return folder


def manifest() -> list[dict[str, str]]:
    """The rows of MANIFEST.csv."""
    with (dev_folder() / "MANIFEST.csv").open() as file:
        return list(csv.DictReader(file))


def median_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Median wall-clock time of a call, after one warm-up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "versions": versions(),
    }


def save(name: str, rows: Sequence[dict[str, object]], columns: Sequence[str], notes: str) -> None:
    """Write rows as JSON and as a Markdown table, and print the table."""
    RESULTS.mkdir(exist_ok=True)
    record = {"machine": machine(), "rows": list(rows)}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    table = "\n".join(markdown(rows, columns))
    (RESULTS / f"{name}.md").write_text(f"{notes.strip()}\n\n{table}\n")
    print(table)


def markdown(rows: Iterable[dict[str, object]], columns: Sequence[str]) -> Iterable[str]:
    """Lines of a Markdown table."""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(row.get(column)) for column in columns) + " |"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
