"""What an expert has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from activemimic_sim.world.simulation import Simulation

STEP_S = 0.1  # an expert decides ten times a second, as the policies that learn from it
_GAZE_RAD_S = 0.6


class Expert(ABC):
    """A teleoperator in software. It decides from the present state alone, so it recovers from whatever happens.

    Attributes:
        arms: "left", "right" or both: which arms it works with in this trial.
    """

    arms: tuple[str, ...]

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self.simulation = simulation
        self.rng = np.random.default_rng([seed, 7])
        self.pace = self.rng.uniform(0.85, 1.1)  # nobody moves twice at the same speed
        self._command: np.ndarray | None = None

    def act(self) -> np.ndarray:
        """(S,) where the robot shall be `STEP_S` from now, in slot units."""
        robot = self.simulation.robot
        command = self.simulation.measured() if self._command is None else self._command.copy()
        self.decide(command)
        self._command = np.clip(command, robot.lower, robot.upper)
        return self._command

    def take_over(self) -> None:
        """Go on from where somebody else has brought the robot; `act` has been called meanwhile, to no effect."""
        self._command = None

    @abstractmethod
    def decide(self, command: np.ndarray) -> None:
        """Change where the robot was to be by now (S,) into where it shall be `STEP_S` from now."""

    def look_at(self, target: np.ndarray, command: np.ndarray) -> None:
        """Turn the head in `command` (S,) one step towards a point (3,) in the world."""
        camera = self.simulation.data.camera("head")
        right, up, back = camera.xmat.reshape(3, 3).T @ (target - camera.xpos)
        most = _GAZE_RAD_S * STEP_S * self.pace
        head = self.simulation.robot.slot_index
        command[head["head_yaw"]] -= np.clip(0.5 * np.arctan2(right, -back), -most, most)
        command[head["head_pitch"]] -= np.clip(0.5 * np.arctan2(up, -back), -most, most)
