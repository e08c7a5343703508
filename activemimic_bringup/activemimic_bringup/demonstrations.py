"""Demonstrations by a task's expert, headless and faster than real time, as the same bags that the recorder writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from activemimic_description.codec import encode_command, encode_image, encode_slots
from activemimic_description.contract import Contract, load_contract
from activemimic_description.messages import BagMessages
from activemimic_description.robot import load_robot
from activemimic_policy.execution.chunk import Chunk
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.rendering import CameraRenderer
from activemimic_sim.simulation import Simulation
from activemimic_sim.tasks import make_task
from activemimic_training.bags import EpisodeWriter
from activemimic_training.bags.episode import Outcome

from activemimic_bringup.evaluation.plan import FIRST_HELD_OUT_SEED
from activemimic_bringup.lockstep import LockstepRobot, Tick
from activemimic_bringup.parallel import by_batches

_STEP_NS = round(STEP_S * 1e9)
_JPEG_QUALITY = 90


class HeldOutSeedError(ValueError):
    """A scene that policies are evaluated on and therefore never learn from."""


@dataclass(frozen=True)
class DemonstrationPlan:
    """What is generated.

    Attributes:
        variations: how the scenes differ from the task's own look.
        camera_hz: how often the cameras are stored; the contract's own rate if None. Rendering is most of the work.
        late_starts: the share of episodes that begin in the midst of the motion, at some moment before
            `latest_start_s`: what every episode begins with, seen in a few of them, is enough to learn it.
        slips: how often a second, on average, the hand slips: one step of the working arms that no policy
            shall imitate. Its rows are masked, what follows shows how to recover.
        slip_rad: the joints' standard deviation in the largest slips; others are down to a tenth of that, so that some
            are survived close to an object too.
    """

    task: str
    contract: str = "g1_sim"
    variations: tuple[str, ...] = ()
    camera_hz: int | None = None
    late_starts: float = 0.75
    latest_start_s: float = 5.0
    slips: float = 0.4
    slip_rad: float = 0.10


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
        SceneError: there is no such task or variation.
        HeldOutSeedError: a seed belongs to the published trial plans.
    """
    held_out = [seed for seed in seeds if seed >= FIRST_HELD_OUT_SEED]
    if held_out:
        raise HeldOutSeedError(
            f"seed {held_out[0]}: expected seeds below {FIRST_HELD_OUT_SEED}; those from there on are for evaluation"
        )
    Simulation(load_robot(load_contract(plan.contract).robot), make_task(plan.task), plan.variations)
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
        Simulation(load_robot(contract.robot), make_task(plan.task), plan.variations), round(contract.rate_hz)
    )
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    with robot.cameras(sizes) as cameras:
        for seed in seeds:
            yield _generate_one(plan, contract, robot, cameras, _folder(out, plan, seed), seed)


def _generate_one(
    plan: DemonstrationPlan,
    contract: Contract,
    robot: LockstepRobot,
    cameras: CameraRenderer,
    folder: Path,
    seed: int,
) -> Demonstration:
    robot.reset(seed)
    expert = make_expert(robot.simulation, seed)
    rng = np.random.default_rng([seed, 11])
    late = rng.random() < plan.late_starts
    starts_at = round(rng.uniform(0.0, plan.latest_start_s) / STEP_S) if late else 0
    slips = _Slips(plan, rng)
    steps = round(robot.rate_hz * STEP_S)
    for _ in range(starts_at):
        robot.play(Chunk(robot.stamp_ns, _STEP_NS, expert.act()[None]), "teleop")
        for _ in range(steps):
            robot.tick()
    frames = robot.rate_hz // (plan.camera_hz or robot.rate_hz)
    extra = {"camera_hz": plan.camera_hz} if plan.camera_hz else {}
    instruction = robot.simulation.instruction
    with EpisodeWriter(folder, contract, task=plan.task, instruction=instruction, seed=seed, extra=extra) as writer:
        episode = _Episode(writer, contract)
        while True:
            if robot.index % steps == 0:
                positions = slips.apply(expert, robot.stamp_ns)
                robot.play(Chunk(robot.stamp_ns, _STEP_NS, positions[None]), "teleop")
            images = cameras.render(robot.simulation.data) if robot.index % frames == 0 else {}
            tick = robot.tick()
            episode.write(tick, images)
            if tick.status.success or tick.status.failure:
                break
        outcome: Outcome = "success" if tick.status.success else "failure"
        writer.close(outcome, {"masked_ns": slips.masked_ns, "generated": "headless", "failure": tick.status.failure})
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


class _Slips:
    """Now and then displaces an arm for one step, and remembers which rows of the dataset show it."""

    def __init__(self, plan: DemonstrationPlan, rng: np.random.Generator) -> None:
        self._probability = plan.slips * STEP_S
        self._spread_rad = plan.slip_rad
        self._rng = rng
        self.masked_ns: list[list[int]] = []

    def apply(self, expert: Expert, stamp_ns: int) -> np.ndarray:
        """(S,) the expert's target for the coming step, or a slip away from it."""
        target = expert.act()
        if self._rng.random() >= self._probability:
            return target
        # The row before this step already sees the first command towards the slip.
        self.masked_ns.append([stamp_ns - _STEP_NS, stamp_ns + _STEP_NS - 1])
        robot = expert.simulation.robot
        prefixes = tuple(f"{side}_arm" for side in expert.arms)
        arms = np.array([slot.name.startswith(prefixes) for slot in robot.slots])
        spread_rad = self._spread_rad * self._rng.uniform(0.1, 1.0)
        slip = self._rng.normal(0.0, spread_rad, len(robot.slots)) * arms
        return np.clip(target + slip, robot.lower, robot.upper)


def _folder(out: Path, plan: DemonstrationPlan, seed: int) -> Path:
    return out / f"{plan.task}_{seed:06d}"
