"""Shards judged by processes on this machine."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from lipcert.certification.execution.worker import judge_own_shard, start_worker
from lipcert.certification.shards import Shard, ShardResult
from lipcert.certification.task import Task
from lipcert.errors import WorkerError

MOST_DEATHS = 3
"""Times that a pool is started again after one of its processes died."""

logger = logging.getLogger(__name__)


def judged_by_processes(task: Task, shards: Sequence[Shard], workers: int) -> Iterator[ShardResult]:
    """Results as they come, in any order.

    A process that dies takes its pool along; what was not finished is done by a new one.  Raises
    WorkerError when that happens again and again.
    """
    left = set(shards)
    for _ in range(MOST_DEATHS + 1):
        try:
            for result in _judged_by_one_pool(task, sorted(left), workers):
                left.discard(result.shard)
                yield result
            return
        except BrokenProcessPool:
            logger.warning("a worker process died; %d shards are begun again", len(left))
    raise WorkerError(
        "worker processes",
        f"died {MOST_DEATHS + 1} times, last with {len(left)} shards to do",
        "they may have run out of memory: give fewer --workers",
    )


def _judged_by_one_pool(task: Task, shards: Sequence[Shard], workers: int) -> Iterator[ShardResult]:
    context = multiprocessing.get_context("spawn")
    count = max(1, min(workers, len(shards)))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, context, start_worker, (task,))
    try:
        for future in as_completed([pool.submit(judge_own_shard, shard) for shard in shards]):
            yield future.result()
        pool.shutdown()
    finally:  # after an error or an interruption nobody waits for shards under way
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
