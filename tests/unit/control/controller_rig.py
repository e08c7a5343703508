"""A controller on a clock that the test turns, and a robot that does what it is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from activemimic_control.controller import Controller, ControllerConfig
from activemimic_control.state_filter import CONFIRMATIONS
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import ChunkFields, fields_of
from activemimic_description.robot import load_robot

ROBOT = load_robot("g1")
NAMES = tuple(slot.name for slot in ROBOT.slots)
S = len(NAMES)
PERIOD_NS = 10_000_000
STEP_NS = 33_333_333
T0 = 1_000_000_000_000
ELBOW = NAMES.index("left_arm_4")
LEFT_GRIPPER = NAMES.index("left_gripper")


class Rig:
    """A controller whose robot is where it was commanded to be one cycle ago."""

    def __init__(self, **config: object) -> None:
        self.controller = Controller(ROBOT, ControllerConfig(**config))  # type: ignore[arg-type]
        self.now_ns = T0
        self.measured = ROBOT.home.copy()
        self.commands: list[np.ndarray] = []
        self.follows = True

    def standing(self) -> Rig:
        """Where it stands is known: enough states say so, in a moment of no length."""
        for _ in range(CONFIRMATIONS):
            self.controller.on_state(self.measured, self.now_ns, self.now_ns)
        return self

    def running(self) -> Rig:
        self.standing().tick()
        assert self.controller.arm(self.now_ns) == ""
        assert self.controller.run(self.now_ns) == ""
        self.tick()
        return self

    def tick(self, count: int = 1, state: bool = True):
        for _ in range(count):
            self.now_ns += PERIOD_NS
            if state:
                self.controller.on_state(self.measured, self.now_ns, self.now_ns)
            command = self.controller.update(self.now_ns, self.now_ns)
            if command.positions is not None and not command.shadow:
                self.commands.append(command.positions)
                if self.follows:
                    self.measured = command.positions.copy()
        return command

    def chunk(self, positions: np.ndarray | None = None, points: int = 50) -> Chunk:
        target = self.measured if positions is None else positions
        return Chunk(stamp_ns=self.now_ns, step_ns=STEP_NS, positions=np.tile(target, (points, 1)))

    def fields(self, **changes: object) -> ChunkFields:
        return replace(fields_of(self.chunk(), NAMES), **changes)  # type: ignore[arg-type]

    def play(self, positions: np.ndarray | None = None, source: str = "policy", points: int = 50):
        return self.controller.on_chunk(self.chunk(positions, points), source, self.now_ns)


def moved(slots: np.ndarray, index: int, by: float) -> np.ndarray:
    result = slots.copy()
    result[index] += by
    return result


def assert_within_limits(commands: list[np.ndarray], orders: int = 3) -> None:
    path, dt = np.array(commands), PERIOD_NS / 1e9
    assert (path >= ROBOT.lower - 1e-12).all()
    assert (path <= ROBOT.upper + 1e-12).all()
    for order, limit in ((1, ROBOT.velocity), (2, ROBOT.acceleration), (3, ROBOT.jerk))[:orders]:
        assert (np.abs(np.diff(path, order, axis=0)) <= limit * dt**order * (1 + 1e-6) + 1e-9).all(), order
