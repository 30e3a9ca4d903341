"""Fuzzing of everything that reads a file: models, data sets, proofs, results, configurations.

python benchmarks/fuzz.py [TARGET ...] [--minutes 60] [--seed 0] [--slice 30] [--kept FOLDER]

Each target has child processes, one at a time, with limits of memory; one that spends more than 10
seconds on an input, or that dies, is counted and replaced.  An input is made from the seed and its
number alone.  The exit status is 1 where anything but a success or a refusal in one sentence was
found; the first input of each kind is kept in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import machine
from fuzzing.child import Seeds
from fuzzing.seeds import write_seeds
from fuzzing.targets import TARGETS

MOST_SECONDS = 10.0
"""Processor time of one input."""
MOST_WAITING = 60.0
"""Wall-clock time of one input, on a machine with other work."""
STARTING = 120.0
BAD = ("escaped", "untidy", "memory", "crash", "hang")
COLUMNS = ("target", "inputs", "success", "refused", *BAD, "seconds", "slowest_s", "most_mib")


@dataclass
class Tally:
    """What the inputs of a target came to."""

    next: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, -1)
    most: tuple[int, int] = (0, -1)
    kinds: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> dict[str, object]:
        found = {key: self.outcomes[key] for key in ("success", "refused", *BAD)}
        return {
            "target": name, "inputs": sum(self.outcomes.values()), **found,
            "seconds": round(self.seconds), "slowest_s": round(self.slowest[0], 2),
            "most_mib": self.most[0] >> 20,
        }  # fmt: skip


class Campaign:
    """Targets in turn, each for some seconds at a time."""

    def __init__(self, seeds: Path, seed: int, kept: Path) -> None:
        self.seeds, self.seed, self.kept = seeds, seed, kept
        self.tallies: dict[str, Tally] = {}

    def run(self, name: str, seconds: float) -> None:
        """One target for some seconds, in as many processes as that takes."""
        tally = self.tallies.setdefault(name, Tally())
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            began = time.monotonic()
            self._process(name, tally, left)
            tally.seconds += time.monotonic() - began

    def _process(self, name: str, tally: Tally, seconds: float) -> None:
        words = [name, str(self.seeds), str(self.seed), str(tally.next), str(seconds)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzzing.child", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parent,
            env=environment,
        )  # fmt: skip
        lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_drain, args=(process, lines), daemon=True).start()
        errors: list[bytes] = []
        threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True).start()
        pending = self._follow(process, lines, name, tally)
        code = process.wait()
        if pending is not None and code != 0:
            told = b"".join(errors)[-2000:].decode("utf-8", "replace")
            self._note(name, tally, pending, "crash", f"exit {code}\n{told}")
            tally.next = pending + 1
        elif code not in (0, -signal.SIGKILL):
            raise SystemExit(f"{name}: {b''.join(errors)[-2000:].decode('utf-8', 'replace')}")

    def _follow(
        self, process: subprocess.Popen[bytes], lines: queue.Queue[bytes | None], name: str,
        tally: Tally,
    ) -> int | None:  # fmt: skip
        """Take in what a process tells; the number of the input at which it ended, if at one."""
        pending: int | None = None
        began, spent = time.monotonic(), 0.0
        while True:
            try:
                line = lines.get(timeout=0.25)
            except queue.Empty:
                waited = time.monotonic() - began
                used = _processor_seconds(process.pid) - spent
                most = (MOST_SECONDS, MOST_WAITING) if pending is not None else (STARTING,) * 2
                if used > most[0] or waited > most[1]:
                    process.kill()
                    process.wait()
                    if pending is not None:
                        self._note(name, tally, pending, "hang", f"{used:.1f} s of the processor")
                        tally.next = pending + 1
                    return None
                continue
            if line is None:
                return pending
            told = json.loads(line)
            if "number" in told:
                pending, began = told["number"], time.monotonic()
                spent = _processor_seconds(process.pid)
                continue
            assert pending is not None
            self._note(name, tally, pending, told["outcome"], told["how"])
            tally.slowest = max(tally.slowest, (told["seconds"], pending))
            tally.most = max(tally.most, (told["added"], pending))
            tally.next, pending = pending + 1, None

    def _note(self, name: str, tally: Tally, number: int, outcome: str, how: str) -> None:
        tally.outcomes[outcome] += 1
        if outcome not in BAD:
            return
        kind = _kind(outcome, how)
        tally.kinds[kind] += 1
        if tally.kinds[kind] > 1:
            return
        target = TARGETS[name]
        content = Seeds(self.seeds / target.seeds).input(target, name, self.seed, number)
        self.kept.mkdir(parents=True, exist_ok=True)
        (self.kept / f"{name}-{number}-{outcome}").write_bytes(content)
        (self.kept / f"{name}-{number}-{outcome}.txt").write_text(how)
        print(f"{name} {number}: {kind}", flush=True)


def _kind(outcome: str, how: str) -> str:
    """What counts as the same finding: the last place in lipcert, and the class of the error."""
    lines = [line.strip() for line in how.splitlines() if line.strip()]
    places = [line for line in lines if line.startswith("File ") and "/lipcert/" in line]
    place = re.sub(r'File ".*/lipcert/', "lipcert/", places[-1]).replace('"', "") if places else ""
    error = re.match(r"[\w.]+", lines[-1]) if lines else None
    return f"{outcome} {place} {error[0][:60] if error else ''}"


def _drain(process: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _processor_seconds(pid: int) -> float:
    try:
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz everything that reads a file.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slice", type=float, default=30.0, help="seconds of a target in a turn")
    parser.add_argument("--kept", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--results", type=Path, help="JSON to add the run to")
    given = parser.parse_args()
    held = given.results is not None and given.results.exists()
    before = json.loads(given.results.read_text())["runs"] if held else []
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(Path(folder))
        campaign = Campaign(Path(folder), given.seed, given.kept)
        until = time.monotonic() + 60.0 * given.minutes
        while time.monotonic() < until:
            for name in given.targets or TARGETS:
                campaign.run(name, min(given.slice, max(1.0, until - time.monotonic())))
            _write(campaign, given.results, before)
    return 1 if any(t.outcomes[bad] for t in campaign.tallies.values() for bad in BAD) else 0


def _write(campaign: Campaign, path: Path | None, before: list[dict[str, Any]]) -> None:
    rows = [tally.row(name) for name, tally in campaign.tallies.items()]
    for row in rows:
        print(row, flush=True)
    if path is not None:
        kinds = {name: tally.kinds for name, tally in campaign.tallies.items() if tally.kinds}
        run = {"seed": campaign.seed, "machine": machine(), "rows": rows, "findings": kinds}
        path.write_text(json.dumps({"runs": [*before, run]}, indent=1) + "\n")
        path.with_suffix(".md").write_text(summary([*before, run]))


def summary(runs: list[dict[str, Any]]) -> str:
    """All runs in one table, and what each of them found, as Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    names = dict.fromkeys(row["target"] for run in runs for row in run["rows"])
    everything = [row for run in runs for row in run["rows"]]
    found = [[row for row in everything if row["target"] == name] for name in names]
    for name, rows in [*zip(names, found, strict=True), ("all", everything)]:
        sums = [sum(row[key] for row in rows) for key in COLUMNS[1:-2]]
        most = [max(row[key] for row in rows) for key in COLUMNS[-2:]]
        lines.append(f"| {' | '.join(map(str, (name, *sums, *most)))} |")
    for number, run in enumerate(runs, 1):
        lines += ["", f"Run {number} (seed {run['seed']}) found:", ""]
        kinds = [(name, kind, n) for name, k in run["findings"].items() for kind, n in k.items()]
        lines += [f"* {name}: {kind} ({n})" for name, kind, n in kinds] or ["* nothing"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
