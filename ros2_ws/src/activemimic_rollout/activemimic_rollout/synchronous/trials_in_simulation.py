"""Trials in lock-step with the simulator: simulated time waits for the policy, so that a plan gives one result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from activemimic_data.dataset.video import VideoWriter
from activemimic_description.contract import load_contract
from activemimic_description.robot import load_robot
from activemimic_sim.tasks import make_task
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation

from activemimic_rollout.agents.agents import Agent, Serving, check_policy_name, make_agent, weights_digest
from activemimic_rollout.agents.latency import Latencies
from activemimic_rollout.lockstep import LockstepRobot
from activemimic_rollout.reports.trace import Trace
from activemimic_rollout.trials.results import Protocol, Trial, load_trials, media_of, save_trials
from activemimic_rollout.trials.trial_plan import PlannedTrial, TrialPlan
from activemimic_rollout.worker_batches import by_batches

WATCH_HZ = 10  # of the trace and the video


@dataclass(frozen=True)
class LockstepPlan:
    """What is tried, and by whom.

    Attributes:
        policy: "expert", "hold", "random", "replay:EPISODE" or a checkpoint's folder.
        video: keep a video of every trial.
        latency_ms: how late a checkpoint's chunks come.
        rtc_mode: how a checkpoint's chunks go on from one another, one of `activemimic_policy.rtc.RTC_MODES`.
        ablated_cameras: those that a checkpoint is shown black.
        instruction: what a checkpoint is told in place of each scene's own words; empty: those.
    """

    trials: TrialPlan
    policy: str
    contract: str = "g1_sim"
    perturbations: tuple[str, ...] = ()
    time_limit_s: float | None = None  # the task's own if None
    video: bool = True
    latency_ms: float = 0.0
    rtc_mode: str = "replace"
    ablated_cameras: tuple[str, ...] = ()
    instruction: str = ""

    def serving(self) -> Serving:
        latencies = Latencies([self.latency_ms]) if self.latency_ms else None
        return Serving(latencies, self.rtc_mode, self.ablated_cameras, self.instruction)

    def protocol(self) -> Protocol:
        """As it is kept in the results."""
        return Protocol(
            mode="lockstep",
            task=self.trials.task,
            policy=self.policy,
            plan=self.trials.name,
            time_limit_s=self.time_limit_s or make_task(self.trials.task).time_limit_s,
            contract=self.contract,
            weights=weights_digest(self.policy),
            perturbations=list(self.perturbations),
            latency_ms=self.latency_ms,
            rtc_mode=self.rtc_mode,
            ablated_cameras=list(self.ablated_cameras),
            instruction=self.instruction,
        )


def evaluate(
    plan: LockstepPlan,
    out: Path,
    workers: int = 2,
    progress: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Run the trials that `out/results.json` does not hold yet; return all of the plan's, by number.

    The file is written after every trial, so that a killed evaluation goes on where it was. Beside it lie, by trial,
    `trials/NNN.csv` (the trace: head, waist, stage and how much of the target was seen) and `trials/NNN.mp4`.

    Raises:
        SceneError, PolicyNameError: there is no such task, perturbation, cell or policy.
        ResultsError: the file holds trials of another protocol or plan.
        PolicyMismatchError: the checkpoint was trained for another robot interface.
        RtcError: the checkpoint cannot do so.
    """
    check_policy_name(plan.policy)
    Simulation(load_robot(load_contract(plan.contract).robot), make_task(plan.trials.task), plan.perturbations)
    protocol = plan.protocol()
    results = out / "results.json"
    trials = {trial.number: trial for trial in load_trials(results, protocol, plan.trials)}
    missing = [planned for planned in plan.trials.trials if planned.number not in trials]
    for trial in by_batches(partial(_run_batch, plan, protocol.time_limit_s, out), missing, workers):
        trials[trial.number] = trial
        save_trials(results, protocol, [trials[number] for number in sorted(trials)])
        progress(trial)
    return [trials[planned.number] for planned in plan.trials.trials]


def _run_batch(plan: LockstepPlan, time_limit_s: float, out: Path, trials: list[PlannedTrial]) -> Iterator[Trial]:
    contract = load_contract(plan.contract)
    simulation = Simulation(load_robot(contract.robot), make_task(plan.trials.task), plan.perturbations)
    robot = LockstepRobot(simulation, round(contract.rate_hz))
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    with robot.cameras(sizes) as cameras:
        agent = make_agent(plan.policy, robot, cameras, contract, plan.serving())
        for planned in trials:
            with _Watch(robot, cameras, out / media_of(planned.number), plan.video) as watch:
                trial = _run_one(robot, agent, watch, planned, time_limit_s)
            yield trial


def _run_one(robot: LockstepRobot, agent: Agent, watch: _Watch, planned: PlannedTrial, time_limit_s: float) -> Trial:
    robot.reset(planned.seed, planned.cell)
    agent.reset(planned.seed)
    every = max(1, round(robot.rate_hz / WATCH_HZ))
    stage_times_s: dict[str, float] = {}
    while True:
        if (chunk := agent.chunk_due()) is not None:
            robot.play(chunk, agent.source)
        if robot.index % every == 0:
            watch.look(next(reversed(stage_times_s), "start"))
        time_s = robot.simulation.time_s
        status = robot.tick().status
        stage_times_s.setdefault(status.stage, round(time_s, 3))
        holding = robot.controller.mode != "running"  # nobody is there to say the word
        if status.success or status.failure or holding or robot.simulation.time_s > time_limit_s:
            break
    failure = f"the controller holds: {robot.controller.reason}" if holding else f"not done within {time_limit_s:g} s"
    return Trial(
        number=planned.number,
        seed=planned.seed,
        cell=planned.cell,
        success=status.success,
        points=status.points,
        stage=status.stage,
        failure=status.failure or ("" if status.success else failure),
        time_s=round(robot.simulation.time_s, 3),
        stage_times_s=stage_times_s,
        first_seen_s=watch.trace.first_seen_s,
        head_travel_rad=round(watch.trace.head_travel_rad, 3),
        diagnostics={"controller": {kind: str(count) for kind, count in robot.controller.counters.items()}},
    )


class _Watch:
    """Keeps a trial's trace and, if asked, its video: `media`.csv and `media`.mp4."""

    def __init__(self, robot: LockstepRobot, cameras: CameraRenderer, media: Path, video: bool) -> None:
        self.trace = Trace()
        self._simulation, self._cameras = robot.simulation, cameras
        self._media, self._video = media, video
        self._writer: VideoWriter | None = None

    def look(self, stage: str) -> None:
        self.trace.add(self._simulation, self._cameras, stage)
        if self._video:
            self._film(list(self._cameras.render(self._simulation.data).values()))

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.trace.write(self._media.with_suffix(".csv"))
        if self._writer is not None:
            self._writer.close()

    def _film(self, images: list[np.ndarray]) -> None:
        height = min(image.shape[0] for image in images)
        view = np.hstack([image[:height] for image in images])
        if self._writer is None:
            self._media.parent.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(self._media.with_suffix(".mp4"), WATCH_HZ, view.shape[1], view.shape[0])
        self._writer.add(view)
