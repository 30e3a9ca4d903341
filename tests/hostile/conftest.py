"""The command line under limits of time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Ended:
    """How a command ended; a negative exit code is the signal that killed it."""

    exit_code: int
    seconds: float
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def server():
    if not Path("/proc/self/statm").exists():
        pytest.skip("limits of memory are set through /proc")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("limited.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    yield process
    process.stdin.close()
    process.wait()


@pytest.fixture
def limited(server, tmp_path):
    """Run ``lipcert WORDS`` in the test's folder: 10 s of the processor, 1.5 GiB more memory."""

    def run(*words: str) -> Ended:
        request = {"words": words, "folder": str(tmp_path)}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        return Ended(**json.loads(server.stdout.readline()))

    return run


@pytest.fixture
def refusal(limited):
    """What a command is refused with: one sentence, exit code 2 or 3, nothing on stdout."""

    def refused(*words: str) -> str:
        ended = limited(*words)
        assert ended.exit_code in (2, 3), ended
        assert ended.stdout == ""
        assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
        assert len(ended.stderr) < 2500 and ended.stderr.rstrip("\n").isprintable()
        return ended.stderr

    return refused
