"""What an expert has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from activemimic_sim.simulation import Simulation

STEP_S = 0.1  # an expert decides ten times a second, as the policies that learn from it


class Expert(ABC):
    """A teleoperator in software. It decides from the present state alone, so it recovers from whatever happens."""

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self.simulation = simulation
        self.rng = np.random.default_rng([seed, 7])
        self.pace = self.rng.uniform(0.85, 1.1)  # nobody moves twice at the same speed

    @abstractmethod
    def act(self) -> np.ndarray:
        """(S,) where the robot shall be `STEP_S` from now, in slot units."""
