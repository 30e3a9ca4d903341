"""What runs inside a worker process: the only place that sets its threads.

A worker belongs to lipcert alone.  It computes on one thread, so that a sample gets the same bits
in every worker, and leaves when the process that started it is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import torch

from lipcert.certification.shards import Shard, ShardJudge, ShardResult
from lipcert.certification.task import Task

_lock = threading.Lock()
_opened: dict[str, ShardJudge] = {}
_own: list[Task] = []


def start_worker(task: Task) -> None:
    """Make this process a worker of the pool that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends the pool
    _own[:] = [task]
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def judge_own_shard(shard: Shard) -> ShardResult:
    """One shard of the task that this process was started with."""
    return judge_shard("", _own[0], shard)


def judge_shard(name: str, task: Task, shard: Shard) -> ShardResult:
    """One shard of a task, whose model and data are opened once in a process.

    ``name`` tells tasks apart; what was opened for another one is closed.
    """
    with _lock:
        if name not in _opened:
            for judge in _opened.values():
                judge.dataset.close()
            _opened.clear()
            torch.set_num_threads(1)
            _opened[name] = task.open()
        return _opened[name].run(shard)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
