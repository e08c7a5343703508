"""What a task has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import mujoco
import numpy as np
from activemimic_description.robot import Robot


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
    """A verdict: `stage` is the furthest stage reached in this trial, `failure` says why it cannot succeed any more."""

    success: bool
    stage: str
    failure: str = ""


class Task(ABC):
    """One evaluation task. Objects are moved by contact alone.

    Attributes:
        stages: names in the order in which a good trial reaches them.
        time_limit_s: simulated seconds after which a trial has failed.
    """

    name: str
    instruction: str
    stages: tuple[str, ...]
    time_limit_s: float

    @abstractmethod
    def bodies(self) -> str:
        """The scene's bodies beside the robot, as MJCF elements of the worldbody (angles in radians)."""

    @abstractmethod
    def sample(self, seed: int, robot: Robot) -> Layout:
        """The layout of a seed: the same for ever, on every machine."""

    @abstractmethod
    def begin(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Forget the last trial."""

    @abstractmethod
    def status(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> TaskStatus:
        """The verdict `time_s` seconds after the reset."""
