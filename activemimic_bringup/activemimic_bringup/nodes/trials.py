"""A series of trials through the running nodes: the evaluator without ROS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from activemimic_bringup.evaluation.results import Plan, Trial, load_trials, save_trials
from activemimic_bringup.nodes.topics import ENABLE_CONTROLLER, ENABLE_POLICY, EXPERT, RESET, START, STOP

STATUS_TIMEOUT_S = 5.0  # /sim/task comes many times a second; longer silence means that the simulator stands


class TrialError(RuntimeError):
    """A series that cannot go on; the text names the service or topic and what it answered."""


@dataclass(frozen=True)
class TaskStatus:
    """What /sim/task says, and when it came (s, on the client's clock)."""

    received_s: float
    task: str
    seed: int
    time_s: float  # simulated, since the reset
    success: bool
    failure: str = ""  # why the task can no longer succeed
    values: Mapping[str, str] = field(default_factory=dict)


class Client(Protocol):
    """The other nodes, as the evaluator uses them. Every call raises TrialError if it is not answered or refused."""

    def set_parameters(self, node: str, values: Mapping[str, Any]) -> None: ...
    def trigger(self, service: str) -> str: ...
    def set_bool(self, service: str, data: bool) -> str: ...
    def task_status(self) -> TaskStatus | None: ...
    def diagnostics(self) -> dict[str, dict[str, str]]: ...
    def now_s(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class TrialSeries:
    """Runs the trials of some seeds and keeps `results.json` up to date after every one."""

    def __init__(self, client: Client, plan: Plan, results: Path, say: Callable[[str], None]) -> None:
        """Raises ResultsError if `results` exists and holds another plan's trials."""
        self._client = client
        self._plan = plan
        self._results = Path(results)
        self._say = say
        self.trials = load_trials(self._results, plan)

    def run(self, seeds: list[int]) -> None:
        """Run the seeds that are not in the results yet. Raises TrialError, after having stopped the robot."""
        done = {trial.seed for trial in self.trials}
        for number, seed in enumerate(seeds, start=1):
            if seed in done:
                self._say(f"trial {number}/{len(seeds)}, seed {seed}: in {self._results} already")
                continue
            trial = self._run_one(seed)
            self.trials.append(trial)
            save_trials(self._results, self._plan, self.trials)
            outcome = "success" if trial.success else "no success"
            self._say(f"trial {number}/{len(seeds)}, seed {seed}: {outcome} after {trial.time_s:.1f} s")

    def _run_one(self, seed: int) -> Trial:
        client, plan = self._client, self._plan
        mover = ENABLE_POLICY.name if plan.mode == "policy" else EXPERT.name
        client.set_bool(mover, False)
        client.set_bool(ENABLE_CONTROLLER.name, False)
        client.set_parameters("/sim", {"task": plan.task, "seed": seed})
        reset_s = client.now_s()
        client.trigger(RESET.name)
        placed = self._wait_for_status(seed, reset_s)
        instruction = placed.values.get("instruction", "")
        if plan.mode == "policy" and instruction:
            client.set_parameters("/policy", {"instruction": instruction})
        if plan.record:
            about = {"task": plan.task, "seed": seed, "instruction": instruction}
            client.set_parameters("/recorder", about)
            episode = client.trigger(START.name)
        else:
            episode = ""
        started_s = client.now_s()
        try:
            client.set_bool(ENABLE_CONTROLLER.name, True)
            client.set_bool(mover, True)
            status = self._wait_for_end(seed, started_s)
        except BaseException:
            with contextlib.suppress(TrialError):
                client.set_bool(ENABLE_CONTROLLER.name, False)
            raise
        diagnostics = client.diagnostics()
        if plan.record:
            client.set_bool(STOP.name, status.success)
        client.set_bool(ENABLE_CONTROLLER.name, False)
        client.set_bool(mover, False)
        return Trial(
            seed=seed,
            success=status.success,
            time_s=status.time_s,
            wall_s=client.now_s() - started_s,
            status=dict(status.values),
            diagnostics=diagnostics,
            episode=episode,
        )

    def _wait_for_status(self, seed: int, since_s: float) -> TaskStatus:
        while self._client.now_s() - since_s < STATUS_TIMEOUT_S:
            status = self._client.task_status()
            if status and status.received_s > since_s and (status.task, status.seed) == (self._plan.task, seed):
                return status
            self._client.sleep(0.02)
        raise TrialError(
            f"/sim/task did not report task {self._plan.task}, seed {seed} within {STATUS_TIMEOUT_S:g} s of "
            f"/sim/reset; the last status is {self._client.task_status()}"
        )

    def _wait_for_end(self, seed: int, started_s: float) -> TaskStatus:
        start = self._wait_for_status(seed, started_s)
        while True:
            status = self._client.task_status() or start
            silent_s = self._client.now_s() - status.received_s
            if silent_s > STATUS_TIMEOUT_S:
                raise TrialError(f"/sim/task has been silent for {silent_s:.1f} s: does the simulator still run?")
            if status.success or status.failure or status.time_s - start.time_s >= self._plan.time_limit_s:
                return status
            self._client.sleep(0.02)
