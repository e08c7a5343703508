"""The simulator, the controller and an agent in one process on simulated time: fast, and the same for a seed for ever.

The controller and its chunk player are those of the robot. The clock and the transport are not, nor is the rate: one
command for each measured state, 30 a second from `g1_sim`, where the controller's node sends 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from activemimic_control.controller import Command, Controller, ControllerConfig, Source, Verdict
from activemimic_control.state_filter import CONFIRMATIONS
from activemimic_description.chunk import Chunk
from activemimic_sim.tasks import TaskStatus
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation

START_NS = 1_000_000_000_000  # stamps begin here, so that nothing is ever stamped zero


@dataclass(frozen=True)
class Tick:
    """One control period: the state it began with and the command that it sent."""

    index: int
    stamp_ns: int
    measured: np.ndarray  # (S,) slot units
    command: Command
    status: TaskStatus


class LockstepRobot:
    """A simulated robot behind its controller, advanced one control period at a time."""

    def __init__(self, simulation: Simulation, rate_hz: int) -> None:
        self.simulation = simulation
        self.rate_hz = rate_hz
        config = ControllerConfig(period_s=1.0 / rate_hz)
        self.controller = Controller(simulation.robot, config)
        self._index = 0

    def reset(self, seed: int, cell: int | None = None, start: np.ndarray | None = None) -> None:
        """Place everything as the task samples it for seed and cell, or the robot in the posture `start` (S,).

        The controller starts from the robot's posture.
        """
        self.simulation.reset(seed, cell, start)
        self.controller = Controller(self.simulation.robot, self.controller.config)
        self._index = 0
        for _ in range(CONFIRMATIONS):  # in simulated time nothing passes
            self._measure()
        for refusal in (self.controller.arm(self.stamp_ns), self.controller.run(self.stamp_ns)):
            assert not refusal, refusal

    @property
    def index(self) -> int:
        """Control periods since the reset."""
        return self._index

    @property
    def stamp_ns(self) -> int:
        """The present simulated time."""
        return START_NS + self._index * 1_000_000_000 // self.rate_hz

    def play(self, chunk: Chunk, source: Source) -> Verdict:
        """Hand a chunk to the controller."""
        return self.controller.on_chunk(chunk, source, self.stamp_ns)

    def tick(self) -> Tick:
        """Send the controller's command for now and advance physics by one period."""
        stamp_ns, measured = self.stamp_ns, self.simulation.measured()
        status = self.simulation.status()
        command = self.controller.update(stamp_ns)
        if command.positions is not None:
            self.simulation.command(command.positions)
        tick = Tick(self._index, stamp_ns, measured, command, status)
        self._index += 1
        self.simulation.advance_to(self._index / self.rate_hz)
        self._measure()
        return tick

    def cameras(self, sizes: Mapping[str, tuple[int, int]]) -> CameraRenderer:
        """A renderer of the robot's cameras; `sizes` gives (height, width) by camera."""
        return self.simulation.cameras(sizes)

    def _measure(self) -> None:
        self.controller.on_state(self.simulation.measured(), self.stamp_ns, self.stamp_ns)
