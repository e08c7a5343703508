"""Trials in lock-step with the simulator: simulated time waits for the policy, so that a seed gives one result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from activemimic_description.codec import decode_image, encode_image
from activemimic_description.contract import Contract, load_contract
from activemimic_description.messages import BagMessages
from activemimic_description.robot import load_robot
from activemimic_policy.execution.chunk import Chunk
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.rendering import CameraRenderer
from activemimic_sim.simulation import Simulation
from activemimic_sim.tasks import make_task

from activemimic_bringup.control.controller import Source
from activemimic_bringup.evaluation.results import Plan, Trial, load_trials, save_trials
from activemimic_bringup.lockstep import LockstepRobot
from activemimic_bringup.parallel import by_batches

_NS = 1_000_000_000


@dataclass(frozen=True)
class LockstepPlan:
    """What is tried, and by whom.

    Attributes:
        checkpoint: the policy's folder; the task's expert acts if None.
        without_cameras: cameras whose images the policy sees black.
    """

    task: str
    contract: str = "g1_sim"
    checkpoint: str | None = None
    without_cameras: tuple[str, ...] = ()
    time_limit_s: float | None = None  # the task's own if None


def evaluate(
    plan: LockstepPlan,
    seeds: Sequence[int],
    results: Path,
    workers: int = 2,
    progress: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Run the seeds that `results` (a JSON file) does not hold yet; return all trials, by seed.

    The file is written after every trial, so that a killed evaluation goes on where it was.

    Raises:
        ResultsError: the file holds trials of another plan.
        PolicyMismatchError: the checkpoint was trained for another robot interface.
    """
    kept = Plan(
        mode="policy" if plan.checkpoint else "expert",
        task=plan.task,
        time_limit_s=plan.time_limit_s or make_task(plan.task).time_limit_s,
        record=False,
        checkpoint=plan.checkpoint or "",
        contract=plan.contract,
        without_cameras=list(plan.without_cameras),
    )
    trials = {trial.seed: trial for trial in load_trials(results, kept)}
    missing = [seed for seed in seeds if seed not in trials]
    for trial in by_batches(partial(_run_batch, plan, kept.time_limit_s), missing, workers):
        trials[trial.seed] = trial
        save_trials(results, kept, [trials[seed] for seed in sorted(trials)])
        progress(trial)
    return [trials[seed] for seed in sorted(trials) if seed in set(seeds)]


def _run_batch(plan: LockstepPlan, time_limit_s: float, seeds: list[int]) -> Iterator[Trial]:
    contract = load_contract(plan.contract)
    robot = LockstepRobot(Simulation(load_robot(contract.robot), make_task(plan.task)), round(contract.rate_hz))
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    with robot.cameras(sizes) as cameras:
        expert = plan.checkpoint is None
        mover: _Mover = _ExpertMover(robot) if expert else _PolicyMover(robot, cameras, contract, plan)
        for seed in seeds:
            yield _run_one(robot, mover, seed, time_limit_s)


def _run_one(robot: LockstepRobot, mover: _Mover, seed: int, time_limit_s: float) -> Trial:
    started_s = time.monotonic()
    robot.reset(seed)
    mover.reset(seed)
    while True:
        if robot.index % mover.period_ticks == 0:
            robot.play(mover.chunk(), mover.source)
        status = robot.tick().status
        if status.success or status.failure or robot.simulation.time_s > time_limit_s:
            break
    return Trial(
        seed=seed,
        success=status.success,
        time_s=robot.simulation.time_s,
        wall_s=time.monotonic() - started_s,
        status={"stage": status.stage, "failure": status.failure},
        diagnostics={"controller": {kind: str(count) for kind, count in robot.controller.counters.items()}},
    )


class _Mover(Protocol):
    """Who gives the chunks: every `period_ticks` control periods one."""

    source: Source
    period_ticks: int

    def reset(self, seed: int) -> None: ...
    def chunk(self) -> Chunk: ...


class _ExpertMover:
    source: Source = "teleop"

    def __init__(self, robot: LockstepRobot) -> None:
        self._robot = robot
        self.period_ticks = round(robot.rate_hz * STEP_S)

    def reset(self, seed: int) -> None:
        self._expert = make_expert(self._robot.simulation, seed)

    def chunk(self) -> Chunk:
        return Chunk(self._robot.stamp_ns, round(STEP_S * _NS), self._expert.act()[None])


class _PolicyMover:
    source: Source = "policy"

    def __init__(self, robot: LockstepRobot, cameras: CameraRenderer, contract: Contract, plan: LockstepPlan) -> None:
        from activemimic_bringup.checked_policy import load_checked_policy  # seconds of torch

        assert plan.checkpoint is not None
        self._robot, self._cameras, self._contract = robot, cameras, contract
        self._without = plan.without_cameras
        self._policy = load_checked_policy(plan.checkpoint, "cpu", 1, contract)
        spec = self._policy.spec
        self._step_ns = spec.step_ns
        self._noise_shape = (spec.horizon, len(spec.slots))
        self._messages = BagMessages()
        self.period_ticks = round(robot.rate_hz * spec.execute_steps / spec.fps)

    def reset(self, seed: int) -> None:
        self._random = np.random.default_rng([seed, 13])

    def chunk(self) -> Chunk:
        stamp_ns = self._robot.stamp_ns
        images = {}
        for name, rendered in self._cameras.render(self._robot.simulation.data).items():
            camera = self._contract.cameras[name]
            # Through the camera's own encoding, so that the policy sees what it sees on the robot.
            images[name] = decode_image(camera, encode_image(camera, rendered, stamp_ns, self._messages))
            if name in self._without:
                images[name] = np.zeros_like(images[name])
        state = self._robot.simulation.measured()
        instruction = self._robot.simulation.instruction
        noise = self._random.standard_normal(self._noise_shape)
        return Chunk(stamp_ns, self._step_ns, self._policy.infer(images, state, instruction, noise))
