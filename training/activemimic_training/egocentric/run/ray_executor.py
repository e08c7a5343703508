"""Tasks performed by Ray, on this machine or a cluster whose nodes share the folder of the run.

Stages without a GPU are Ray tasks, which wait for a free CPU; those with one are actors, which keep their model.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from activemimic_training.egocentric.run.executors import SHARED, died, group
from activemimic_training.egocentric.run.stages import Outcome, Task, perform
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfigError, Resources, RunningSection
from activemimic_training.egocentric_error import EgocentricError


class RayExecutor:
    """Performs up to `workers` tasks of stages without a GPU at once.

    Raises EgocentricConfigError if Ray is missing, or has less than the stages need: it would wait for ever;
    EgocentricError if it does not start.
    """

    def __init__(self, workers: int, running: RunningSection, stages: Sequence[str]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError:
            raise EgocentricConfigError(
                "executor ray: Ray is not installed: pip install 'activemimic_training[ray]'"
            ) from None
        self._ray: Any = ray
        self._resources = {stage: running.resources.get(stage, Resources()) for stage in stages}
        shared = [it for it in self._resources.values() if it.gpus == 0]
        actors = {stage: it for stage, it in self._resources.items() if it.gpus > 0}
        task_cpus = max((it.cpus for it in shared), default=0.0)
        actor_cpus = sum(it.cpus * it.processes for it in actors.values())
        # CPUs are tickets to Ray: enough for all, or its tasks wait for ever behind the actors.
        _start(ray, running.ray_address, math.ceil(actor_cpus + workers * max(task_cpus, 1.0)) + 1)
        try:
            _check(ray.cluster_resources(), actor_cpus + task_cpus, actors)
            self._actors = {stage: _actors(ray, it) for stage, it in actors.items()}
        except BaseException:
            ray.shutdown()
            raise
        self._room = {SHARED: workers, **{stage: len(found) for stage, found in self._actors.items()}}
        self._remote = ray.remote(max_retries=1)(perform)
        self._running: dict[Any, tuple[Task, Any]] = {}

    def has_room(self, stage: str) -> bool:
        return self._room[group(stage, self._resources)] > 0

    def submit(self, task: Task) -> None:
        name = group(task.stage, self._resources)
        self._room[name] -= 1
        if name == SHARED:
            actor = None
            reference = self._remote.options(num_cpus=self._resources[task.stage].cpus).remote(task)
        else:
            actor = self._actors[name].pop()
            reference = actor.perform.remote(task)
        self._running[reference] = task, actor

    def next(self, timeout_s: float) -> Outcome | None:
        ready, _ = self._ray.wait([*self._running], num_returns=1, timeout=timeout_s)
        if not ready:
            return None
        task, actor = self._running.pop(ready[0])
        name = group(task.stage, self._resources)
        self._room[name] += 1
        if actor is not None:
            self._actors[name].append(actor)
        try:
            outcome: Outcome = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            return died(task, type(error).__name__)
        return outcome

    def close(self) -> None:
        self._ray.shutdown()


def _start(ray: Any, address: str | None, cpus: int) -> None:
    """Join the cluster at `address`, or start Ray here. Raises EgocentricError."""
    here: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(address, log_to_driver=False, logging_level="error", **here)
    except Exception as error:  # Ray raises plain ones
        what = f"the cluster at {address} cannot be joined" if address else "it cannot be started here"
        raise EgocentricError(f"Ray: {what}: {' '.join(str(error).split())}") from None


class _Performer:
    def perform(self, task: Task) -> Outcome:
        return perform(task)


def _actors(ray: Any, resources: Resources) -> list[Any]:
    kind = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_restarts=-1)(_Performer)
    return [kind.remote() for _ in range(resources.processes)]


def _check(has: Mapping[str, float], cpus: float, actors: Mapping[str, Resources]) -> None:
    gpus = sum(it.gpus * it.processes for it in actors.values())
    for kind, needed in (("CPU", cpus), ("GPU", gpus)):
        if has.get(kind, 0.0) < needed:
            found = f"Ray has {has.get(kind, 0.0):g}"
            raise EgocentricConfigError(f"running.resources: expected {needed:g} {kind}s for every process, {found}")
