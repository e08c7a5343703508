"""The Finding expert: look left, or where the words say, else right; then that side's hand goes there and lifts.

Both hands are drawn back meanwhile: beside the nearest yogurts they would hide them, and sweep them away.
"""

from __future__ import annotations

import numpy as np

from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.experts.hand import Hand, aligning, shortened, turned
from activemimic_sim.tasks.contacts import holds, tilt_rad, view_angles_rad
from activemimic_sim.tasks.finding import (
    REGION_CENTER_XY_M,
    SIDE_INSTRUCTIONS,
    TABLE_HEIGHT_M,
    YOGURT_HEIGHT_M,
    YOGURT_RADIUS_M,
)
from activemimic_sim.world.simulation import Simulation

_OUTWARDS = {"left": 1.0, "right": -1.0}
_OTHER = {"left": "right", "right": "left"}
_WEIGHTS = (0.1, 0.03, *(1.0,) * 7)  # body and arm share the motion: the arm's reach is a thin shell
_REST_LIFT_M, _REST_PITCH_RAD = 0.40, 0.12
# The left arm with its hand level in the middle of its region; the right one is its mirror image.
_REST_ARM_RAD = np.array([0.209, 0.829, -0.302, -1.041, -0.250, 0.665, -2.174])
# The left arm while it looks: its hand 10 cm closer to the body than any yogurt, turned inwards as at the start.
_DRAWN_BACK_RAD = np.array([0.475, 0.960, 0.155, -0.930, 0.050, 1.420, -2.000])
_DRAWING_RAD_S = 0.7  # of the joint that has furthest to go
# The further outwards, the more the tool turns outwards: so the wrist stays where the arm carries it.
_STRAIGHT_AT_Y_M, _TURN_RAD_M, _MOST_TURN_RAD = 0.40, np.deg2rad(170.0), np.deg2rad(60.0)
_GRASP_ABOVE_TABLE_M = 0.08
# How far the fingertips shall reach beyond the yogurt's axis, to one side of it, and above the usual height: policies
# grasp it anyhow, and shall have seen that it can be lifted so. At the very ends of the fingers it cannot.
_GRASP_M = (0.005, -0.010, -0.025), (0.030, 0.010, 0.025)
_LIFT_BY_M = 0.16
_SPEED_M_S, _LAST_SPEED_M_S, _TURN_RAD_S = 0.30, 0.18, 1.2
_STAND_OFF_M = 0.115  # the fingertips are clear of the yogurt from here on
_ALIGNED_M, _ALIGNED_HEIGHT_M = 0.010, 0.015  # nearer to the line of approach than this, the hand goes straight on
# A yogurt leaves the fingers 24 mm on either side, and is tall: they close wherever it is between them, once they are
# as far as they shall be, but for the first of these.
_SHORT_M, _DEEPEST_M, _BETWEEN_M, _HEIGHT_M = 0.010, 0.034, 0.016, 0.035
_UP = np.array([0.0, 0.0, 1.0])
_MISAIM_M = 0.04
_CLOSING, _EMPTY = 0.2, 0.75  # a gripper closed beyond the first is on its way to hold, beyond the second it missed
_EDGE_RAD = np.deg2rad(10.0)  # what is nearer than this to the edge of the view goes unnoticed
_ARRIVED_RAD = 0.06
_NOD_RAD = 0.03  # a step
_LEVEL_GAZE_RAD = 0.30  # of the head's pitch, on the way to the side that is looked at first
_LOWERED_GAZE_RAD = 0.41  # beyond it, somebody has looked at that side
_LOWERING_S = 0.35  # then the gaze is lowered; whoever waited longer would teach to stay where nothing is
_BESIDE_M = 0.40  # closer to the line of approach than this, the hand draws back before it comes nearer
_FALLING_RAD = np.deg2rad(8.0)


class FindingExpert(Expert):
    def __init__(self, simulation: Simulation, seed: int) -> None:
        super().__init__(simulation, seed)
        self.arms = ("left", "right")  # until it has seen on which side the yogurt stands
        self._hands = {side: Hand(simulation, side, ("waist_lift", "waist_pitch"), _WEIGHTS) for side in self.arms}
        self._shift_m = simulation.task.shift_m
        self._half_view_rad = np.deg2rad(simulation.model.camera("head").fovy[0]) / 2
        # The same side first in every trial, with a level gaze, which is lowered there: a policy that remembers nothing
        # can tell by a lowered gaze that it has been to that side.
        self._look_first = "right" if simulation.instruction == SIDE_INSTRUCTIONS["right"] else "left"
        self._look_to = self._look_first
        # Nobody looks at the middle of a region to the centimetre, nor always as long.
        self._gaze_offset = self.rng.uniform((-0.04, -0.06, 0.0), (0.04, 0.06, 0.1))
        self._reaction_s = self.rng.uniform(0.1, 0.3)
        self._seen_s = self._arrived_s = 0.0
        self._gaze_lowered = False
        # From afar the hand aims a few centimetres beside the yogurt, as anybody's would; near enough, it is corrected.
        self._misaim = self.rng.uniform(-_MISAIM_M, _MISAIM_M, 2)
        self._corrected_below_m = self.rng.uniform(0.07, 0.15)
        self._grasp_m = self.rng.uniform(*_GRASP_M)

    def decide(self, command: np.ndarray) -> None:
        yogurt = self.simulation.data.body("yogurt").xpos
        if len(self.arms) > 1:
            self._search(yogurt, command)
        else:
            side = self.arms[0]
            hand = self._hands[side]
            command[hand.slots], command[hand.gripper_slot] = self._pick(side, hand, yogurt)
            self.look_at(yogurt, command)

    def take_over(self) -> None:
        super().take_over()
        pitch = self.simulation.measured()[self.simulation.robot.slot_index["head_pitch"]]
        self._gaze_lowered = bool(pitch > _LOWERED_GAZE_RAD)
        self._look_to = _OTHER[self._look_first] if self._gaze_lowered else self._look_first
        self._arrived_s = 0.0

    def _search(self, yogurt: np.ndarray, command: np.ndarray) -> None:
        """Head and arms in `command` (S,) one step: look until the yogurt has been in view for a while, hands back."""
        data = self.simulation.data
        for side, hand in self._hands.items():
            arm = hand.slots[-len(_DRAWN_BACK_RAD) :]
            missing = _OUTWARDS[side] * _DRAWN_BACK_RAD - command[arm]
            most = self.pace * _DRAWING_RAD_S * STEP_S
            command[arm] += missing * min(1.0, most / max(float(np.abs(missing).max()), 1e-9))
        in_view = np.max(np.abs(view_angles_rad(data, "head", yogurt))) < self._half_view_rad - _EDGE_RAD
        self._seen_s = self._seen_s + STEP_S if in_view else 0.0
        if in_view:
            self.look_at(yogurt, command)
            if self._seen_s > self._reaction_s:
                self.arms = ("left",) if yogurt[1] > 0.0 else ("right",)
            return
        x, y = REGION_CENTER_XY_M
        center = np.array([x, _OUTWARDS[self._look_to] * y, TABLE_HEIGHT_M])
        gaze = center + self._shift_m + self._gaze_offset
        pitch = self.simulation.robot.slot_index["head_pitch"]
        before = command[pitch]
        self.look_at(gaze, command)
        if abs(view_angles_rad(data, "head", gaze)[0]) < _ARRIVED_RAD:
            self._gaze_lowered = True
            self._arrived_s += STEP_S
        if not self._gaze_lowered:
            command[pitch] = before + np.clip(_LEVEL_GAZE_RAD - before, -_NOD_RAD, _NOD_RAD)
        if self._arrived_s > _LOWERING_S:
            self._look_to = _OTHER[self._look_to]
            self._arrived_s = 0.0

    def _pick(self, side: str, hand: Hand, yogurt: np.ndarray) -> tuple[np.ndarray, float]:
        """One step of the hand: (J,) chain joints and the gripper's fraction."""
        tip, R = hand.pose()
        outwards = _OUTWARDS[side]
        past_straight = outwards * (yogurt[1] - self._shift_m[1]) - _STRAIGHT_AT_Y_M
        tool = _tool_level(outwards * np.clip(_TURN_RAD_M * past_straight, 0.0, _MOST_TURN_RAD), side)
        middle = np.array([*yogurt[:2], TABLE_HEIGHT_M + self._shift_m[2] + _GRASP_ABOVE_TABLE_M])
        axes = np.stack([tool[:, 2], tool[:, 1], _UP])  # ahead, across the fingers, up
        grasp = middle + self._grasp_m @ axes
        beyond, aside, above = axes @ (tip - middle)
        between = abs(aside) < _BETWEEN_M and abs(above) < _HEIGHT_M
        closed = hand.closed()
        gripper = 0.0
        if self._between_fingers(tip) and (_CLOSING < closed < _EMPTY or self._tilted()):
            gripper = 1.0
            goal = tip
            if holds(self.simulation.model, self.simulation.data, hand.gripper, "yogurt"):
                goal = np.array([tip[0], tip[1], grasp[2] + _LIFT_BY_M])
                axis = self.simulation.data.body("yogurt").xmat.reshape(3, 3)[:, 2]
                tool = aligning(axis, _UP) @ R
        elif between and self._grasp_m[0] - _SHORT_M < beyond < _DEEPEST_M:
            gripper = 1.0
            goal = tip
        else:
            goal = self._approach(tip, grasp, tool)
        near = bool(np.linalg.norm(tip[:2] - grasp[:2]) < _STAND_OFF_M)
        speed = _LAST_SPEED_M_S if near else _SPEED_M_S
        position = tip + shortened(goal - tip, self.pace * speed * STEP_S)
        rotation = turned(R, tool, _TURN_RAD_S * STEP_S)
        arm = outwards * _REST_ARM_RAD
        return hand.towards(position, rotation, np.array([_REST_LIFT_M, _REST_PITCH_RAD, *arm])), gripper

    def _between_fingers(self, tip: np.ndarray) -> bool:
        pose = self.simulation.data.body("yogurt")
        x, y, z = pose.xmat.reshape(3, 3).T @ (tip - pose.xpos)
        return bool(np.hypot(x, y) < 1.5 * YOGURT_RADIUS_M and abs(z) < YOGURT_HEIGHT_M / 2)

    def _tilted(self) -> bool:
        """Whether the yogurt is about to fall: between the fingers it can be caught."""
        return tilt_rad(self.simulation.data, "yogurt") > _FALLING_RAD

    def _approach(self, tip: np.ndarray, grasp: np.ndarray, tool: np.ndarray) -> np.ndarray:
        """Where the open hand goes next (3,)."""
        across, forward = tool[:, 1], tool[:, 2]
        along, beside = (tip - grasp) @ forward, (tip - grasp) @ across
        off_line = float(np.hypot(beside, max(0.0, abs(tip[2] - grasp[2]) - _ALIGNED_HEIGHT_M)))
        if off_line < self._corrected_below_m:
            self._misaim = np.zeros(2)
        if off_line > 2 * _ALIGNED_M + 0.012 and along > 0.02 - _STAND_OFF_M and abs(beside) < _BESIDE_M:
            # Beside or above the yogurt: back first, or the fingers sweep it away.
            return tip - _STAND_OFF_M * forward
        # A funnel: the further from the line of approach, the further back the hand stays.
        stand_off = min(_STAND_OFF_M, 6.0 * max(0.0, off_line - _ALIGNED_M))
        aside, above = self._misaim
        return grasp - stand_off * forward + aside * across + above * _UP


def _tool_level(yaw_rad: float, side: str) -> np.ndarray:
    """Rotation of the gripper's base: z level and ahead, turned left by the yaw, the wrist camera above the fingers."""
    z = np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0])
    y = _OUTWARDS[side] * np.array([np.sin(yaw_rad), -np.cos(yaw_rad), 0.0])
    return np.stack([np.cross(y, z), y, z], axis=1)
