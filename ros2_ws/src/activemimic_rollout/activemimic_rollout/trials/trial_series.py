"""A series of trials through the running nodes: the evaluator without ROS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from activemimic_description.common.errors import OperationError
from activemimic_description.stack_topics import (
    CONTROLLER_HOLD,
    CONTROLLER_RESET,
    RECORDER_START,
    RECORDER_STOP,
    SIM_EXPERT,
    SIM_RESET,
)

from activemimic_rollout.trials.results import Protocol as TrialProtocol
from activemimic_rollout.trials.results import Trial, load_trials, save_trials
from activemimic_rollout.trials.trial_plan import PlannedTrial, TrialPlan

STATUS_TIMEOUT_S = 5.0  # /sim/task comes many times a second; longer silence means that the simulator stands

REST_TIMEOUT_S = 3.0  # for a robot that brakes, or was just placed
SETTLED_S = 0.5  # after the words arm and run, what the controller told before them has arrived
ENDING_S = 0.5  # a controller that is told to end holds; within this time the evaluator has heard of it, too


class TrialError(OperationError):
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
    def operate(self, word: str) -> None: ...
    def set_active(self, node: str, active: bool) -> None: ...
    def task_status(self) -> TaskStatus | None: ...
    def diagnostics(self) -> dict[str, dict[str, str]]: ...
    def silent_s(self, node: str) -> float: ...
    def now_s(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class TrialSeries:
    """Runs the trials of a plan and keeps `results.json` up to date after every one."""

    def __init__(
        self,
        client: Client,
        protocol: TrialProtocol,
        plan: TrialPlan,
        record: bool,
        results: Path,
        say: Callable[[str], None],
    ) -> None:
        """Raises ResultsError if `results` exists and holds trials of another protocol or plan."""
        self._client = client
        self._protocol = protocol
        self._plan = plan
        self._record = record
        self._results = Path(results)
        self._say = say
        self.trials = load_trials(self._results, protocol, plan)

    def run(self) -> None:
        """Run the trials that are not in the results yet. Raises TrialError, after having stopped the robot."""
        done = {trial.number for trial in self.trials}
        count = len(self._plan.trials)
        for place, planned in enumerate(self._plan.trials, start=1):
            name = f"trial {place}/{count}, seed {planned.seed}"
            if planned.number in done:
                self._say(f"{name}: in {self._results} already")
                continue
            trial = self._run_one(planned)
            self.trials.append(trial)
            save_trials(self._results, self._protocol, self.trials)
            self._say(f"{name}: {'success' if trial.success else trial.failure} after {trial.time_s:.1f} s")

    def _run_one(self, planned: PlannedTrial) -> Trial:
        client, protocol, seed = self._client, self._protocol, planned.seed
        by_expert = protocol.policy == "expert"
        self._let_move(False)
        self._release_robot()
        cell = -1 if planned.cell is None else planned.cell
        perturbations = ",".join(protocol.perturbations)
        client.set_parameters(
            "/sim", {"task": protocol.task, "seed": seed, "cell": cell, "perturbations": perturbations}
        )
        reset_s = client.now_s()
        client.trigger(SIM_RESET.name)
        placed = self._wait_for_status(seed, reset_s)
        instruction = placed.values.get("instruction", "")
        if not by_expert and (told := protocol.instruction or instruction):
            client.set_parameters("/policy", {"instruction": told})
        episode = ""
        if self._record:
            about = {"task": protocol.task, "seed": seed, "instruction": instruction}
            client.set_parameters("/recorder", about)
            episode = client.trigger(RECORDER_START.name)
        stage_times_s: dict[str, float] = {}
        started_s = client.now_s()
        try:
            self._until_done(lambda: client.operate("arm"))  # a robot that was just placed is not believed at once
            client.operate("run")
            self._let_move(True)
            status = self._wait_for_end(seed, started_s, stage_times_s)
        except BaseException:
            with contextlib.suppress(TrialError):
                client.trigger(CONTROLLER_HOLD.name)
            raise
        diagnostics = client.diagnostics()
        failure = status.failure or f"not done within {protocol.time_limit_s:g} s"
        if reason := self._holds(started_s):
            failure = f"the controller holds: {reason}"
        if self._record:
            client.set_bool(RECORDER_STOP.name, status.success)
        self._let_move(False)
        self._release_robot()
        return Trial(
            number=planned.number,
            seed=seed,
            cell=planned.cell,
            success=status.success,
            points=int(status.values.get("points", 0)),
            stage=status.values.get("stage", ""),
            failure="" if status.success else failure,
            time_s=status.time_s,
            stage_times_s=stage_times_s,
            episode=episode,
            diagnostics=diagnostics,
        )

    def _let_move(self, moves: bool) -> None:
        if self._protocol.policy == "expert":
            self._client.set_bool(SIM_EXPERT.name, moves)
        else:
            self._client.set_active("/policy", moves)

    def _release_robot(self) -> None:
        """Brake, and command nothing once it rests."""
        self._client.trigger(CONTROLLER_HOLD.name)
        self._until_done(lambda: self._client.trigger(CONTROLLER_RESET.name))

    def _until_done(self, word: Callable[[], object]) -> None:
        """Say a word until it is done. Raises the last TrialError after REST_TIMEOUT_S."""
        deadline_s = self._client.now_s() + REST_TIMEOUT_S
        while True:
            try:
                word()
                return
            except TrialError:
                if self._client.now_s() > deadline_s:
                    raise
            self._client.sleep(0.05)

    def _wait_for_status(self, seed: int, since_s: float) -> TaskStatus:
        while self._client.now_s() - since_s < STATUS_TIMEOUT_S:
            status = self._client.task_status()
            if status and status.received_s > since_s and (status.task, status.seed) == (self._protocol.task, seed):
                return status
            self._client.sleep(0.02)
        raise TrialError(
            f"/sim/task did not report task {self._protocol.task}, seed {seed} within {STATUS_TIMEOUT_S:g} s of "
            f"/sim/reset; the last status is {self._client.task_status()}"
        )

    def _wait_for_end(self, seed: int, started_s: float, stage_times_s: dict[str, float]) -> TaskStatus:
        """The last status; notes on the way when each stage was reached first.

        It ends as well when the controller holds: nobody is there to say the word.
        """
        start = self._wait_for_status(seed, started_s)
        while True:
            status = self._client.task_status() or start
            if "stage" in status.values:
                stage_times_s.setdefault(status.values["stage"], status.time_s)
            silent_s = self._client.now_s() - status.received_s
            if silent_s > STATUS_TIMEOUT_S:
                raise TrialError(f"/sim/task has been silent for {silent_s:.1f} s: does the simulator still run?")
            over = status.success or status.failure or status.time_s - start.time_s >= self._protocol.time_limit_s
            if over:
                return status
            if self._holds(started_s):
                self._client.sleep(ENDING_S)
                return status
            self._client.sleep(0.02)

    def _holds(self, since_s: float) -> str:
        """Why the controller runs no more, by what it has told since; empty if it does."""
        controller = self._client.diagnostics().get("controller", {})
        told_s = self._client.now_s() - self._client.silent_s("controller")
        # Idle it is before it is armed, too; later it has left the robot to another one who commands it.
        wait_s = {"holding": 0.0, "idle": SETTLED_S}.get(controller.get("mode", ""))
        return controller["reason"] if wait_s is not None and told_s > since_s + wait_s else ""
