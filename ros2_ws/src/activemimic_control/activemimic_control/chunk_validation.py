"""Whether a robot could do what a chunk asks for; if not it is refused whole: half of it is a motion nobody planned.

A network is never exact: its points lie around the motion it means, at rest by a few hundredths of a slot's span and
now and then by more, and a demonstration that ended at a limit was learnt with half of the noise beyond it. So much
passes here and is limited on the way to the robot. What is refused is a chunk that cannot be meant: of another robot,
in other units, from a broken network.
"""

from __future__ import annotations

import numpy as np
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import NS, ChunkRejectedError
from activemimic_description.robot import Robot

NOISE = 0.2  # of a slot's span: by so much a point may miss what is meant
GRIPPER = 5.0  # spans by which a gripper's number may miss both of its ends
TOO_FAST = 3.0  # times a slot's velocity limit, from one point to the next
REACH_S = 0.5  # of motion at full velocity: how far off its first point to come may lie from the measured posture


class ChunkValidator:
    """The check for one robot. A gripper's number may be far off: it is a decision, drawn near 0 or 1."""

    def __init__(self, robot: Robot) -> None:
        self._names = tuple(slot.name for slot in robot.slots)
        self._checked = np.array([not slot.is_gripper for slot in robot.slots])
        self._noise = NOISE * (robot.upper - robot.lower)
        span = robot.upper - robot.lower
        beyond = np.where(self._checked, self._noise, GRIPPER * span)
        self._lower, self._upper = robot.lower - beyond, robot.upper + beyond
        self._velocity = robot.velocity

    def check(self, chunk: Chunk, measured: np.ndarray, now_ns: int) -> None:
        """Raises ChunkRejectedError, naming slot, point, asked and limit; measured (S,)."""
        positions = chunk.positions
        outside = (positions < self._lower) | (positions > self._upper)
        if outside.any():
            k, s = np.argwhere(outside)[0]
            raise ChunkRejectedError(
                "position",
                f"{self._names[s]} is {positions[k, s]:.3f} at point {k}, far outside its limits "
                f"({self._lower[s]:.3f} to {self._upper[s]:.3f} with what is let through)",
            )
        step_s = chunk.step_ns / NS
        steps = np.abs(np.diff(positions, axis=0))
        fast = (steps > np.maximum(TOO_FAST * step_s * self._velocity, self._noise)) & self._checked
        if fast.any():
            k, s = np.argwhere(fast)[0]
            raise ChunkRejectedError(
                "speed",
                f"{self._names[s]} would move at {steps[k, s] / step_s:.2f} a second from point {k} to the next; "
                f"its limit is {self._velocity[s]:.2f}",
            )
        ahead = (now_ns - chunk.stamp_ns) // chunk.step_ns
        first = int(np.clip(ahead, 0, len(positions) - 1))
        jump = np.abs(positions[first] - measured)
        far = (jump > np.maximum((REACH_S + step_s) * self._velocity, self._noise)) & self._checked
        if far.any():
            s = int(np.flatnonzero(far)[0])
            raise ChunkRejectedError(
                "start",
                f"{self._names[s]} would start at {positions[first, s]:.3f} and is at {measured[s]:.3f}: "
                f"farther than {REACH_S} s at its full velocity",
            )
