"""What a task has to offer, and how its verdict comes about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import mujoco
import numpy as np
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.robot import Robot

LASTS_S = 0.5  # how long the last stage must hold, unbroken, to be a success


class SceneError(InvalidInputError):
    """A task, cell or perturbation that there is not; the text names those that there are."""


@dataclass(frozen=True)
class Layout:
    """Where everything starts.

    Attributes:
        start: (S,) the robot's posture in slot units.
        objects: pose (7,) in the world by free joint: position in m, quaternion wxyz (MuJoCo's order).
    """

    start: np.ndarray
    objects: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskStatus:
    """A verdict.

    Attributes:
        stage: the furthest stage reached in this trial.
        failure: why it cannot succeed any more; empty while it can.
        points: how many of the task's `point_stages` were reached.
    """

    success: bool
    stage: str
    failure: str = ""
    points: int = 0


class Task(ABC):
    """One evaluation task. Objects are moved by contact alone.

    Attributes:
        instructions: the task in words; the first is the usual one, the others say the same otherwise.
        stages: names in the order in which a good trial reaches them, the first being "start".
        point_stages: stages that are worth a point each. The last stage's point needs success.
        cells: into how many cells a trial plan divides what a seed varies (regions, tiers, slots).
        target: the body that has to be found; how much of it the head sees is part of a trial's log.
        graspable: the bodies that hands have to grasp; where they were to the hands is part of a trial's log.
        furniture: fixed bodies of the scene. Wherever they stand, `shift_m` from where `bodies` puts them, the free
            objects stand with them.
        distractor_spots: where something not in the way may stand: (x, y, z) m, z of the surface, without shift.
        time_limit_s: simulated seconds after which a trial has failed.
    """

    name: str
    instructions: tuple[str, ...]
    stages: tuple[str, ...]
    point_stages: tuple[str, ...]
    cells: int
    target: str
    graspable: tuple[str, ...]
    furniture: tuple[str, ...]
    distractor_spots: tuple[tuple[float, float, float], ...] = ()
    time_limit_s: float

    def __init__(self) -> None:
        self.shift_m = np.zeros(3)
        self._stage = 0
        self._lasting_since_s: float | None = None

    @abstractmethod
    def bodies(self) -> str:
        """The scene's bodies beside the robot, as MJCF elements of the worldbody (angles in radians)."""

    @abstractmethod
    def place(self, rng: np.random.Generator, cell: int, robot: Robot) -> Layout:
        """A layout drawn within a cell, without shift."""

    @abstractmethod
    def stages_met(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, ...]:
        """Which of the stages after "start" hold at this instant."""

    @abstractmethod
    def ruined(self, model: mujoco.MjModel, data: mujoco.MjData) -> str:
        """Why the trial cannot succeed any more; empty while it can."""

    def sample(self, seed: int, robot: Robot, cell: int | None = None) -> Layout:
        """The layout of a seed: the same for ever, on every machine. The seed draws the cell where none is given."""
        if cell is not None and not 0 <= cell < self.cells:
            raise SceneError(f"task {self.name}: expected a cell of 0 to {self.cells - 1}, found {cell}")
        rng = np.random.default_rng([*self.name.encode(), seed])
        drawn = int(rng.integers(self.cells))
        return self.place(rng, drawn if cell is None else cell, robot)

    def begin(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Forget the last trial."""
        self._stage = 0
        self._lasting_since_s = None

    def status(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> TaskStatus:
        """The verdict `time_s` seconds after the reset."""
        met = self.stages_met(model, data)
        self._stage = max([self._stage, *(index for index, holds in enumerate(met, start=1) if holds)])
        if not met[-1]:
            self._lasting_since_s = None
        elif self._lasting_since_s is None:
            self._lasting_since_s = time_s
        lasted = self._lasting_since_s is not None and time_s - self._lasting_since_s >= LASTS_S
        failure = self.ruined(model, data)
        if not failure and not lasted and time_s > self.time_limit_s:
            failure = f"not done within {self.time_limit_s:g} s"
        success = lasted and not failure
        reached = self.stages[: self._stage + 1] if success else self.stages[: min(self._stage + 1, len(met))]
        points = sum(stage in reached for stage in self.point_stages)
        return TaskStatus(success, self.stages[self._stage], failure, points)


def in_grid(rng: np.random.Generator, cell: int, rows: int, columns: int) -> np.ndarray:
    """A point (2,) drawn within a cell of a unit square about the origin; cells are counted row by row.

    Axis 0 runs over the rows, axis 1 over the columns.
    """
    corner = np.array(divmod(cell, columns))
    return (corner + rng.uniform(0.0, 1.0, 2)) / (rows, columns) - 0.5


def jittered(rng: np.random.Generator, robot: Robot, start: dict[str, float], spread: dict[str, float]) -> np.ndarray:
    """A start posture (S,) about `start`, by slot; `spread` is the most by which the slots with a prefix differ."""
    most = [next(width for part, width in spread.items() if slot.name.startswith(part)) for slot in robot.slots]
    posture = np.array([start[slot.name] for slot in robot.slots]) + rng.uniform(-1.0, 1.0, len(most)) * most
    return np.clip(posture, robot.lower, robot.upper)


def standing(position: np.ndarray, yaw_rad: float = 0.0) -> np.ndarray:
    """The pose (7,) of an upright object."""
    return np.array([*position, np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)])
