"""Commands run in forked processes with limits, so that a test fails instead of the machine.

Reads requests from standard input, a JSON object a line, and answers each with what became of it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

SECONDS = 10
BYTES = 3 << 29
"""1.5 GiB beyond what the interpreter and its libraries take."""


def serve() -> None:
    """Answer requests until there are no more."""
    import lipcert_cli.main

    import lipcert.bounds
    import lipcert.certification.data
    import lipcert.certifying
    import lipcert.onnx_import  # noqa: F401

    taken = _bytes_of("statm")
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["folder"])
        process = os.fork()
        if process == 0:
            command = load if request["words"][0] == "load" else lipcert_cli.main.main
            _run(request["words"], folder, taken + BYTES, command)
        _, status, used = os.wait4(process, 0)
        answer = {
            "exit_code": os.waitstatus_to_exitcode(status),
            "seconds": used.ru_utime + used.ru_stime,
            "stdout": (folder / "stdout.txt").read_text(errors="replace"),
            "stderr": (folder / "stderr.txt").read_text(errors="replace"),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def load() -> None:
    """The Python API, ended as the command line ends."""
    import lipcert
    from lipcert.errors import LipcertError

    try:
        lipcert.load(sys.argv[2])
    except LipcertError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def _run(words: list[str], folder: Path, most: int, main) -> None:  # type: ignore[no-untyped-def]
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for descriptor, name in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(folder)
    sys.argv = ["lipcert", *words]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _bytes_of(name: str) -> int:
    pages = int(Path("/proc/self", name).read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    serve()
