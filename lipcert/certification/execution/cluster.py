"""Shards judged by the workers of a Dask cluster.

The scheduler gives the shards of a lost worker to another one; where everything that held the
task is lost, it is sent again.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from lipcert.certification.execution.worker import judge_shard
from lipcert.certification.shards import Shard, ShardResult
from lipcert.certification.task import Task
from lipcert.errors import InputError, LipcertError, WorkerError

MOST_LOSSES = 3
"""Times that a task is sent again after all copies of it were lost."""
SECONDS = 10.0
"""Time that a scheduler gets to answer, and a first worker to be there."""
ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^/\s]+:\d+")


def judged_by_cluster(task: Task, shards: Sequence[Shard], address: str) -> Iterator[ShardResult]:
    """Results as they come, in any order.

    Parameters
    ----------
    address : of the scheduler, such as ``tcp://host:8786``; model and data must have the same
        paths on every worker.

    Raises InputError where there is no scheduler, WorkerError where it is lost or where shards
    kill one worker after another.
    """
    distributed = _imported()
    client = _connected(distributed, address)
    name = uuid.uuid4().hex
    left = set(shards)
    try:
        with client:
            for _ in range(MOST_LOSSES + 1):
                for result in _judged(distributed, client, name, task, sorted(left)):
                    left.discard(result.shard)
                    yield result
                if not left:
                    return
    except LipcertError:
        raise
    except Exception as error:  # whatever Dask raises, a worker without lipcert included
        raise WorkerError(
            f"cluster {address}",
            f"failed: {_first_line(error)}",
            "see the logs of its scheduler and workers; --resume goes on from there",
        ) from error
    raise WorkerError(
        f"cluster {address}",
        f"lost its workers {MOST_LOSSES + 1} times, last with {len(left)} shards to do",
        "see their logs; --resume goes on from there",
    )


def _judged(
    distributed: Any, client: Any, name: str, task: Task, shards: Sequence[Shard]
) -> Iterator[ShardResult]:
    """What one sending of the task gives: less than everything where all its copies were lost."""
    client.wait_for_workers(1, timeout=SECONDS)
    shared = client.scatter(task, broadcast=True)
    futures = [
        client.submit(judge_shard, name, shared, shard, pure=False, priority=-shard.start)
        for shard in shards
    ]
    for future in distributed.as_completed(futures, loop=client.loop):
        if future.status == "cancelled" or future.status == "lost":
            continue
        yield future.result()
        future.release()


def _imported() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError("--cluster", "needs Dask", "pip install 'lipcert[cluster]'") from None
    return distributed


def check_cluster(address: str) -> None:
    """Raise InputError where there is no scheduler, before anything is computed for it."""
    _connected(_imported(), address).close()


def _connected(distributed: Any, address: str) -> Any:
    if not ADDRESS.fullmatch(address):
        raise InputError(
            f"--cluster {address}", "is not the address of a scheduler", "write tcp://HOST:8786"
        )
    try:
        return distributed.Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--cluster {address}",
            f"there is no scheduler that answers ({_first_line(error)})",
            "start one with: dask scheduler",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
