"""Data sets larger than memory, runs that are killed, and many machines.

python benchmarks/streaming.py memory     peak memory for 60,000 samples against 1,000
python benchmarks/streaming.py kills      SIGKILL at ten random moments, then resumed: same bytes
python benchmarks/streaming.py cluster    Dask with two workers, one of them killed midway
python benchmarks/streaming.py            all of them
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from common import dev_folder, save

SAMPLES = 60_000
ROW_GROUP = 60_000
"""One row group: what pyarrow writes unasked, and the hardest to stream."""
KILLS = 10
EPS = ("--eps", "0.001", "--eps", "0.01")


def parquet(folder: Path, samples: int) -> Path:
    """MNIST's test images over and over, each time with other noise, as one Parquet file."""
    stored = np.load(dev_folder() / "data" / "mnist_784x1_unit.npz")
    x, y = stored["x"].reshape(-1, 784).astype(np.float32), stored["y"]
    generator = np.random.default_rng(0)
    rows = np.arange(samples) % len(x)
    noise = generator.uniform(0, 0.02, size=(samples, 1)).astype(np.float32)
    images = np.clip(x[rows] + noise, 0, 1)
    column = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), 784)
    path = folder / f"images-{samples}.parquet"
    pq.write_table(pa.table({"x": column, "label": y[rows]}), path, row_group_size=ROW_GROUP)
    return path


def command(data: Path, *more: str) -> list[str]:
    """A certification of the two-layer MNIST network."""
    model = str(dev_folder() / "models" / "mnist-net_256x2.onnx")
    start = [sys.executable, "-m", "lipcert_cli", "certify", model, str(data), *EPS]
    return [*start, "--method", "averaged", "-q", "--format", "json", *more]


def peak_of(words: list[str]) -> tuple[float, float, bytes]:
    """MiB at the peak over the process and its children, seconds, and what was printed."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out, subprocess.Popen(words, stdout=out) as run:
        process, peak = psutil.Process(run.pid), 0.0
        while run.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(0.02)
        out.seek(0)
        text = out.read()
    if run.returncode:
        sys.exit(f"{' '.join(words)}: exit code {run.returncode}")
    return peak / 2**20, time.perf_counter() - start, text


def resident(process: psutil.Process) -> float:
    """Bytes of a process and of its children."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.Error:
        return 0.0
    return float(total)


def memory(folder: Path) -> list[dict[str, object]]:
    """Peak memory as a ratio, in one process and in two."""
    data = parquet(folder, SAMPLES)
    rows = []
    for workers in ("0", "2"):
        few, few_seconds, _ = peak_of(command(data, "--workers", workers, "--first", "1000"))
        all_of_them, seconds, _ = peak_of(command(data, "--workers", workers))
        rows.append(
            {
                "case": f"--workers {workers}",
                "MiB, 1,000 samples": few,
                f"MiB, {SAMPLES:,} samples": all_of_them,
                "ratio": all_of_them / few,
                "seconds, 1,000": few_seconds,
                f"seconds, {SAMPLES:,}": seconds,
            }
        )
    return rows


def kills(folder: Path) -> list[dict[str, object]]:
    """Kill at random moments until the run is through, and compare the bytes."""
    data = parquet(folder, SAMPLES)
    rows = []
    for workers in ("0", "2"):
        _, seconds, expected = peak_of(command(data, "--workers", workers))
        journal, moments = folder / f"run-{workers}.journal", random.Random(0)
        words = command(data, "--workers", workers, "--resume", str(journal))
        killed = sum(killed_once(words, journal, moments) for _ in range(KILLS))
        _, last, found = peak_of(words)
        rows.append(
            {
                "case": f"--workers {workers}",
                "kills": killed,
                "same bytes": found == expected,
                "bytes": len(found),
                "seconds unkilled": seconds,
                "seconds of the last run": last,
            }
        )
    return rows


def killed_once(words: list[str], journal: Path, moments: random.Random) -> bool:
    """Kill a run some records after the last one, anywhere within the work on the next."""
    records = size_in_records(journal) + moments.randrange(SAMPLES // 256 // KILLS)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None and size_in_records(journal) < records:
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.05))
        alive = run.poll() is None
        run.send_signal(signal.SIGKILL)
    return alive


def size_in_records(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def cluster(folder: Path) -> list[dict[str, object]]:
    """A scheduler and two workers as processes of their own; one is killed, then comes another."""
    data = parquet(folder, SAMPLES)
    _, seconds, expected = peak_of(command(data, "--workers", "2"))
    address = "tcp://127.0.0.1:8799"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "8799"]
    run_scheduler = [*dask, "--no-dashboard", "--host", "127.0.0.1"]
    run_worker = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    run_worker += ["--nthreads", "1", "--no-dashboard", "--no-nanny"]
    started: list[subprocess.Popen[bytes]] = []

    def start(words: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )
        started.append(process)
        return process

    rows = []
    try:
        start(run_scheduler)
        workers = [start(run_worker), start(run_worker)]

        def whole() -> bytes:
            return peak_of(command(data, "--cluster", address))[2]

        def one_killed() -> bytes:
            journal = folder / "cluster.journal"
            words = command(data, "--cluster", address, "--resume", str(journal))
            with tempfile.TemporaryFile() as out:
                with subprocess.Popen(words, stdout=out) as run:
                    while run.poll() is None and size_in_records(journal) < SAMPLES // 256 // 3:
                        time.sleep(0.001)
                    midway = run.poll() is None
                    workers[0].send_signal(signal.SIGKILL)
                    run.wait()
                assert midway, "the run was over before the worker was killed"
                out.seek(0)
                return out.read()

        cases: list[tuple[str, Callable[[], bytes]]] = [
            ("two workers", whole),
            ("one of two killed midway", one_killed),
        ]
        for name, run in cases:
            begun = time.perf_counter()
            found = run()
            rows.append(
                {
                    "case": name,
                    "same bytes as --workers 2": found == expected,
                    "seconds": time.perf_counter() - begun,
                    "seconds, --workers 2": seconds,
                }
            )
    finally:
        for process in started:
            process.kill()
    return rows


PARTS = {
    "memory": (
        memory,
        "Peak memory of the whole process tree. Parquet file with one row group of 60,000 images.",
    ),
    "kills": (kills, "SIGKILL at random moments, ten times, then run to the end."),
    "cluster": (cluster, "A Dask scheduler and two worker processes on this machine."),
}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        part, notes = PARTS[name]
        with tempfile.TemporaryDirectory() as folder:
            rows = part(Path(folder))
        save(f"streaming_{name}", rows, list(rows[0]), notes)


if __name__ == "__main__":
    main()
