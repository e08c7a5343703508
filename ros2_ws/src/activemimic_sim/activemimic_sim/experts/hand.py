"""A hand that an expert moves: one arm, helped by the waist, and the point between its fingertips."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.world.ik import Chain
from activemimic_sim.world.simulation import Simulation

TOOL_M = 0.14308  # from the gripper's base to the point between its fingertips, along its z axis


class Hand:
    """Axes of a hand: z out of the gripper, y along which the fingers close, x across both."""

    def __init__(
        self, simulation: Simulation, side: str, waist: Sequence[str], weights: Sequence[float], speed: float = 0.95
    ) -> None:
        """
        Args:
            side: "left" or "right".
            waist: slots that move with the arm, before its seven in the chain.
            weights: (J,) how readily each joint of the chain moves.
            speed: the share of each joint's velocity limit that may be used.
        """
        robot = simulation.robot
        names = [*waist, *(f"{side}_arm_{number}" for number in range(1, 8))]
        self.simulation = simulation
        self.gripper = f"gripper_{side[0]}"
        self.slots = np.array([robot.slot_index[name] for name in names])
        self.gripper_slot = robot.slot_index[f"{side}_gripper"]
        self.step_limit = speed * STEP_S * robot.velocity[self.slots]
        joints = [robot.slots[index].joint for index in self.slots]
        self._chain = Chain(simulation.model, joints, f"{self.gripper}_base_link", np.array(weights))

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """The measured point between the fingertips (3,) in the world, and the hand's rotation (3, 3)."""
        base, R = self._chain.pose(self.simulation.data.qpos)
        return base + TOOL_M * R[:, 2], R

    def closed(self) -> float:
        """How far the gripper is closed, as measured."""
        return float(self.simulation.measured()[self.gripper_slot])

    def towards(self, tip: np.ndarray, R: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """(J,) the chain one step towards a tip (3,) with rotation (3, 3); spare freedom is drawn to `rest` (J,)."""
        return self._chain.step(self.simulation.data.qpos, tip - TOOL_M * R[:, 2], R, rest, self.step_limit)


def shortened(vector: np.ndarray, length: float) -> np.ndarray:
    """A vector of the same direction, no longer than `length`."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))


def turned(R: np.ndarray, target: np.ndarray, angle_rad: float, share: float = 1.0) -> np.ndarray:
    """`R` turned towards `target` by a share of what is missing, and by no more than an angle."""
    quaternion, turn, matrix = np.zeros(4), np.zeros(3), np.zeros(9)
    mujoco.mju_mat2Quat(quaternion, (target @ R.T).flatten())
    mujoco.mju_quat2Vel(turn, quaternion, 1.0)
    whole = float(np.linalg.norm(turn))
    mujoco.mju_axisAngle2Quat(quaternion, turn / max(whole, 1e-9), min(share * whole, angle_rad))
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3) @ R


def aligning(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) from one unit vector (3,) to another, which must not be opposite."""
    axis = np.cross(start, end)
    skew = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + start @ end)
