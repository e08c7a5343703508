"""The Reaching expert: look towards the region, rise, bring the hand over the obstacle, go down, close, lift."""

from __future__ import annotations

import mujoco
import numpy as np

from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.ik import Chain
from activemimic_sim.simulation import Simulation
from activemimic_sim.tasks.reaching import (
    CUBE_SIDE_M,
    OBSTACLE_SIZE_M,
    OBSTACLE_XY_M,
    REGION_CENTER_XY_M,
    REGION_SIDE_M,
    TABLE_HEIGHT_M,
    holds,
)

_CHAIN = ("waist_lift", "waist_pitch", *(f"right_arm_{number}" for number in range(1, 8)))
_CHAIN_WEIGHTS = np.array([0.3, 0.2, *np.ones(7)])  # body and arm share the motion: the arm's reach is a thin shell
# The right arm bent as it will go down on the cube; raised by the lift, this carries the hand over the obstacle.
_OVER_ARM_RAD = np.array([1.583, -1.083, -1.243, 1.44, -1.837, -1.68, -0.642])
_OVER_LIFT_M, _OVER_PITCH_RAD = 0.52, 0.12
_CROSS_FROM_LIFT_M, _CROSS_TO_LIFT_M = 0.30, 0.50  # the arm swings over while the body rises from here to there
_TOOL_M = 0.14308  # from the gripper's base to the point between its fingertips
_TILT_RAD = np.deg2rad(10.0)  # how far the tool leans forward when it points down
_OBSTACLE_BACK_X_M = OBSTACLE_XY_M[0] + OBSTACLE_SIZE_M[0] / 2
_REGION_XY_M = np.array(REGION_CENTER_XY_M) + REGION_SIDE_M / 2 * np.array([[-1.0], [1.0]])
_GRASP_Z_M = TABLE_HEIGHT_M + CUBE_SIDE_M / 2 - 0.003
_LIFT_BY_M = 0.17
_SPEED_M_S, _TURN_RAD_S, _GAZE_RAD_S = 0.4, 1.6, 0.6
_CENTERED_M, _LEVEL_M = 0.008, 0.010  # close enough to the cube to close the gripper
_MISAIM_M = 0.05
_CLOSING = 0.2  # a gripper closed beyond this fraction is on its way to hold


class ReachingExpert(Expert):
    def __init__(self, simulation: Simulation, seed: int) -> None:
        super().__init__(simulation, seed)
        robot = simulation.robot
        self._slots = np.array([robot.slot_index[name] for name in _CHAIN])
        self._chain = Chain(
            simulation.model, [robot.slots[i].joint for i in self._slots], "gripper_r_base_link", _CHAIN_WEIGHTS
        )
        self._over = np.array([_OVER_LIFT_M, _OVER_PITCH_RAD, *_OVER_ARM_RAD])
        self._rest = np.array([0.25, 0.30, *_OVER_ARM_RAD])
        self._step_limit = 0.95 * STEP_S * robot.velocity[self._slots]
        self._gripper = robot.slot_index["right_gripper"]
        # From afar the hand aims a few centimetres beside the cube, as anybody's would; near enough, it is corrected.
        self._misaim = _MISAIM_M * np.sqrt(self.rng.random()) * _direction(self.rng.uniform(-np.pi, np.pi))
        self._corrected_below_m = self.rng.uniform(0.07, 0.22)
        self._command: np.ndarray | None = None
        self._start_chain = np.zeros(len(_CHAIN))

    def act(self) -> np.ndarray:
        simulation = self.simulation
        if self._command is None:
            self._command = simulation.measured()
            self._start_chain = self._command[self._slots]
        base, R = self._chain.pose(simulation.data.qpos)
        tip = base + _TOOL_M * R[:, 2]
        command = self._command.copy()
        if tip[0] < _OBSTACLE_BACK_X_M + 0.03:
            command[self._slots] = self._rise(command[self._slots])
            command[self._gripper] = 0.0
        else:
            command[self._slots], command[self._gripper] = self._pick(tip, R)
        self._look(command)
        self._command = np.clip(command, simulation.robot.lower, simulation.robot.upper)
        return self._command

    def _rise(self, chain: np.ndarray) -> np.ndarray:
        """Raise the body; the arm's swing over the obstacle follows the height already reached."""
        start = self._start_chain
        lift = self.simulation.measured()[self._slots[0]]
        swing = np.clip((lift - _CROSS_FROM_LIFT_M) / (_CROSS_TO_LIFT_M - _CROSS_FROM_LIFT_M), 0.0, 1.0)
        target = start + swing * (self._over - start)
        target[0] = _OVER_LIFT_M
        change = target - chain
        limit = self._step_limit * np.array([1.0, 0.5, *np.full(7, 0.4)]) * min(1.0, self.pace)
        return chain + np.clip(change, -limit, limit)

    def _pick(self, tip: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, float]:
        """One step of the hand behind the obstacle: (J,) chain joints and the gripper's fraction."""
        simulation = self.simulation
        cube = simulation.data.body("cube").xpos
        yaw = _folded_yaw(simulation.data.body("cube").xmat.reshape(3, 3))
        if tip[2] - _GRASP_Z_M < self._corrected_below_m:
            self._misaim = np.zeros(2)
        # Within the region: closer in, the hand would touch the obstacle; further out, the arm ends.
        aim = np.clip(cube[:2] + self._misaim, *_REGION_XY_M) if self._misaim.any() else cube[:2]
        off_center = float(np.linalg.norm(tip[:2] - aim))
        closed = simulation.measured()[self._gripper]
        gripper = 0.0
        if closed > _CLOSING and np.linalg.norm(tip - cube) < 0.035:
            gripper = 1.0
            goal = tip
            if holds(simulation.model, simulation.data, "gripper_r", "cube"):
                goal = np.array([tip[0], tip[1], TABLE_HEIGHT_M + CUBE_SIDE_M / 2 + _LIFT_BY_M])
        elif not self._misaim.any() and off_center < _CENTERED_M and abs(tip[2] - _GRASP_Z_M) < _LEVEL_M:
            gripper = 1.0
            goal = np.array([cube[0], cube[1], _GRASP_Z_M])
        else:
            # A funnel: the further from the cube's vertical, the higher the hand stays.
            goal = np.array([*aim, _GRASP_Z_M + min(0.30, 3.0 * max(0.0, off_center - 0.006))])
        position = tip + _shortened(goal - tip, self.pace * _SPEED_M_S * STEP_S)
        rotation = _towards(R, _tool_down(yaw), _TURN_RAD_S * STEP_S)
        chain = self._chain.step(
            simulation.data.qpos, position - _TOOL_M * rotation[:, 2], rotation, self._rest, self._step_limit
        )
        return chain, gripper

    def _look(self, command: np.ndarray) -> None:
        """Turn the head towards the region, and towards the cube once the body has risen enough to see it."""
        simulation = self.simulation
        camera = simulation.data.camera("head")
        hidden = simulation.measured()[self._slots[0]] < _CROSS_FROM_LIFT_M
        target = np.array([*REGION_CENTER_XY_M, TABLE_HEIGHT_M]) if hidden else simulation.data.body("cube").xpos
        right, up, back = camera.xmat.reshape(3, 3).T @ (target - camera.xpos)
        most = _GAZE_RAD_S * STEP_S * self.pace
        head = self.simulation.robot.slot_index
        command[head["head_yaw"]] -= np.clip(0.5 * np.arctan2(right, -back), -most, most)
        command[head["head_pitch"]] -= np.clip(0.5 * np.arctan2(up, -back), -most, most)


def _tool_down(yaw_rad: float) -> np.ndarray:
    """Rotation of the gripper's base: z down and a little forward, fingers apart along the yaw's left and right."""
    forward = np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0])
    z = np.sin(_TILT_RAD) * forward - np.array([0.0, 0.0, np.cos(_TILT_RAD)])
    y = np.array([-np.sin(yaw_rad), np.cos(yaw_rad), 0.0])
    return np.stack([np.cross(y, z), y, z], axis=1)


def _direction(angle_rad: float) -> np.ndarray:
    return np.array([np.cos(angle_rad), np.sin(angle_rad)])


def _folded_yaw(R: np.ndarray) -> float:
    """A cube's yaw, folded to within 45 degrees: its faces repeat."""
    return float((np.arctan2(R[1, 0], R[0, 0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def _shortened(vector: np.ndarray, length: float) -> np.ndarray:
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))


def _towards(R: np.ndarray, target: np.ndarray, angle_rad: float) -> np.ndarray:
    """`R` turned towards `target` by no more than an angle."""
    quaternion, turn, matrix = np.zeros(4), np.zeros(3), np.zeros(9)
    mujoco.mju_mat2Quat(quaternion, (target @ R.T).flatten())
    mujoco.mju_quat2Vel(turn, quaternion, 1.0)
    whole = float(np.linalg.norm(turn))
    mujoco.mju_axisAngle2Quat(quaternion, turn / max(whole, 1e-9), min(whole, angle_rad))
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3) @ R
