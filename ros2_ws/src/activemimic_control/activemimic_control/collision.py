"""The last look before a motion: would the robot touch itself or the floor, or would a hand leave its workspace?

In: the commanded robot vector and the one where the robot would come to rest if it braked one cycle from now. Out: "",
or the reason in words why that motion must not be. No clock and no memory: every answer depends on its arguments alone.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from activemimic_description.capsules import CapsuleModel, segment_distances
from activemimic_description.robot import Robot
from pydantic import BaseModel, ConfigDict, model_validator

FLOOR = "floor"

Side = Literal["left", "right", ""]
_SIDES: tuple[Side, ...] = ("left", "right")
# Where on the straight way from `now` to `next` a motion is looked at: densest where it will happen first, since what
# lies further ahead is looked at again in the next cycles.
WAY = np.array([[0.125], [0.25], [0.5], [1.0]])
_STILL_M = 1e-9  # a distance that shrinks by less stands still: rounding, not motion
_BODY_PARTS = {
    "base_link": "base or lift column",
    "body_link1": "waist",
    "body_link2": "torso",
    "arm_base_link": "shoulder bar",
    "head_link1": "neck",
    "head_link2": "head",
}
_ARM_PARTS = {"1": "shoulder", "2": "upper arm", "3": "elbow", "4": "forearm", "5": "wrist", "6": "wrist"}
_TOO_FAR = ("too far back", "too far right", "too low", "too far forward", "too far left", "too high")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Box(_Strict):
    """A box in the root frame (x forward, y left, z up), from one corner to the other, in m."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]

    @model_validator(mode="after")
    def _lower_lies_below_upper(self) -> Box:
        if not all(a < b for a, b in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"expected lower < upper on every axis, found {list(self.lower)} and {list(self.upper)}")
        return self


class Workspace(_Strict):
    """Where the arms may be, as YAML: `{floor_m: 0.0, hands: [{lower: [0.1, -0.8, 0.1], upper: [1.1, 0.8, 1.9]}]}`.

    `floor_m` is the floor's height in the root frame, whose origin is the point between the robot's wheels: the arms
    stay the margin above it. None for no floor. `hands` are boxes: each hand, with fingers and camera, stays inside one
    of them, so boxes between which a hand shall pass must overlap by a hand's size. No box: anywhere.
    """

    floor_m: float | None = 0.0
    hands: tuple[Box, ...] = ()


class CollisionGuard:
    """Distances between a robot's links, as the capsules that enclose them, and what follows for a motion.

    Every link of an arm is watched against every link of the other arm, of the body (base, column, waist, torso, head)
    and of its own arm, and against the floor. Left out, by rule:

    - links that a joint connects, which overlap in it: of an arm and the body, those are the shoulder and the torso;
    - links of one arm with no more than two joints between them: in elbow and wrist the axes meet in one point, so the
      shapes overlap, and the fingers of a gripper shall touch;
    - links of the body among themselves: within their limits lift, waist and head bring none together but at the neck.

    Attributes:
        pairs: (P,) the two links of every distance.
    """

    def __init__(self, robot: Robot, margin_m: float = 0.02, workspace: Workspace | None = None) -> None:
        """Args: workspace: with None, the floor alone."""
        self.margin_m = margin_m
        self.workspace = workspace or Workspace()
        self._model = model = CapsuleModel(robot)
        sides = _sides(robot, model)
        watched = sorted((model.links[a], model.links[b], a, b) for a, b in _watched(model, sides))
        self._first, self._second = np.array([(a, b) for _, _, a, b in watched]).T
        self._radii = model.radius[self._first] + model.radius[self._second]
        link_pairs, self._pair = _numbered([(link_a, link_b) for link_a, link_b, _, _ in watched])
        self._pair_starts = np.searchsorted(self._pair, np.arange(len(link_pairs)))
        # Most shapes are far from each other, and an axis-aligned box around each is enough to see it.
        shapes, shape = _numbered(list(zip(model.links, model.shapes, strict=True)))
        self._shape_starts = np.searchsorted(shape, np.arange(len(shapes)))
        self._shape_pair = shape[self._first] * len(shapes) + shape[self._second]

        side = np.array(sides)[self._shape_starts]
        on_arm = np.flatnonzero(side != "") if self.workspace.floor_m is not None else np.array([], dtype=int)
        floor_pairs, link = _numbered([(shapes[k][0], FLOOR) for k in on_arm])
        self._on_arm, self._floor_starts = on_arm, np.searchsorted(link, np.arange(len(floor_pairs)))
        self.pairs = (*link_pairs, *floor_pairs)
        links = [_hand(robot, side) for side in _SIDES] if self.workspace.hands else []
        self._hands = [np.array([k for k, (link, _) in enumerate(shapes) if link in hand]) for hand in links]
        self._lower = np.array([box.lower for box in self.workspace.hands])
        self._upper = np.array([box.upper for box in self.workspace.hands])

    def distances(self, slots: np.ndarray) -> np.ndarray:
        """(P,) m between the links of every pair, for a robot vector (S,); negative where their capsules overlap."""
        return self._distances(self._model.ends(slots))

    def check(self, now: np.ndarray, next: np.ndarray) -> str:
        """Empty if the robot may go from `now` to `next`, both (S,); otherwise why not, for the person at the robot.

        A distance below the margin stops only a motion that reduces it, and a hand outside its workspace only one that
        takes it further out: a robot that stands wrong may stand still and may go back.

        Both are commanded positions (measured ones tremble, and trembling is motion). `next` is where the robot would
        come to rest if it went on for one more cycle and then braked, not where it is in the next cycle: then it is
        stopped in time, for from every position that was allowed it can come to rest without entering the margin. The
        way there is looked at in a few places only; it is to be asked in every cycle, with no jumps between `next`s.
        """
        if not (np.all(np.isfinite(now)) and np.all(np.isfinite(next))):
            return "the motion to check is not finite"
        ends = self._model.ends(now + WAY * (next - now))
        low, high = self._extents(ends)
        after = self._distances_below_margin(ends, low, high)
        outside, room = self._outside(low, high)
        if after.min() >= self.margin_m and not outside.any():
            return ""
        ends = self._model.ends(now)
        collision = self._collision(self._distances(ends), after)
        return collision or self._departure(self._outside(*self._extents(ends[None]))[0][0], outside, room)

    def _collision(self, before: np.ndarray, after: np.ndarray) -> str:
        """Why a motion must not be that changes distances from `before` (P,) to `after` (W, P) on the way."""
        worse = np.where((after < self.margin_m) & (after < before - _STILL_M), after, np.inf)
        step, pair = np.unravel_index(np.argmin(worse), worse.shape)
        if not np.isfinite(worse[step, pair]):
            return ""
        a, b = (_in_words(link) for link in self.pairs[pair])
        margin = f"(margin {1000 * self.margin_m:.0f} mm)"
        if before[pair] < self.margin_m:
            return f"{a} is {_mm(before[pair])} from the {b} {margin} and would come closer"
        return f"{a} would come within {_mm(worse[step, pair])} of the {b} {margin}"

    def _departure(self, before: np.ndarray, after: np.ndarray, room: np.ndarray) -> str:
        """Why a motion must not be, by how far the hands are outside `before` (H,) and `after` (W, H) on the way."""
        worse = np.where(after > before + _STILL_M, after, 0.0)
        if not worse.any():
            return ""
        step, hand = np.unravel_index(np.argmax(worse), worse.shape)
        face = int(np.argmin(room[step, hand]))
        return f"{_SIDES[hand]} hand would be {_mm(-room[step, hand, face])} {_TOO_FAR[face]} for its workspace"

    def _distances(self, ends: np.ndarray) -> np.ndarray:
        """(P,) m, for one pose `ends` (N, 2, 3)."""
        apart = segment_distances(ends[self._first], ends[self._second]) - self._radii
        low, _ = self._extents(ends[None])
        return np.concatenate([np.minimum.reduceat(apart, self._pair_starts), self._heights(low)[0]])

    def _distances_below_margin(self, ends: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """(W, P) m, as `_distances` for `ends` (W, N, 2, 3), with inf for what is certainly not below the margin."""
        swept_low, swept_high = low.min(axis=0).T, high.max(axis=0).T  # (3, shapes)
        gap = swept_low[:, :, None] - swept_high[:, None, :]  # (3, shapes, shapes), of the first above the second
        gap = np.maximum(gap, gap.swapaxes(1, 2)).max(axis=0)
        near = np.flatnonzero((gap < self.margin_m).ravel()[self._shape_pair])
        distances = np.full((len(ends), len(self.pairs)), np.inf)
        distances[:, len(self._pair_starts) :] = self._heights(low)
        if len(near):
            first, second = (ends[:, capsules[near]].reshape(-1, 2, 3) for capsules in (self._first, self._second))
            apart = segment_distances(first, second).reshape(len(ends), -1) - self._radii[near]
            pair = self._pair[near]
            starts = np.flatnonzero(np.diff(pair, prepend=-1))
            distances[:, pair[starts]] = np.minimum.reduceat(apart, starts, axis=1)
        return distances

    def _extents(self, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest coordinates (W, shapes, 3) m of each shape's capsules, for `ends` (W, N, 2, 3)."""
        radius = self._model.radius[:, None]
        low = np.minimum(ends[:, :, 0], ends[:, :, 1]) - radius
        high = np.maximum(ends[:, :, 0], ends[:, :, 1]) + radius
        return (
            np.minimum.reduceat(low, self._shape_starts, axis=1),
            np.maximum.reduceat(high, self._shape_starts, axis=1),
        )

    def _heights(self, low: np.ndarray) -> np.ndarray:
        """(W, F) m of the arms' links above the floor."""
        if self.workspace.floor_m is None:
            return np.empty((len(low), 0))
        return np.minimum.reduceat(low[:, self._on_arm, 2], self._floor_starts, axis=1) - self.workspace.floor_m

    def _outside(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far (W, H) m each hand is outside the box that fits it best, and its room (W, H, 6) m to the sides there.

        No hand (H = 0) where the workspace has no boxes.
        """
        outside, rooms = np.empty((len(low), len(self._hands))), np.empty((len(low), len(self._hands), 6))
        for number, hand in enumerate(self._hands):
            below = low[:, hand].min(axis=1)[:, None] - self._lower
            above = self._upper - high[:, hand].max(axis=1)[:, None]
            room = np.concatenate([below, above], axis=-1)  # (W, B, 6)
            distance = np.linalg.norm(np.minimum(room, 0.0), axis=-1)
            best = np.argmin(distance, axis=1)
            steps = np.arange(len(low))
            outside[:, number], rooms[:, number] = distance[steps, best], room[steps, best]
        return outside, rooms


def _numbered(keys: list[Any]) -> tuple[list[Any], np.ndarray]:
    """The different keys in the order in which they first occur, and the number of each key among those."""
    different = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return list(different), np.array([different[key] for key in keys], dtype=int)


def _sides(robot: Robot, model: CapsuleModel) -> list[Side]:
    """(N,) the arm to which each capsule belongs: whose slots move it."""
    side_of: dict[str, Side] = {robot.root: ""}
    for joint in robot.joints:
        slot = next((slot.name for slot in robot.slots if joint.name in (slot.joint, slot.follower)), "")
        side_of[joint.child] = next((side for side in _SIDES if slot.startswith(side)), side_of[joint.parent])
    return [side_of[link] for link in model.links]


def _watched(model: CapsuleModel, sides: list[Side]) -> list[tuple[int, int]]:
    """The pairs of capsules that the class names; the one that is further out on an arm stands first."""
    ways = [_way_to_root(model, body) for body in model.bodies]
    found = []
    for a in range(len(sides)):
        for b in range(a):
            joints = len(ways[a] ^ ways[b])
            if joints > (2 if sides[a] == sides[b] else 1) and (sides[a] or sides[b]):
                found.append((a, b) if sides[a] else (b, a))
    return found


def _way_to_root(model: CapsuleModel, body: int) -> set[int]:
    way = {body}
    while body:
        body = model.parents[body]
        way.add(body)
    return way


def _hand(robot: Robot, side: Side) -> set[str]:
    """The links that a side's last joint before the gripper moves."""
    last = [slot for slot in robot.slots if slot.name.startswith(side) and not slot.is_gripper][-1]
    links = {robot.joint[last.joint].child}
    for joint in robot.joints:
        if joint.parent in links:
            links.add(joint.child)
    return links


def _in_words(link: str) -> str:
    """What the person at the robot calls a link; its own name if nothing else is known."""
    for side in _SIDES:
        if link.startswith((f"gripper_{side[0]}_", f"arm_{side[0]}_end")):
            return f"{side} gripper"
        number = link.removeprefix(f"arm_{side[0]}_link")
        if number in _ARM_PARTS:
            return f"{side} {_ARM_PARTS[number]}"
    return _BODY_PARTS.get(link, link)


def _mm(distance_m: float) -> str:
    return f"{max(0, int(1000 * distance_m))} mm"
