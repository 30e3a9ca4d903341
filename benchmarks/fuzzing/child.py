"""The process that inputs are read in: it may crash, hang or run out of memory.

``python -m fuzzing.child TARGET SEEDS SEED FIRST SECONDS`` reads inputs from number FIRST on, and
writes what happened to standard output, a JSON object a line.  The number of the input in hand is
written there before it is read, so that whoever watches knows what a killed process was at.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from .targets import TARGETS, Target, refusals

SPARE_BYTES = 4 << 30
"""Address space beyond what is taken when the first input is read."""
MOST_BYTES = 3 << 29
"""Memory that an input may take: 1.5 GiB."""
LONGEST_SENTENCE = 2000
PAGE = resource.getpagesize()


class Seeds:
    """The seeds of a target, in a fixed order."""

    def __init__(self, folder: Path) -> None:
        self.contents = [path.read_bytes() for path in sorted(folder.iterdir())]

    def input(self, target: Target, name: str, seed: int, number: int) -> bytes:
        """An input, the same for the same numbers."""
        rng = random.Random(f"{name}/{seed}/{number}")
        return target.damage(rng.choice(self.contents), rng, self.contents)


class Memory:
    """What inputs add to the memory that this process holds."""

    def __init__(self) -> None:
        self.peak = self._peak()

    def held(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    def added(self, before: int) -> int:
        """Bytes beyond ``before`` at the highest since then; 0 where an earlier peak hides it."""
        peak = self._peak()
        if peak <= self.peak:
            return 0
        Path("/proc/self/clear_refs").write_text("5")
        self.peak = self._peak()
        return peak - before

    def _peak(self) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
        raise OSError("no VmHWM")


def judged(target: Target, folder: Path, content: bytes) -> tuple[str, str]:
    """What became of an input, and for all but successes how."""
    try:
        target.read(folder, content)
    except BaseException as error:
        if _out_of_memory(error):
            return "memory", _where(error)
        if not isinstance(error, refusals()):
            return "escaped", _where(error)
        return _refusal(error)
    return "success", ""


def _refusal(error: BaseException) -> tuple[str, str]:
    """A refusal is one sentence that can be printed."""
    text = str(error)
    tidy = len(text) <= LONGEST_SENTENCE and text.isprintable() and text
    return ("refused", "") if tidy else ("untidy", f"{text[:200]!a}\n{_where(error)}")


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out on the way; not where Arrow reserved what a page only declares."""
    found: BaseException | None = error
    while found is not None:
        arrow = type(found).__name__ == "ArrowMemoryError"
        if (isinstance(found, MemoryError) and not arrow) or "allocate memory" in str(found)[:1000]:
            return True
        found = found.__cause__ or found.__context__
    return False


def _where(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-8))[-3000:]


def main(name: str, seeds: str, seed: str, first: str, seconds: str) -> None:
    target = TARGETS[name]
    corpus = Seeds(Path(seeds) / target.seeds)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=_fast()) as folder:
        os.chdir(folder)
        for content in corpus.contents[:3]:  # whatever is imported on the way
            judged(target, Path(folder), content)
        _limit()
        memory = Memory()
        until = time.monotonic() + float(seconds)
        number = int(first)
        while time.monotonic() < until:
            _tell(number=number)
            content = corpus.input(target, name, int(seed), number)
            before, began = memory.held(), time.process_time()
            outcome, how = judged(target, Path(folder), content)
            spent, added = time.process_time() - began, memory.added(before)
            if added > MOST_BYTES:
                outcome, how = "memory", f"{added >> 20} MiB; {outcome} {how}"
            _tell(outcome=outcome, how=how, seconds=spent, added=added)
            number += 1


def _fast() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _limit() -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE_BYTES, taken + SPARE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _tell(**values: object) -> None:
    sys.__stdout__.write(json.dumps(values) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main(*sys.argv[1:])
