"""Demonstrations by a task's expert, headless and faster than real time, as the same bags that the recorder writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from activemimic_data.bags import EpisodeWriter
from activemimic_data.bags.episode import Outcome
from activemimic_description.codec import encode_command, encode_image, encode_slots
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.contract import Contract, load_contract
from activemimic_description.messages import BagMessages
from activemimic_description.robot import load_robot
from activemimic_sim.tasks import make_task
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation

from activemimic_rollout.agents.agents import Agent, Serving, check_policy_name, make_agent, weights_digest
from activemimic_rollout.agents.dagger import ActionNoise, DaggerAgent
from activemimic_rollout.agents.intervention_schedule import InterventionSchedule
from activemimic_rollout.lockstep import LockstepRobot, Tick
from activemimic_rollout.trials.trial_plan import FIRST_HELD_OUT_SEED
from activemimic_rollout.worker_batches import by_batches

_JPEG_QUALITY = 90
_LEAST_SHOWN_S = 0.5  # an expert who takes over later has nothing to show


class HeldOutSeedError(InvalidInputError):
    """A scene that policies are evaluated on and therefore never learn from."""


@dataclass(frozen=True)
class DemonstrationPlan:
    """What is generated.

    Attributes:
        perturbations: how the scenes differ from the task's own look.
        cells: of the task, one after the other as seeds count up; none: each seed draws its own.
        camera_hz: how often the cameras are stored; the contract's own rate if None. Rendering is most of the work.
        late_starts: the share of episodes that begin in the midst of the motion, at some moment before
            `latest_start_s`: what every episode begins with, seen in a few of them, is enough to learn it.
        action_noise: how often a second, on average, action noise is added: one step of the working arms that no policy
            shall imitate. Its rows are masked, what follows shows how to recover.
        action_noise_rad: standard deviation of the joints in the largest action noise; others are down to a tenth of
            that, so that some are survived close to an object too.
        policy: a checkpoint that moves the robot in turns with the expert, who shows how to go on from where that
            policy gets to (DAgger, Ross et al. 2011). It begins, unrecorded, in place of late starts; in its later
            turns its rows are masked. Where it ruins the scene, or leaves nothing to do, the expert takes over earlier.
    """

    task: str
    contract: str = "g1_sim"
    perturbations: tuple[str, ...] = ()
    cells: tuple[int, ...] = ()
    camera_hz: int | None = None
    late_starts: float = 0.75
    latest_start_s: float = 5.0
    action_noise: float = 0.4
    action_noise_rad: float = 0.10
    policy: str = ""

    def cell(self, seed: int) -> int | None:
        """Of the scene of a seed; None where the seed draws it."""
        return self.cells[seed % len(self.cells)] if self.cells else None


@dataclass(frozen=True)
class Demonstration:
    seed: int
    folder: Path
    success: bool
    time_s: float


def generate(
    plan: DemonstrationPlan,
    out: Path,
    seeds: list[int],
    workers: int = 2,
    progress: Callable[[Demonstration], None] = lambda demonstration: None,
) -> list[Demonstration]:
    """One episode a seed in `out/<task>_<seed>`; those that are there already are not made again.

    Failed episodes are kept, with their outcome. What a killed run left half written is removed.

    Raises:
        SceneError: there is no such task, perturbation or cell.
        PolicyNameError, PolicyMismatchError: there is no such checkpoint, or it was trained for another robot.
        HeldOutSeedError: a seed belongs to the published trial plans.
    """
    held_out = [seed for seed in seeds if seed >= FIRST_HELD_OUT_SEED]
    if held_out:
        raise HeldOutSeedError(
            f"seed {held_out[0]}: expected seeds below {FIRST_HELD_OUT_SEED}; those from there on are for evaluation"
        )
    if plan.policy:
        check_policy_name(plan.policy)
    simulation = Simulation(load_robot(load_contract(plan.contract).robot), make_task(plan.task), plan.perturbations)
    for cell in plan.cells:
        simulation.reset(0, cell)
    out.mkdir(parents=True, exist_ok=True)
    for unfinished in out.glob("*.recording"):
        shutil.rmtree(unfinished)
    missing = [seed for seed in seeds if not _folder(out, plan, seed).exists()]
    made: list[Demonstration] = []
    for demonstration in by_batches(partial(_generate_share, plan, out), missing, workers):
        progress(demonstration)
        made.append(demonstration)
    return made


def _generate_share(plan: DemonstrationPlan, out: Path, seeds: list[int]) -> Iterator[Demonstration]:
    contract = load_contract(plan.contract)
    robot = LockstepRobot(
        Simulation(load_robot(contract.robot), make_task(plan.task), plan.perturbations), round(contract.rate_hz)
    )
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    with robot.cameras(sizes) as cameras:
        policy = make_agent(plan.policy, robot, cameras, contract, Serving()) if plan.policy else None
        extra: dict[str, object] = {"camera_hz": plan.camera_hz} if plan.camera_hz else {}
        if plan.policy:
            extra["policy"] = weights_digest(plan.policy)
        for seed in seeds:
            yield _generate_one(plan, contract, robot, cameras, policy, extra, _folder(out, plan, seed), seed)


def _generate_one(
    plan: DemonstrationPlan,
    contract: Contract,
    robot: LockstepRobot,
    cameras: CameraRenderer,
    policy: Agent | None,
    extra: dict[str, object],
    folder: Path,
    seed: int,
) -> Demonstration:
    rng = np.random.default_rng([seed, 11])
    if policy is None:
        late = rng.random() < plan.late_starts
        begins_s = rng.uniform(0.0, plan.latest_start_s) if late else 0.0
        dagger_agent = DaggerAgent(
            robot, seed, ActionNoise(plan.action_noise, plan.action_noise_rad, rng), cell=plan.cell(seed)
        )
        dagger_agent.advance(begins_s)
        return _record(plan, contract, robot, cameras, dagger_agent, extra, folder, seed)
    turns = InterventionSchedule.drawn(rng, make_task(plan.task).time_limit_s)
    while True:
        dagger_agent = DaggerAgent(
            robot, seed, ActionNoise(plan.action_noise, plan.action_noise_rad, rng), turns, policy, plan.cell(seed)
        )
        status = dagger_agent.advance(turns.first_s)
        if not (status.success or status.failure):
            demonstration = _record(plan, contract, robot, cameras, dagger_agent, extra, folder, seed)
            shown_s = demonstration.time_s - turns.first_s
            if (demonstration.success and shown_s >= _LEAST_SHOWN_S) or not turns.shorten(demonstration.time_s):
                return demonstration
            shutil.rmtree(folder)
        elif not turns.shorten(robot.simulation.time_s):
            turns.leave_to_expert()


def _record(
    plan: DemonstrationPlan,
    contract: Contract,
    robot: LockstepRobot,
    cameras: CameraRenderer,
    dagger_agent: DaggerAgent,
    extra: dict[str, object],
    folder: Path,
    seed: int,
) -> Demonstration:
    frames = robot.rate_hz // (plan.camera_hz or robot.rate_hz)
    if plan.cells:
        extra = {**extra, "cell": plan.cell(seed)}
    instruction = robot.simulation.instruction
    with EpisodeWriter(folder, contract, task=plan.task, instruction=instruction, seed=seed, extra=extra) as writer:
        episode = _Episode(writer, contract)
        while True:
            dagger_agent.move()
            images = cameras.render(robot.simulation.data) if robot.index % frames == 0 else {}
            tick = robot.tick()
            episode.write(tick, images)
            if tick.status.success or tick.status.failure:
                break
        outcome: Outcome = "success" if tick.status.success else "failure"
        writer.close(
            outcome, {"masked_ns": dagger_agent.masked_ns, "generated": "headless", "failure": tick.status.failure}
        )
    return Demonstration(seed, folder, tick.status.success, robot.simulation.time_s)


class _Episode:
    """Turns ticks into the messages that the robot's nodes would have published."""

    def __init__(self, writer: EpisodeWriter, contract: Contract) -> None:
        self._writer = writer
        self._contract = contract
        self._messages = BagMessages(writer.typestore)

    def write(self, tick: Tick, images: dict[str, np.ndarray]) -> None:
        for source in self._contract.state:
            message = encode_slots(source, tick.measured, tick.stamp_ns, self._messages)
            self._put(source.topic, source.type, message, tick.stamp_ns)
        for name, image in images.items():
            camera = self._contract.cameras[name]
            message = encode_image(camera, image, tick.stamp_ns, self._messages, _JPEG_QUALITY)
            self._put(camera.topic, camera.type, message, tick.stamp_ns)
        if tick.command.positions is None:
            return
        types = {sink.topic: sink.type for sink in self._contract.commands}
        for topic, message in encode_command(self._contract, tick.command.positions, tick.stamp_ns, self._messages):
            self._put(topic, types[topic], message, tick.stamp_ns)

    def _put(self, topic: str, type_name: str, message: object, stamp_ns: int) -> None:
        self._writer.write(topic, self._messages.serialize(message, type_name), stamp_ns)


def _folder(out: Path, plan: DemonstrationPlan, seed: int) -> Path:
    return out / f"{plan.task}_{seed:06d}"
