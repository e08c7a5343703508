"""A simulation that keeps up with a clock."""

from __future__ import annotations

from collections import deque

import numpy as np

from activemimic_sim.world.simulation import Simulation

_MAX_CATCH_UP_S = 0.1  # a simulation that fell further behind lets the time pass, and says so by its real-time factor
_PACE_S = 2.0  # the real-time factor is of so long


class PacedSimulation:
    """Advances a simulation in real time; a command holds from when it was sent, not from the tick before.

    All times are of one monotonic clock, in seconds.
    """

    def __init__(self, simulation: Simulation, now_s: float) -> None:
        """Args: now_s: the time of the simulation's beginning."""
        self._simulation = simulation
        self._started_s = now_s
        self._pace: deque[tuple[float, float]] = deque()

    def advance_to(self, now_s: float) -> None:
        """Advance physics to a time, on what is commanded."""
        self._advance(now_s)
        self._pace.append((now_s, self._simulation.time_s))
        while now_s - self._pace[0][0] > _PACE_S:
            self._pace.popleft()

    def command_slots(self, indices: np.ndarray, values: np.ndarray, sent_s: float) -> None:
        """Set some servos' targets as `Simulation.command_slots` does; until they were sent, the former ones held.

        What was sent before the present of the simulation counts from now on.
        """
        self._advance(sent_s)
        self._simulation.command_slots(indices, values)

    def real_time_factor(self) -> float:
        """Simulated seconds a second, over the last two seconds."""
        if len(self._pace) < 2:
            return 1.0
        (wall_0, simulated_0), (wall_1, simulated_1) = self._pace[0], self._pace[-1]
        return (simulated_1 - simulated_0) / (wall_1 - wall_0)

    def _advance(self, time_s: float) -> None:
        behind_s = time_s - self._started_s - self._simulation.time_s
        if behind_s > _MAX_CATCH_UP_S:
            self._started_s += behind_s - _MAX_CATCH_UP_S
        self._simulation.advance_to(time_s - self._started_s)
