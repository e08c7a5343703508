"""Whether a robot could do what a chunk asks for; if not it is refused whole: half of it is a motion nobody planned.

A network is never exact, so a little more than the limits passes here and is limited on the way to the robot. What is
refused is a chunk that cannot be meant: of another robot, in other units, from a broken network.
"""

from __future__ import annotations

import numpy as np
from activemimic_description.robot import Robot
from activemimic_policy.execution.chunk import Chunk

from activemimic_bringup.control.chunk_fields import NS, ChunkRejectedError

BEYOND = 0.1  # of a slot's span, outside its position limits
TOO_FAST = 3.0  # times a slot's velocity limit, from one point to the next
REACH_S = 0.5  # of motion at full velocity: how far off its first point to come may lie from the measured posture


class Feasibility:
    """The check for one robot. Grippers are let through: theirs is a decision, drawn as a number near 0 or 1."""

    def __init__(self, robot: Robot) -> None:
        self._names = tuple(slot.name for slot in robot.slots)
        self._checked = np.array([not slot.is_gripper for slot in robot.slots])
        spare = BEYOND * (robot.upper - robot.lower)
        self._lower, self._upper, self._velocity = robot.lower - spare, robot.upper + spare, robot.velocity

    def check(self, chunk: Chunk, measured: np.ndarray, now_ns: int) -> None:
        """Raises ChunkRejectedError, naming slot, point, asked and limit; measured (S,)."""
        positions = chunk.positions
        outside = ((positions < self._lower) | (positions > self._upper)) & self._checked
        if outside.any():
            k, s = np.argwhere(outside)[0]
            raise ChunkRejectedError(
                "position",
                f"{self._names[s]} is {positions[k, s]:.3f} at point {k}, far outside its limits "
                f"({self._lower[s]:.3f} to {self._upper[s]:.3f} with what is let through)",
            )
        speed = np.abs(np.diff(positions, axis=0)) * (NS / chunk.step_ns)
        fast = (speed > TOO_FAST * self._velocity) & self._checked
        if fast.any():
            k, s = np.argwhere(fast)[0]
            raise ChunkRejectedError(
                "speed",
                f"{self._names[s]} would move at {speed[k, s]:.2f} a second from point {k} to the next; "
                f"its limit is {self._velocity[s]:.2f}",
            )
        ahead = (now_ns - chunk.stamp_ns) // chunk.step_ns
        first = int(np.clip(ahead, 0, len(positions) - 1))
        jump = np.abs(positions[first] - measured)
        far = (jump > REACH_S * self._velocity + chunk.step_ns / NS * self._velocity) & self._checked
        if far.any():
            s = int(np.flatnonzero(far)[0])
            raise ChunkRejectedError(
                "start",
                f"{self._names[s]} would start at {positions[first, s]:.3f} and is at {measured[s]:.3f}: "
                f"farther than {REACH_S} s at its full velocity",
            )
