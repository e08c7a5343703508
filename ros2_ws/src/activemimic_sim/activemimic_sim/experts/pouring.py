"""The Pouring expert: look at both cups, grasp both, bring them together, tilt slowly, put both back and let go."""

from __future__ import annotations

import numpy as np

from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.experts.hand import Hand, aligning, shortened, turned
from activemimic_sim.tasks.contacts import holds, tilt_rad
from activemimic_sim.tasks.pouring import (
    BALLS,
    CUP_HEIGHT_M,
    CUP_RADIUS_M,
    GRIPPERS,
    TABLE_HEIGHT_M,
    UPRIGHT_RAD,
    balls_in,
)
from activemimic_sim.world.simulation import Simulation

_SIDES = {"source": "right", "receiver": "left"}
_UP = np.array([0.0, 0.0, 1.0])
# From this waist both hands reach the whole of their regions and the middle between them.
_LIFT_M, _PITCH_RAD, _LEAN_RAD_S = 0.25, 0.30, 0.35
# The right arm above the middle of its region, the elbow outwards; the left arm mirrors it.
_REST_RAD = np.array([1.0, -0.69, 1.59, -0.74, 0.5, 1.1, -0.89])
# A level hand's wrist is kept this far from its shoulder, well within the thin shell that the elbow allows.
_WRIST_FROM_SHOULDER_M, _TIP_FROM_WRIST_M = 0.47, 0.1805 + 0.14308
_YAW_INWARDS_RAD = (-0.2, 1.25)
_DOWN_RAD = np.deg2rad(8.0)  # how far a hand points below the horizontal
_MEETING_M = np.array([0.68, 0.04, TABLE_HEIGHT_M + 0.04])  # the receiver's bottom while it is filled
_SPOTS_XY_M = {"source": (0.68, -0.20), "receiver": (0.68, 0.20)}
_HALF_M = CUP_HEIGHT_M / 2
_ABOVE_OPENING_M = 0.066  # the source's middle, high enough that its edge passes at every tilt
_LIP_BEFORE_M = 0.028  # of the receiver's middle: the balls leave with some speed, and fall into the middle so
_POURING_RAD, _QUICK_TO_RAD = np.deg2rad(116.0), np.deg2rad(60.0)
_QUICK_RAD_S, _SLOW_RAD_S = 1.4, 0.4
_HOLD_S = 2.0  # at the end angle, if a ball will not leave
_CARRIED_ABOVE_TABLE_M = 0.05
_DOWN_BELOW_M = 0.010  # let go from here on: whether a cup touches the table cannot be seen, a centimetre can
_SPEED_M_S, _LAST_SPEED_M_S, _CARRY_M_S, _TURN_RAD_S = 0.3, 0.15, 0.3, 0.8
# Close to the elbow's limit a hand that hurries asks its joints to swing to and fro: they are given time, and a hand is
# turned by half of what is missing, so that it does not turn too far while the arm still follows.
_JOINT_SPEED, _TURN_SHARE = 0.2, 0.5
_FAR_M, _STUCK_RAD, _LOOSEN_RAD = 0.015, 0.012, 0.04
_BACK_M = 0.11  # behind the cup, where a hand lines up before it moves in
_CLEAR_M = 0.10  # over the grip, where a hand passes above its cup
_MISAIM_M = 0.04
_CLOSING, _MISSED = 0.2, 0.5  # fractions of a gripper on its way to hold, and of one that has closed on nothing
# How far the fingertips shall reach beyond a cup's middle, and above it: policies grasp it anyhow, and shall have seen
# how it is poured then.
_GRASP_M = (-0.010, -0.015), (0.035, 0.005)
# A cup leaves the fingers 14 mm on either side, and is tall: they close wherever it is between them, once they are as
# far as they shall be, but for the first of these. Policies close up to 3 cm higher, where the rim is near.
_SHORT_M, _DEEPEST_M, _BETWEEN_M = 0.012, 0.045, 0.012
_LOWEST_M, _HIGHEST_M = -0.030, 0.015
_LEVEL_RAD = 0.25  # a cup that is held askew looks tilted, and full or empty, when it is not
_INTO_LINE, _ALIGNED_HEIGHT_M = 4.0, 0.010  # how far back a hand stays for each metre that it is out of line
_BESIDE_M, _BACK_FIRST_M = 0.03, (0.05, 0.08)  # so far beside, a hand moves in front of its cup as it gets so far back


class PouringExpert(Expert):
    arms = ("left", "right")

    def __init__(self, simulation: Simulation, seed: int) -> None:
        super().__init__(simulation, seed)
        self._hands = {cup: Hand(simulation, side, (), (1.0,) * 7, _JOINT_SPEED) for cup, side in _SIDES.items()}
        self._rests = {"source": _REST_RAD, "receiver": -_REST_RAD}
        self._waist = {"waist_lift": _LIFT_M, "waist_pitch": _PITCH_RAD + self.rng.uniform(-0.02, 0.02)}
        shift_m = simulation.task.shift_m
        self._table_m = TABLE_HEIGHT_M + shift_m[2]
        self._meeting = _MEETING_M + shift_m + [*self.rng.uniform(-0.015, 0.015, 2), self.rng.uniform(0.0, 0.02)]
        self._spots = {
            cup: np.array([*xy, 0.0]) + shift_m * (1, 1, 0) + [*self.rng.uniform(-0.03, 0.03, 2), self._table_m]
            for cup, xy in _SPOTS_XY_M.items()
        }
        # From afar a hand aims a little beside its cup, as anybody's would; that fades on the way.
        self._misaim = {cup: self.rng.uniform(-_MISAIM_M, _MISAIM_M, 3) for cup in GRIPPERS}
        self._grasp_m = {cup: self.rng.uniform(*_GRASP_M) for cup in GRIPPERS}
        self._unseen = list(GRIPPERS)
        self._tilted_s = 0.0
        self._emptied = False

    def decide(self, command: np.ndarray) -> None:
        simulation = self.simulation
        self._lean(command)
        self.look_at(self._gaze(), command)
        self._pour_ends()
        if not self._unseen:
            both = all(self._held(cup) for cup in GRIPPERS)
            for cup, hand in self._hands.items():
                tip, R = hand.pose()
                goal, rotation, speed, command[hand.gripper_slot] = self._hand_goal(cup, both)
                position = tip + shortened(goal - tip, self.pace * speed * STEP_S)
                rotation = turned(R, rotation, _TURN_RAD_S * STEP_S, _TURN_SHARE)
                arm, joints = hand.towards(position, rotation, self._rests[cup]), simulation.measured()[hand.slots]
                if np.linalg.norm(goal - tip) > _FAR_M and np.abs(arm - joints).max() < _STUCK_RAD:
                    # A stretched or folded arm finds no way by itself: it is loosened towards its usual posture.
                    arm += np.clip(self._rests[cup] - joints, -_LOOSEN_RAD, _LOOSEN_RAD)
                command[hand.slots] = arm

    def _lean(self, command: np.ndarray) -> None:
        """One step of the waist towards the posture of the work."""
        for name, goal in self._waist.items():
            slot = self.simulation.robot.slot_index[name]
            most = min(_LEAN_RAD_S, 0.9 * self.simulation.robot.velocity[slot]) * STEP_S * min(1.0, self.pace)
            command[slot] += np.clip(goal - command[slot], -most, most)

    def _gaze(self) -> np.ndarray:
        """Where to look (3,): at one cup, at the other, then at what the hands do."""
        middles = {cup: self._middle(cup) for cup in GRIPPERS}
        if self._unseen:
            if self._in_view(middles[self._unseen[0]]):
                self._unseen.pop(0)
            return middles[(self._unseen or ["source"])[0]]
        grasping = [cup for cup in GRIPPERS if not self._held(cup)]
        if grasping and not self._emptied:
            return middles[grasping[0]]
        return (middles["source"] + middles["receiver"]) / 2

    def _in_view(self, point: np.ndarray) -> bool:
        camera = self.simulation.data.camera("head")
        right, up, back = camera.xmat.reshape(3, 3).T @ (point - camera.xpos)
        return bool(abs(right) < 0.4 * -back and abs(up) < 0.65 * -back)

    def _pour_ends(self) -> None:
        """The pouring is over when the source is empty, or has been tilted long enough."""
        data = self.simulation.data
        tilt = tilt_rad(data, "source")
        self._tilted_s += STEP_S * (tilt > _POURING_RAD - 0.1)
        empty = balls_in(data, "source") == 0 and balls_in(data, "receiver") > BALLS // 2
        self._emptied |= empty or self._tilted_s > _HOLD_S

    def _hand_goal(self, cup: str, both: bool) -> tuple[np.ndarray, np.ndarray, float, float]:
        """What a hand moves to: the tip (3,), its rotation (3, 3), at which speed, and the gripper's fraction."""
        if not self._held(cup):
            return self._leave(cup) if self._emptied else self._grasp(cup)
        if self._emptied:
            middle, tilt, gripper = self._put_back(cup)
        elif not both:
            middle, tilt, gripper = self._middle(cup), 0.0, 1.0
            middle[2] = max(middle[2], self._table_m + _HALF_M + 0.03)
        elif cup == "receiver":
            middle, tilt, gripper = self._meeting + _HALF_M * _UP, 0.0, 1.0
        else:
            middle, tilt = self._pour()
            gripper = 1.0
        return *self._carried(cup, middle, tilt), _CARRY_M_S, gripper

    def _grasp(self, cup: str) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Line up behind the cup, move in and close."""
        hand = self._hands[cup]
        tip, R = hand.pose()
        middle = self._middle(cup)
        yaw = self._yaw(cup, middle)
        rotation = _level_hand(cup, yaw, 0.0)
        axes = np.stack([_forward(yaw), _UP])
        grip = middle + self._grasp_m[cup] @ axes
        beyond, above = axes @ (tip - middle)
        left = (tip - middle) @ _left(yaw)
        beside = abs(left)
        closed = hand.closed()
        level = np.trace(R.T @ rotation) > 1 + 2 * np.cos(_LEVEL_RAD)
        between = beside < _BETWEEN_M and _LOWEST_M < above < _HIGHEST_M and level
        far_enough = self._grasp_m[cup][0] - _SHORT_M < beyond < _DEEPEST_M
        if closed < _MISSED and ((between and far_enough) or (closed > _CLOSING and beside < 0.03)):
            return tip, rotation, _SPEED_M_S, 1.0
        off = tip - grip
        aside = float(np.hypot(beside, max(0.0, abs(off[2]) - _ALIGNED_HEIGHT_M)))
        # A funnel: the less the hand is in line with the cup, the further back and the higher it stays.
        misaim = self._misaim[cup] * np.clip((np.linalg.norm(off) - 0.16) / 0.1, 0.0, 1.0)
        goal = grip + misaim - np.clip(_INTO_LINE * (aside - 0.008), 0.0, _BACK_M) * _forward(yaw)
        goal[2] += np.clip(3.0 * (beside - 0.02), 0.0, _CLEAR_M)
        if beside > _BESIDE_M:
            goal += left * np.interp(-beyond, _BACK_FIRST_M, (1.0, 0.0)) * _left(yaw)
        return goal, rotation, _LAST_SPEED_M_S if np.linalg.norm(off) < _BACK_M + 0.01 else _SPEED_M_S, 0.0

    def _pour(self) -> tuple[np.ndarray, float]:
        """Where the source's middle goes (3,) and its tilt: up to the receiver, over it, then turning."""
        data = self.simulation.data
        receiver = data.body("receiver")
        opening = receiver.xpos + CUP_HEIGHT_M * receiver.xmat.reshape(3, 3)[:, 2]
        middle = self._middle("source")
        tilt = tilt_rad(data, "source")
        towards = _left(self._yaw("source", opening))
        low = max(0.0, opening[2] + _ABOVE_OPENING_M - 0.01 - middle[2])
        aside = _HALF_M * np.sin(tilt) + CUP_RADIUS_M * np.cos(tilt) + _LIP_BEFORE_M + min(0.09, 3.0 * low)
        goal = opening - aside * towards
        goal[2] += _ABOVE_OPENING_M
        off = np.linalg.norm(goal - middle)
        if off > 0.05:
            return goal, max(0.0, tilt - _QUICK_RAD_S * STEP_S)
        if off > 0.02:
            return goal, tilt
        rate = _QUICK_RAD_S if tilt < _QUICK_TO_RAD else _SLOW_RAD_S
        return goal, min(_POURING_RAD, tilt + self.pace * rate * 2.0 * STEP_S)

    def _put_back(self, cup: str) -> tuple[np.ndarray, float, float]:
        """Where a held cup's middle goes (3,), its tilt, and the gripper's fraction."""
        data = self.simulation.data
        middle = self._middle(cup)
        tilt = tilt_rad(data, cup)
        if cup == "source" and tilt > np.deg2rad(40.0):
            return middle, tilt - self.pace * _QUICK_RAD_S * 2.0 * STEP_S, 1.0
        spot = self._spots[cup] + _HALF_M * _UP
        far = float(np.linalg.norm((spot - middle)[:2]))
        spot[2] += np.clip(2.0 * (far - 0.015), 0.0, _CARRIED_ABOVE_TABLE_M)
        lowest = data.body(cup).xpos[2] - self._table_m
        down = lowest < _DOWN_BELOW_M and tilt < UPRIGHT_RAD / 2
        return spot, 0.0, 0.0 if down else 1.0

    def _leave(self, cup: str) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Away from a cup that stands: straight back."""
        tip, R = self._hands[cup].pose()
        forward = R[:, 2] * (1, 1, 0)
        away = np.linalg.norm((tip - self._middle(cup))[:2]) > _BACK_M
        goal = tip if away or self._hands[cup].closed() > 0.22 else tip - 0.1 * forward
        return goal, R, _CARRY_M_S, 0.0

    def _carried(self, cup: str, middle: np.ndarray, tilt: float) -> tuple[np.ndarray, np.ndarray]:
        """The hand's tip (3,) and rotation (3, 3) that bring the held cup's middle to a point, tilted to the left.

        However the cup lies in the hand, as it was grasped or has slipped since.
        """
        tip, R = self._hands[cup].pose()
        yaw = self._yaw(cup, middle)
        axis = np.sin(tilt) * _left(yaw) + np.cos(tilt) * _UP
        rotation = _level_hand(cup, yaw, tilt)
        held_axis = R.T @ self.simulation.data.body(cup).xmat.reshape(3, 3)[:, 2]
        rotation = aligning(rotation @ held_axis, axis) @ rotation
        return middle - rotation @ R.T @ (self._middle(cup) - tip), rotation

    def _yaw(self, cup: str, tip: np.ndarray) -> float:
        """The direction of a level hand at a tip (3,) that keeps its wrist at a good distance from the shoulder."""
        shoulder = self.simulation.data.body(f"arm_{_SIDES[cup][0]}_link2").xpos
        inwards = 1.0 if cup == "source" else -1.0
        x, y, z = tip - shoulder
        reach = _TIP_FROM_WRIST_M * np.cos(_DOWN_RAD)
        height = z + _TIP_FROM_WRIST_M * np.sin(_DOWN_RAD)
        level2 = max(0.01, _WRIST_FROM_SHOULDER_M**2 - height**2)
        distance = np.hypot(x, y)
        bend = np.arccos(np.clip((distance**2 + reach**2 - level2) / (2 * distance * reach), -1.0, 1.0))
        return inwards * float(np.clip(np.arctan2(inwards * y, x) + bend, *_YAW_INWARDS_RAD))

    def _middle(self, cup: str) -> np.ndarray:
        body = self.simulation.data.body(cup)
        return body.xpos + _HALF_M * body.xmat.reshape(3, 3)[:, 2]

    def _held(self, cup: str) -> bool:
        return holds(self.simulation.model, self.simulation.data, GRIPPERS[cup], cup)


def _forward(yaw_rad: float) -> np.ndarray:
    return np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0])


def _left(yaw_rad: float) -> np.ndarray:
    return np.array([-np.sin(yaw_rad), np.cos(yaw_rad), 0.0])


def _level_hand(cup: str, yaw_rad: float, tilt_rad: float) -> np.ndarray:
    """Rotation (3, 3) of a hand that points forwards, fingers apart left and right, rolled to the left by a tilt.

    The wrist camera is on the upper side: on x of the left hand, opposite to it of the right one.
    """
    z = np.cos(_DOWN_RAD) * _forward(yaw_rad) - np.sin(_DOWN_RAD) * _UP
    y = _left(yaw_rad) * (1.0 if cup == "source" else -1.0)
    level = np.stack([np.cross(y, z), y, z], axis=1)
    return aligning(_UP, np.sin(tilt_rad) * _left(yaw_rad) + np.cos(tilt_rad) * _UP) @ level
