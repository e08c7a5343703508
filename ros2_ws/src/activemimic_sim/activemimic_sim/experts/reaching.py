"""The Reaching expert: look towards the region, rise, bring the hand over the obstacle, go down, close, lift."""

from __future__ import annotations

import numpy as np

from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.experts.hand import Hand, shortened, turned
from activemimic_sim.tasks.contacts import holds
from activemimic_sim.tasks.reaching import (
    CUBE_SIDE_M,
    OBSTACLE_SIZE_M,
    OBSTACLE_XY_M,
    REGION_CENTER_XY_M,
    REGION_SIDE_M,
    TABLE_HEIGHT_M,
)
from activemimic_sim.world.simulation import Simulation

_WEIGHTS = (0.3, 0.2, *(1.0,) * 7)  # body and arm share the motion: the arm's reach is a thin shell
# The right arm bent as it will go down on the cube; raised by the lift, this carries the hand over the obstacle.
_OVER_ARM_RAD = np.array([1.583, -1.083, -1.243, 1.44, -1.837, -1.68, -0.642])
_OVER_LIFT_M, _OVER_PITCH_RAD = 0.52, 0.12
_CROSS_FROM_LIFT_M, _CROSS_TO_LIFT_M = 0.30, 0.50  # the arm swings over while the body rises from here to there
_TILT_RAD = np.deg2rad(10.0)  # how far the tool leans forward when it points down
_OBSTACLE_BACK_X_M = OBSTACLE_XY_M[0] + OBSTACLE_SIZE_M[0] / 2
_REGION_XY_M = np.array(REGION_CENTER_XY_M) + REGION_SIDE_M / 2 * np.array([[-1.0], [1.0]])
_GRASP_ABOVE_TABLE_M = CUBE_SIDE_M / 2 - 0.003
_LIFT_BY_M = 0.17
_SPEED_M_S, _TURN_RAD_S = 0.4, 1.6
_CENTERED_M, _LEVEL_M = 0.008, 0.010  # close enough to the cube to close the gripper
_MISAIM_M = 0.05
_CLOSING = 0.2  # a gripper closed beyond this fraction is on its way to hold


class ReachingExpert(Expert):
    arms = ("right",)

    def __init__(self, simulation: Simulation, seed: int) -> None:
        super().__init__(simulation, seed)
        self._hand = Hand(simulation, "right", ("waist_lift", "waist_pitch"), _WEIGHTS)
        self._shift_m = simulation.task.shift_m
        self._over = np.array([_OVER_LIFT_M, _OVER_PITCH_RAD, *_OVER_ARM_RAD])
        self._rest = np.array([0.25, 0.30, *_OVER_ARM_RAD])
        # From afar the hand aims a few centimetres beside the cube, as anybody's would; near enough, it is corrected.
        self._misaim = _MISAIM_M * np.sqrt(self.rng.random()) * _direction(self.rng.uniform(-np.pi, np.pi))
        self._corrected_below_m = self.rng.uniform(0.07, 0.22)
        self._start_chain = simulation.measured()[self._hand.slots]

    def decide(self, command: np.ndarray) -> None:
        simulation, hand = self.simulation, self._hand
        tip, R = hand.pose()
        if tip[0] < _OBSTACLE_BACK_X_M + self._shift_m[0] + 0.03:
            command[hand.slots] = self._rise(command[hand.slots])
            command[hand.gripper_slot] = 0.0
        else:
            command[hand.slots], command[hand.gripper_slot] = self._pick(tip, R)
        hidden = simulation.measured()[hand.slots[0]] < _CROSS_FROM_LIFT_M
        region = np.array([*REGION_CENTER_XY_M, TABLE_HEIGHT_M]) + self._shift_m
        # Towards the region, and towards the cube once the body has risen enough to see it.
        self.look_at(region if hidden else simulation.data.body("cube").xpos, command)

    def _rise(self, chain: np.ndarray) -> np.ndarray:
        """Raise the body; the arm's swing over the obstacle follows the height already reached."""
        start = self._start_chain
        lift = self.simulation.measured()[self._hand.slots[0]]
        swing = np.clip((lift - _CROSS_FROM_LIFT_M) / (_CROSS_TO_LIFT_M - _CROSS_FROM_LIFT_M), 0.0, 1.0)
        target = start + swing * (self._over - start)
        target[0] = _OVER_LIFT_M
        change = target - chain
        limit = self._hand.step_limit * np.array([1.0, 0.5, *np.full(7, 0.4)]) * min(1.0, self.pace)
        return chain + np.clip(change, -limit, limit)

    def _pick(self, tip: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, float]:
        """One step of the hand behind the obstacle: (J,) chain joints and the gripper's fraction."""
        simulation = self.simulation
        cube = simulation.data.body("cube").xpos
        yaw = _folded_yaw(simulation.data.body("cube").xmat.reshape(3, 3))
        table_z = TABLE_HEIGHT_M + self._shift_m[2]
        grasp_z = table_z + _GRASP_ABOVE_TABLE_M
        if tip[2] - grasp_z < self._corrected_below_m:
            self._misaim = np.zeros(2)
        # Within the region: closer in, the hand would touch the obstacle; further out, the arm ends.
        aim = np.clip(cube[:2] + self._misaim, *(_REGION_XY_M + self._shift_m[:2])) if self._misaim.any() else cube[:2]
        off_center = float(np.linalg.norm(tip[:2] - aim))
        closed = self._hand.closed()
        gripper = 0.0
        if closed > _CLOSING and np.linalg.norm(tip - cube) < 0.035:
            gripper = 1.0
            goal = tip
            if holds(simulation.model, simulation.data, "gripper_r", "cube"):
                goal = np.array([tip[0], tip[1], table_z + CUBE_SIDE_M / 2 + _LIFT_BY_M])
        elif not self._misaim.any() and off_center < _CENTERED_M and abs(tip[2] - grasp_z) < _LEVEL_M:
            gripper = 1.0
            goal = np.array([cube[0], cube[1], grasp_z])
        else:
            # A funnel: the further from the cube's vertical, the higher the hand stays.
            goal = np.array([*aim, grasp_z + min(0.30, 3.0 * max(0.0, off_center - 0.006))])
        position = tip + shortened(goal - tip, self.pace * _SPEED_M_S * STEP_S)
        rotation = turned(R, _tool_down(yaw), _TURN_RAD_S * STEP_S)
        chain = self._hand.towards(position, rotation, self._rest)
        return chain, gripper


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
