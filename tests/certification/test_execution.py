"""The same certificates wherever shards are judged, whoever dies on the way."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import lipcert
from lipcert.certification.execution import pool
from lipcert.certification.result import Certificates
from lipcert.certifying.settings import Settings
from lipcert.certifying.work import Work
from lipcert.errors import InputError, WorkerError

SAMPLES = Path(__file__).parents[2] / "sample_models"
MODEL = SAMPLES / "digits_relu_mlp.onnx"
OPTIONS: dict[str, Any] = {"eps": ["0.1", "0.5"], "method": "averaged"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits a few times over, with noise: eight shards, the last one short."""
    stored = np.load(SAMPLES / "digits_test.npz")
    rows = np.arange(1900) % len(stored["x"])
    noise = np.random.default_rng(0).uniform(0, 0.1, (1900, stored["x"].shape[1]))
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x=(stored["x"][rows] + noise).astype(np.float32), y=stored["y"][rows])
    return path


@pytest.fixture(scope="module")
def expected(data: Path) -> Certificates:
    return lipcert.certify(MODEL, data, **OPTIONS)


def assert_same(found: Certificates, expected: Certificates) -> None:
    for name in ("radii", "margins", "predictions", "labels"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    assert found.certified == expected.certified
    assert found.data_sha256 == expected.data_sha256
    assert found.largest_deviation == pytest.approx(expected.largest_deviation, rel=0.5)


def test_processes_give_the_same(data: Path, expected: Certificates) -> None:
    assert_same(lipcert.certify(MODEL, data, workers=2, **OPTIONS), expected)


def test_a_killed_process_loses_nothing(data: Path, expected: Certificates) -> None:
    killed = []

    def kill_one(what: str, fraction: float) -> None:
        if what == "certifying" and not killed:
            victims = [
                child
                for child in psutil.Process().children()
                if "spawn_main" in str(child.cmdline())
            ]
            victims[0].kill()
            killed.append(fraction)

    found = lipcert.certify(MODEL, data, workers=2, progress=kill_one, **OPTIONS)
    assert killed and killed[0] < 1.0
    assert_same(found, expected)


def test_processes_that_die_again_and_again(data: Path, monkeypatch: Any) -> None:
    """Each pool judges one shard and breaks: what is left is begun again, but not for ever."""
    whole = pool._judged_by_one_pool
    begun = []

    def breaking(task: Any, shards: Any, workers: int) -> Iterator[Any]:
        begun.append(len(shards))
        yield next(whole(task, shards, workers))
        raise BrokenProcessPool("a process in the process pool was terminated abruptly")

    monkeypatch.setattr(pool, "_judged_by_one_pool", breaking)
    monkeypatch.setattr(pool, "MOST_DEATHS", 1)
    with pytest.raises(WorkerError, match=r"died 2 times, last with 6 shards.*fewer --workers"):
        lipcert.certify(MODEL, data, workers=2, **OPTIONS)
    assert begun == [8, 7]


def test_an_error_in_a_process_is_told_as_one_here(data: Path, tmp_path: Path) -> None:
    stored = np.load(data)
    x = stored["x"].copy()
    x[1500, 3] = np.nan
    path = tmp_path / "bad.npz"
    np.savez(path, x=x, y=stored["y"])
    for workers in (0, 2):
        with pytest.raises(InputError, match="sample 1500 holds nan"):
            lipcert.certify(MODEL, path, workers=workers, **OPTIONS)


def test_processes_need_files(data: Path) -> None:
    stored = np.load(data)
    with pytest.raises(InputError, match="--workers: needs model and data in files"):
        lipcert.certify(MODEL, (stored["x"], stored["y"]), workers=2, **OPTIONS)


def test_interrupted_and_resumed(data: Path, tmp_path: Path, expected: Certificates) -> None:
    journal = tmp_path / "run.journal"
    stops = [0.0]

    def interrupt(what: str, fraction: float) -> None:
        if what == "certifying" and stops[-1] + 0.3 < fraction < 1.0:
            stops.append(fraction)
            raise KeyboardInterrupt

    found = None
    for _ in range(10):
        try:
            found = lipcert.certify(MODEL, data, resume=journal, progress=interrupt, **OPTIONS)
            break
        except KeyboardInterrupt:
            continue
    assert found is not None and len(stops) == 3
    assert_same(found, expected)
    assert found.largest_deviation == expected.largest_deviation
    assert found.bound.value == expected.bound.value
    assert found.bound.pairwise == expected.bound.pairwise


def test_a_journal_of_other_data_is_refused(data: Path, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    lipcert.certify(MODEL, data, resume=journal, **OPTIONS)
    with pytest.raises(InputError, match="another run: it differs in data"):
        lipcert.certify(MODEL, SAMPLES / "digits_test.npz", resume=journal, **OPTIONS)
    with pytest.raises(InputError, match="another run: it differs in eps"):
        lipcert.certify(MODEL, data, resume=journal, **{**OPTIONS, "eps": ["0.2"]})


def test_workers_leave_when_the_run_is_killed(data: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lipcert_cli", "certify", str(MODEL), str(data)]
    words += ["--method", "averaged", "--workers", "2"]
    words += ["--resume", str(tmp_path / "j")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as run:
        process, children = psutil.Process(run.pid), []
        for _ in range(600):
            children = process.children(recursive=True)
            if sum("spawn_main" in " ".join(child.cmdline()) for child in children) == 2:
                break
            time.sleep(0.05)
        run.kill()
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def task_for(data: Path) -> Any:
    """The task that a run would send to its workers."""
    graph = lipcert.load(MODEL)
    settings = Settings.read(
        eps=(), norm="l2", method="averaged", spectral="auto", labels=None, normalize=None,
        input_range=None, pixel_range=(0.0, 1.0), first=None, attack=False, device="cpu",
        time_limit=30.0, solver="hkm", input_shape=None, output=None,
    )  # fmt: skip
    from lipcert.certification.task import DataSource

    source = DataSource(str(data))
    dataset = source.open()
    work = Work(graph, graph.source, dataset, source, settings, np.ones((10, 10)), 0, None)
    return work._task("--workers")


def test_a_worker_refuses_what_is_not_the_same(data: Path) -> None:
    task = task_for(data)
    task.open()
    with pytest.raises(InputError, match=r"worker on .*, digits_relu_mlp.onnx: is not the file"):
        replace(task, model_sha256="0" * 64).open()
    with pytest.raises(InputError, match="digits: are not the data that they are elsewhere"):
        replace(task, data_signature="0" * 64).open()
    with pytest.raises(InputError, match="versions: differ in torch"):
        replace(task, versions={**task.versions, "torch": "1.0"}).open()


# --- a cluster -----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, each a process of its own."""
    distributed = pytest.importorskip("distributed")
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--no-dashboard"]
    scheduler += ["--port", address.rpartition(":")[2]]
    worker = ["distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
    worker += ["--no-dashboard", "--host", "127.0.0.1"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for words in (scheduler, worker, worker)
    ]
    try:
        with distributed.Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_cluster_gives_the_same_and_survives_a_worker(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], data: Path, expected: Certificates
) -> None:
    address, workers = cluster
    assert_same(lipcert.certify(MODEL, data, cluster=address, **OPTIONS), expected)
    killed = []

    def kill_one(what: str, fraction: float) -> None:
        if what == "certifying" and not killed:
            workers[0].kill()
            killed.append(fraction)

    found = lipcert.certify(MODEL, data, cluster=address, progress=kill_one, **OPTIONS)
    assert killed and killed[0] < 1.0
    assert_same(found, expected)


def test_a_scheduler_that_dies_is_an_error(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], data: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("lipcert.certification.execution.cluster.SECONDS", 2.0)
    address, _ = cluster
    port = int(address.rpartition(":")[2])
    scheduler = next(
        process
        for process in psutil.Process().children()
        if "dask_scheduler" in str(process.cmdline()) and str(port) in process.cmdline()
    )

    def kill(what: str, fraction: float) -> None:
        if what == "certifying" and scheduler.is_running():
            scheduler.kill()
            scheduler.wait()

    with pytest.raises(WorkerError, match=r"cluster tcp://.*--resume goes on from there"):
        lipcert.certify(MODEL, data, cluster=address, progress=kill, **OPTIONS)


def test_an_address_is_checked_first(data: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="--cluster localhost: is not the address of a scheduler"):
        lipcert.certify(MODEL, data, cluster="localhost", **OPTIONS)


def test_no_scheduler_is_an_error(data: Path, monkeypatch: Any) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("lipcert.certification.execution.cluster.SECONDS", 1.0)
    with pytest.raises(InputError, match=r"no scheduler that answers.*dask scheduler"):
        lipcert.certify(MODEL, data, cluster=f"tcp://127.0.0.1:{free_port()}", **OPTIONS)
