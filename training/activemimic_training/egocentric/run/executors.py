"""Who performs tasks: processes of this machine, or (`ray_executor.py`) Ray's.

Stages that take a GPU have processes of their own, so that each loads its model once; all others share the workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from typing import Protocol

from activemimic_training.egocentric.run.stages import Outcome, Task, perform
from activemimic_training.egocentric.settings.pipeline_config import Resources

SHARED = "shared"


class Executor(Protocol):
    """Takes a task when it `has_room` for its stage; `next` gives the next outcome, None after `timeout_s`."""

    def has_room(self, stage: str) -> bool: ...

    def submit(self, task: Task) -> None: ...

    def next(self, timeout_s: float) -> Outcome | None: ...

    def close(self) -> None: ...


def group(stage: str, resources: Mapping[str, Resources]) -> str:
    """Whose processes perform a stage."""
    return stage if stage in resources and resources[stage].gpus > 0 else SHARED


def died(task: Task, how: str) -> Outcome:
    """What is said of a task whose process ended under it."""
    text = f"its process died ({how}): killed, out of memory, or a crash inside a library"
    return Outcome(task.item.id, task.stage, "failed", error=text, details={"key": {}, "traceback": ""})


class LocalExecutor:
    """`workers` processes for the stages without a GPU, and those that `resources` asks for. A dead one is replaced."""

    def __init__(self, workers: int, resources: Mapping[str, Resources]) -> None:
        self._resources = resources
        self._room = {SHARED: workers}
        self._room |= {stage: it.processes for stage, it in resources.items() if it.gpus > 0}
        self._idle: dict[str, list[_Process]] = {name: [] for name in self._room}
        self._busy: list[_Process] = []

    def has_room(self, stage: str) -> bool:
        return self._room[group(stage, self._resources)] > 0

    def submit(self, task: Task) -> None:
        name = group(task.stage, self._resources)
        self._room[name] -= 1
        process = self._idle[name].pop() if self._idle[name] else _Process()
        process.start(task)
        self._busy.append(process)

    def next(self, timeout_s: float) -> Outcome | None:
        ready = wait([process.connection for process in self._busy], timeout_s)
        if not ready:
            return None
        process = next(process for process in self._busy if process.connection is ready[0])
        self._busy.remove(process)
        assert process.task is not None
        name = group(process.task.stage, self._resources)
        self._room[name] += 1
        outcome = process.outcome()
        if process.alive:
            self._idle[name].append(process)
        return outcome

    def close(self) -> None:
        for process in [*self._busy, *(process for idle in self._idle.values() for process in idle)]:
            process.end()
        self._busy.clear()


class _Process:
    """One process, and the task that it performs."""

    def __init__(self) -> None:
        # Forking would copy threads and GPU contexts of whoever runs the pipeline.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.task: Task | None = None
        self.alive = True

    def start(self, task: Task) -> None:
        self.task = task
        self.connection.send(task)

    def outcome(self) -> Outcome:
        """Waits for it."""
        assert self.task is not None
        try:
            found: Outcome = self.connection.recv()
            return found
        except (EOFError, ConnectionError):
            self.alive = False
            self._process.join()
            return died(self.task, f"exit code {self._process.exitcode}")

    def end(self) -> None:
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection) -> None:
    """Perform what is sent, until whoever sends is gone; not a moment longer, as the next run may be under way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the one that runs the pipeline decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(perform(task))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
