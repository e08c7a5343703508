"""The Restocking expert: look down, crouch, grasp, rise while the gaze scans the tiers, put the bottle in the gap."""

from __future__ import annotations

import numpy as np

from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.experts.hand import TOOL_M, Hand, aligning, shortened, turned
from activemimic_sim.tasks.contacts import holds, tilt_rad
from activemimic_sim.tasks.restocking import (
    BOTTLE_HEIGHT_M,
    REGION_CENTER_XY_M,
    SHELF_FRONT_X_M,
    SLOT_DEPTH_M,
    SLOT_HALF_X_M,
    SLOT_HALF_Y_M,
    SLOTS,
    TABLE_HEIGHT_M,
    UPRIGHT_RAD,
    Restocking,
    sees,
    slot_position,
)
from activemimic_sim.world.simulation import Simulation

_WEIGHTS = (0.3, 0.2, *(1.0,) * 7)  # body and arm share the motion: the arm's reach is a thin shell
# Chain postures (lift, pitch, arm). Crouched, the hand at the bottle:
_PICK = np.array([0.213, 0.670, 0.431, -0.974, -0.948, 1.176, -1.472, 1.173, -2.150])
# Risen with the bottle, before it is known where it goes:
_CARRY = np.array([0.36, 0.47, *_PICK[2:]])
# The bottle before each slot. The straight way from _CARRY to each of them is free; below the top tier the elbow stays
# down, before the top tier it is out.
_BEFORE_SLOT = np.array(
    [
        [0.487, 0.858, 1.179, -1.310, -1.832, 0.945, -1.112, 1.277, -2.249],
        [0.463, 0.849, 1.176, -0.926, -1.747, 0.990, -1.059, 1.241, -1.955],
        [0.350, 0.859, 1.334, -0.447, -1.670, 1.026, -1.028, 0.919, -1.675],
        [0.486, 0.031, 1.083, -1.196, -1.830, 1.304, -0.436, 0.981, -2.675],
        [0.474, 0.144, 1.189, -0.749, -1.813, 1.404, -0.485, 0.929, -2.507],
        [0.432, 0.166, 1.301, -0.604, -1.816, 0.755, -0.718, 0.375, -2.044],
        [0.286, 0.082, -0.446, 1.230, 0.709, 1.357, -1.532, -0.434, -0.567],
        [0.396, 0.178, -0.423, 0.526, 0.641, 1.348, -0.909, -0.337, -1.818],
        [0.425, 0.453, 0.216, 0.405, 0.137, 1.045, -0.694, -0.404, -2.064],
    ]
)
_BEFORE_SHELF_M = 0.065  # how far the bottle's axis stays before the shelf's front until it is level with its slot
_TILT_RAD = np.deg2rad(15.0)  # how far the tool points down
_YAW_PIVOT_XY_M, _YAW_GAIN = np.array([0.15, -0.21]), 0.9  # the tool points outwards, away from about the shoulder
_GRASP_M = 0.075  # above the bottle's foot
_BEHIND_M = 0.085  # how far the hand stays from the bottle until its fingers pass on both sides
_CLEAR_M = 0.06  # the fingertips do not reach the bottle from here
_PASSING_M = 0.03  # a hand further than this from the line through the bottle may push it
_IN_HAND_M = 0.06
_LIFT_STEP_M, _RISEN_M = 0.05, 0.05
# Midway between tier and the one above: a hand that imitates it a few centimetres too low or too high still passes.
_ENTER_ABOVE_M, _PRESS_M = 0.055, 0.004
_LET_GO_M = 0.018  # above the slot: whether a bottle touches the shelf cannot be seen, a centimetre can
_AIMED_M = 0.012  # close enough to the bottle's axis to close the gripper
_DEEPER_M = 0.015  # beyond the slot's middle, away from the edge over which the bottle came
_AT_SLOT_M = (0.17, 0.06, 0.10)  # a bottle that somebody else has brought this near to its slot is not taken back
_OUT_M = 0.02  # a bottle nearer to the shelf's front than this is not swung aside
_OVER_SLOT_M = 0.03  # close enough to there to go down: the slot is wide, and what imitates this is not exact
# The gaze passes the slots tier by tier from below, each tier the other way than the one before. Always the same way:
# a policy that remembers nothing can then tell from where it looks where to look next.
_SCAN_PATH = (2, 1, 0, 3, 4, 5, 8, 7, 6)
_UP = np.array([0.0, 0.0, 1.0])
_MIDDLE = BOTTLE_HEIGHT_M / 2 * _UP  # of a bottle, from its foot
_ARRIVED_RAD, _ARRIVED_M = 0.08, 0.02
_SPEED_M_S, _PLACING_M_S, _TURN_RAD_S = 0.35, 0.12, 1.2
_SWING = np.array([1.0, 0.7, *np.full(7, 0.35)])  # share of each joint's speed when the whole chain swings
_CLOSING, _EMPTY = 0.2, 0.6  # a gripper closed between these fractions is around a bottle or on its way
_OPENED = 0.25
_GAZED_RAD = 0.15
_MISAIM_M = 0.04


class RestockingExpert(Expert):
    arms = ("right",)

    def __init__(self, simulation: Simulation, seed: int) -> None:
        super().__init__(simulation, seed)
        assert isinstance(simulation.task, Restocking)
        self._task = simulation.task
        self._hand = Hand(simulation, "right", ("waist_lift", "waist_pitch"), _WEIGHTS)
        # From afar the hand aims a little beside the bottle, as anybody's would; near enough, it is corrected.
        self._misaim_m = self.rng.uniform(-1.0, 1.0) * _MISAIM_M
        self._corrected_below_m = self.rng.uniform(0.10, 0.18)
        self._noticed = False
        self._scanned = 0  # slots of the path below that the gaze has passed
        self._slot: int | None = None
        self._entering = False
        self._released = False

    def decide(self, command: np.ndarray) -> None:
        simulation, hand = self.simulation, self._hand
        bottle = simulation.data.body("bottle").xpos
        tip, R = hand.pose()
        grasped = _CLOSING < hand.closed() < _EMPTY and float(np.linalg.norm(tip - bottle)) < _IN_HAND_M
        risen = self._foot()[2] > TABLE_HEIGHT_M + self._task.shift_m[2] + _RISEN_M
        self._noticed = self._noticed or sees(simulation.data, bottle)
        self._released = self._may_be_let_go() and (self._released or not grasped)
        self._entering = self._entering and grasped
        if self._released:
            chain, gripper = self._withdraw(tip, R), 0.0
        elif grasped and risen:
            self._scan()
            chain, gripper = self._carry(tip, R), 1.0
        else:
            chain, gripper = self._pick(tip, R, grasped)
        command[hand.slots], command[hand.gripper_slot] = chain, gripper
        self.look_at(self._gaze(grasped and risen), command)

    def take_over(self) -> None:
        super().take_over()
        camera = self.simulation.data.camera("head")
        rays = np.array([slot_position(slot) + _MIDDLE + self._task.shift_m - camera.xpos for slot in _SCAN_PATH])
        ahead = -camera.xmat.reshape(3, 3)[:, 2]
        self._scanned = int(np.argmax(rays @ ahead / np.linalg.norm(rays, axis=1)))
        along, aside, above = np.abs(self._foot() - self._task.empty_position()) < _AT_SLOT_M
        self._entering = bool(along and aside and above)

    def _gaze(self, carrying: bool) -> np.ndarray:
        """Where (3,) the head turns: to the table, the bottle, slot after slot, and the empty one once it is found."""
        if self._slot is not None and (carrying or self._released):
            return self._task.empty_position() + _MIDDLE
        if carrying:
            slot = _SCAN_PATH[self._scanned % SLOTS]
            return slot_position(slot) + _MIDDLE + self._task.shift_m
        if self._noticed:
            return self.simulation.data.body("bottle").xpos
        return np.array([*REGION_CENTER_XY_M, TABLE_HEIGHT_M]) + self._task.shift_m

    def _scan(self) -> None:
        """Note the empty slot once the head sees it, else let the gaze go on from a slot that it has reached."""
        data = self.simulation.data
        if self._slot is None and sees(data, self._task.empty_position() + _MIDDLE):
            self._slot = self._task.empty_slot
        camera = data.camera("head")
        ray = self._gaze(carrying=True) - camera.xpos
        if -camera.xmat.reshape(3, 3)[:, 2] @ ray > np.cos(_GAZED_RAD) * np.linalg.norm(ray):
            self._scanned += 1

    def _pick(self, tip: np.ndarray, R: np.ndarray, grasped: bool) -> tuple[np.ndarray, float]:
        """One step of crouch, approach, grasp and lift: (J,) chain joints and the gripper's fraction."""
        if not self._noticed:
            chain = self.simulation.measured()[self._hand.slots]
            return self._swing(np.array([*_PICK[:2], *chain[2:]])), 0.0
        foot = self._foot()
        grasp = foot + _GRASP_M * _UP
        forward, left = _heading(foot - self._task.shift_m)
        along, aside, above = (tip - grasp) @ forward, (tip - grasp) @ left, tip[2] - grasp[2]
        if np.linalg.norm(tip - grasp) < self._corrected_below_m:
            self._misaim_m = 0.0
        tool = _tool(forward, left)
        # A turned hand reaches aside with its fingertips.
        off_axis = float(np.hypot(aside - self._misaim_m, above)) + TOOL_M * float(np.linalg.norm(R[:, 2] - tool[:, 2]))
        gripper = 0.0
        if grasped:
            gripper = 1.0
            held = holds(self.simulation.model, self.simulation.data, self._hand.gripper, "bottle")
            goal = tip + (_LIFT_STEP_M if held else 0.0) * _UP
        elif not self._misaim_m and off_axis < 2 * _AIMED_M and abs(along) < _AIMED_M:
            gripper = 1.0
            goal = grasp
        elif off_axis > _PASSING_M and along > -_CLEAR_M:
            goal = tip - _BEHIND_M * forward
        else:
            # A funnel: the further from the line through the bottle, the further behind it the hand stays.
            behind = min(_BEHIND_M, 3.0 * max(0.0, off_axis - _AIMED_M))
            goal = grasp - behind * forward + self._misaim_m * left
        position = tip + shortened(goal - tip, self.pace * _SPEED_M_S * STEP_S)
        rotation = turned(R, tool, _TURN_RAD_S * STEP_S)
        return self._hand.towards(position, rotation, _PICK), gripper

    def _carry(self, tip: np.ndarray, R: np.ndarray) -> np.ndarray:
        """(J,) one step of the bottle in the hand: up, before its slot, into it, down."""
        foot = self._foot()
        if not self._entering and foot[0] - self._task.shift_m[0] > SHELF_FRONT_X_M - _OUT_M:
            # Where somebody else has brought it, in between other bottles: straight out.
            back = tip - self.pace * _SPEED_M_S * STEP_S * np.array([1.0, 0.0, 0.0])
            return self._hand.towards(back, R, self.simulation.measured()[self._hand.slots])
        if self._slot is None:
            return self._swing(_CARRY)
        before = _BEFORE_SLOT[self._slot]
        left_over = np.abs(before - self.simulation.measured()[self._hand.slots])
        self._entering = self._entering or bool(left_over[0] < _ARRIVED_M and left_over[1:].max() < _ARRIVED_RAD)
        if not self._entering:
            return self._swing(before)
        slot = self._task.empty_position() + np.array([_DEEPER_M, 0.0, 0.0])
        off = foot - slot
        self._released = self._may_be_let_go()  # from the next step on, the hand opens
        speed_m_s = _SPEED_M_S
        goal = slot + _ENTER_ABOVE_M * _UP
        if np.abs(off[:2]).max() < _OVER_SLOT_M:
            speed_m_s = _PLACING_M_S
            goal = slot - _PRESS_M * _UP
        else:
            # A funnel again: what is not level with the slot stays before the shelf.
            off_axis = float(np.hypot(off[1], off[2] - _ENTER_ABOVE_M))
            goal[0] -= min(SLOT_DEPTH_M + _BEFORE_SHELF_M, 6.0 * max(0.0, off_axis - 0.015))
        position = tip + shortened(goal - foot, self.pace * speed_m_s * STEP_S)
        rotation = turned(R, self._upright() @ R, _TURN_RAD_S * STEP_S)
        return self._hand.towards(position, rotation, before)

    def _withdraw(self, tip: np.ndarray, R: np.ndarray) -> np.ndarray:
        """(J,) one step away from the bottle, once the fingers are open."""
        back = R[:, 2] * (0.0 if self._hand.closed() > _OPENED else self.pace * _SPEED_M_S * STEP_S)
        return self._hand.towards(tip - back, R, _BEFORE_SLOT[self._task.empty_slot])

    def _swing(self, target: np.ndarray) -> np.ndarray:
        """(J,) the chain one step straight towards a posture."""
        chain = self.simulation.measured()[self._hand.slots]
        change = target - chain
        limit = self._hand.step_limit * _SWING * min(1.0, self.pace)
        return chain + change / max(1.0, float(np.max(np.abs(change) / limit)))

    def _foot(self) -> np.ndarray:
        """The middle (3,) of the bottle's bottom."""
        bottle = self.simulation.data.body("bottle")
        return bottle.xpos - BOTTLE_HEIGHT_M / 2 * bottle.xmat.reshape(3, 3)[:, 2]

    def _may_be_let_go(self) -> bool:
        """Whether the bottle stands in its slot, or is so little above it that it will."""
        off = np.abs(self._foot() - self._task.empty_position())
        upright = tilt_rad(self.simulation.data, "bottle") < UPRIGHT_RAD / 2
        return upright and bool(off[0] < SLOT_HALF_X_M and off[1] < SLOT_HALF_Y_M and off[2] < _LET_GO_M)

    def _upright(self) -> np.ndarray:
        """The rotation (3, 3) that puts the bottle's axis upright."""
        axis = self.simulation.data.body("bottle").xmat.reshape(3, 3)[:, 2]
        return aligning(axis, _UP)


def _heading(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level unit vectors (3,): where the tool points at a position (3,), and that direction's left."""
    x, y = position[:2] - _YAW_PIVOT_XY_M
    yaw = _YAW_GAIN * np.arctan2(y, x)
    return np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])


def _tool(forward: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Rotation of the gripper's base: z forward and a little down, the fingers left and right of it."""
    z = np.cos(_TILT_RAD) * forward - np.sin(_TILT_RAD) * _UP
    return np.stack([np.cross(left, z), left, z], axis=1)
