"""How a person moves: the eyes lead, the head follows, then the hand; and what a hand holds goes with it.

The world has x ahead of the person, y to the left, z up, and its origin on the floor below the head.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LEFT, RIGHT = 0, 1
GRIP_M = 0.10  # from the wrist to what the fingers hold, along the hand
_ELBOWS = np.array([[0.0, 0.36, 1.02], [0.0, -0.36, 1.02]])
_NECK = np.array([0.0, 0.0, 1.45])
_LENS = np.array([0.09, 0.0, 0.09])  # from the neck's joint, in the head's axes
_TILT = 0.3  # rad, by which a camera on a head looks lower than its face
_FOLLOWS = 0.8  # of the way that the eyes turn, the head turns this share
_OPENCV = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # of a camera that looks along x
_FIRST_S = 0.25  # by which the eyes are at a place before the hand sets out


@dataclass
class Track:
    """Values (D,) to be reached one after the other; between two the motion of least jerk, in an arc of `lift` m."""

    times: list[float]
    values: list[np.ndarray]
    lifts: list[float] = field(default_factory=lambda: [0.0])

    def to(self, value: np.ndarray, start_s: float, end_s: float, lift: float = 0.0) -> None:
        """Rest until `start_s`, be there at `end_s`."""
        start_s = max(start_s, self.times[-1])
        self.times += [start_s, max(end_s, start_s + 0.05)]
        self.values += [self.values[-1], np.asarray(value, float)]
        self.lifts += [0.0, lift]

    def at(self, t: float) -> np.ndarray:
        """The value (D,) at a time, s."""
        index = int(np.searchsorted(self.times, t, side="right"))
        if index == 0:
            return self.values[0]
        if index == len(self.times):
            return self.values[-1]
        before, after = self.times[index - 1], self.times[index]
        s = (t - before) / (after - before)
        value = self.values[index - 1] + s**3 * (10 - 15 * s + 6 * s**2) * (self.values[index] - self.values[index - 1])
        if self.lifts[index]:
            value = value + self.lifts[index] * 64 * (s * (1 - s)) ** 3 * (np.arange(len(value)) == 2)
        return value


@dataclass(frozen=True)
class Hold:
    """From and to, s, an object goes with a hand, where it was in it when it was taken."""

    thing: str
    hand: int
    from_s: float
    to_s: float
    T_wrist_thing: np.ndarray


class Person:
    """Grows by what is done next, from `now` on; then every pose is known at every time."""

    def __init__(self, numbers: np.random.Generator, things: dict[str, np.ndarray]) -> None:
        """Args: things: where each object is at first, (3,) m."""
        self.now = 0.5
        self._numbers = numbers
        self._things = things
        self._holds: list[Hold] = []
        self._gaze = Track([0.0], [np.array([1.2, *numbers.uniform(-0.3, 0.3, 1), 1.1])])
        self._lean = Track([0.0], [np.zeros(2)])
        # Of each wrist x, y, z (m) and how far it is turned about the arm (rad).
        rest = [np.array([0.28, side * 0.22, 0.88, side * 0.4]) for side in (1, -1)]
        self._hands = [Track([0.0], [values]) for values in rest]
        self._phases = numbers.uniform(0, 2 * np.pi, 6)
        self._pace = numbers.uniform(0.85, 1.2)

    def look(self, point: np.ndarray) -> None:
        """Turn eyes and head to a point, and wait until they are there."""
        point = np.asarray(point, float)
        before, after = (_direction(it - _NECK) for it in (self._gaze.values[-1], point))
        degrees = np.degrees(np.arccos(np.clip(before @ after, -1, 1)))
        seconds = (0.3 + 0.006 * degrees) * self._pace
        self._gaze.to(point, self.now, self.now + seconds)
        self.now += seconds

    def reach(self, hand: int, point: np.ndarray, roll: float = 0.0, lift: float = 0.05, look: bool = True) -> None:
        """Look at a point, then bring what the hand grips there, or would."""
        point = np.asarray(point, float)
        if look:
            self.look(point + self._numbers.normal(0, 0.015, 3))
            self.now -= 0.6 * _FIRST_S  # the hand is under way before the head has come to rest
        track = self._hands[hand]
        side = 1 if hand == LEFT else -1
        wrist = point - GRIP_M * _direction(point - _ELBOWS[hand])
        seconds = (0.45 + 0.9 * float(np.linalg.norm(wrist - track.values[-1][:3]))) * self._pace
        track.to(np.append(wrist, side * (0.4 + roll)), self.now, self.now + seconds, lift)
        self._lean.to(np.clip(0.35 * (point[:2] - [0.4, 0.0]), -0.12, 0.12), self.now, self.now + seconds)
        self.now = track.times[-1]

    def turn(self, hand: int, roll: float, seconds: float) -> None:
        """Turn a hand about its arm, rad from how it was."""
        track = self._hands[hand]
        track.to(track.values[-1] + [0, 0, 0, roll], self.now, self.now + seconds)
        self.now = track.times[-1]

    def back(self, hand: int) -> None:
        """Take a hand back to where it rests; nobody waits for it."""
        track = self._hands[hand]
        track.to(track.values[0] + [*self._numbers.normal(0, 0.02, 3), 0], self.now, self.now + 0.9 * self._pace, 0.03)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def take(self, hand: int, thing: str) -> None:
        """The object goes with the hand from now on."""
        self.wait(0.15)
        T_wrist_thing = np.linalg.inv(self.wrist(hand, self.now)) @ self.thing(thing, self.now)
        self._holds.append(Hold(thing, hand, self.now, np.inf, T_wrist_thing))

    def put(self, hand: int) -> None:
        """What the hand holds stays where it is."""
        self.wait(0.15)
        self._holds = [
            Hold(it.thing, it.hand, it.from_s, min(it.to_s, self.now), it.T_wrist_thing) if it.hand == hand else it
            for it in self._holds
        ]

    def camera(self, t: float) -> np.ndarray:
        """T_world_camera (4, 4), OpenCV axes."""
        sway = np.sin(2 * np.pi * np.array([0.31, 0.23, 0.27, 0.41, 0.19, 0.37]) * t + self._phases)
        neck = _NECK + [*self._lean.at(t), -0.15 * float(np.linalg.norm(self._lean.at(t)))] + 0.006 * sway[:3]
        gaze = _direction(self._gaze.at(t) - neck)
        yaw = _FOLLOWS * np.arctan2(gaze[1], gaze[0]) + 0.008 * sway[3]
        pitch = _FOLLOWS * np.arcsin(-gaze[2]) + _TILT + 0.008 * sway[4]
        head = _rotation_z(yaw) @ _rotation_y(pitch) @ _rotation_x(0.012 * sway[5])
        return _pose(head @ _OPENCV, neck + head @ _LENS)

    def wrist(self, hand: int, t: float) -> np.ndarray:
        """T_world_wrist (4, 4): x along the hand to its fingers, z out of its back, the same for both hands."""
        x, y, z, roll = self._hands[hand].at(t)
        place = np.array([x, y, z])
        along = _direction(place - _ELBOWS[hand])
        across = _direction(np.cross([0.0, 0, 1], along))
        arm = np.stack([along, across, np.cross(along, across)], axis=1)
        return _pose(arm @ _rotation_x(roll), place)

    def thing(self, name: str, t: float) -> np.ndarray:
        """T_world_thing (4, 4)."""
        T = _pose(np.eye(3), self._things[name])
        for hold in self._holds:
            if hold.thing == name and t >= hold.from_s:
                T = self.wrist(hold.hand, min(t, hold.to_s)) @ hold.T_wrist_thing
        return T


def _pose(R: np.ndarray, place: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, place
    return T


def _direction(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.linalg.norm(v))


def _rotation_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _rotation_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _rotation_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
