"""An episode's actions sent to the simulated robot again, in the scene that its own seed places."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activemimic_data.dataset.video import VideoWriter
from activemimic_description.robot import load_robot
from activemimic_sim.tasks import make_task
from activemimic_sim.world.simulation import Simulation

from activemimic_rollout.agents.agents import Replay
from activemimic_rollout.agents.recorded_actions import RecordedActions, ReplayError
from activemimic_rollout.lockstep import LockstepRobot

_AFTER_S = 1.0  # a success has to last; the last command holds meanwhile
_FILM_HZ = 10


@dataclass(frozen=True)
class ReplayReport:
    """How closely the robot went along, and whether the task succeeded.

    Attributes:
        error: (T, S) measured in the replay minus measured in the recording, at every control period, slot units.
    """

    slots: list[str]
    units: list[str]
    error: np.ndarray
    success: bool
    stage: str
    failure: str
    time_s: float


def replay(recorded: RecordedActions, perturbations: tuple[str, ...] = (), video: Path | None = None) -> ReplayReport:
    """Replay an episode in lock-step with the simulator, through the robot's controller.

    The robot begins in the recorded posture: an episode may begin in the midst of the motion.

    Args:
        perturbations: those that the scene was recorded with.
        video: where to film it; not filmed if None.

    Raises:
        ReplayError: the episode is not of a simulated scene.
        SceneError: there is no such task or perturbation.
    """
    if recorded.seed is None:
        raise ReplayError(f"{recorded.name}: has no seed; expected an episode that was recorded in the simulator")
    contract = recorded.contract
    simulation = Simulation(load_robot(contract.robot), make_task(recorded.task), perturbations)
    robot = LockstepRobot(simulation, round(contract.rate_hz))
    robot.reset(recorded.seed, start=recorded.measured[0])
    agent = Replay(robot, recorded)
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    times_s, measured = [], []
    with _Film(robot, sizes, video) if video else nullcontext() as film:
        while True:
            if film and robot.index % max(1, robot.rate_hz // _FILM_HZ) == 0:
                film.look()
            if (chunk := agent.chunk_due()) is not None:
                robot.play(chunk, agent.source)
            times_s.append(simulation.time_s)
            tick = robot.tick()
            measured.append(tick.measured)
            if tick.status.success or tick.status.failure or simulation.time_s > recorded.duration_s + _AFTER_S:
                break
    compared = np.array(times_s) <= recorded.measured_s[-1]
    error = np.array(measured)[compared] - recorded.measured_at(np.array(times_s)[compared])
    slots = simulation.robot.slots
    return ReplayReport(
        [slot.name for slot in slots],
        [slot.unit for slot in slots],
        error,
        tick.status.success,
        tick.status.stage,
        tick.status.failure,
        round(simulation.time_s, 3),
    )


class _Film:
    """The cameras side by side, as H.264."""

    def __init__(self, robot: LockstepRobot, sizes: dict[str, tuple[int, int]], path: Path) -> None:
        self._robot, self._cameras = robot, robot.cameras(sizes)
        self._height = min(height for height, _ in sizes.values())
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = VideoWriter(path, _FILM_HZ, sum(width for _, width in sizes.values()), self._height)

    def look(self) -> None:
        images = self._cameras.render(self._robot.simulation.data).values()
        self._writer.add(np.hstack([image[: self._height] for image in images]))

    def __enter__(self) -> _Film:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._cameras.close()
