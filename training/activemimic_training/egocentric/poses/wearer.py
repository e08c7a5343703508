"""Which of the people that a model of bodies finds is the wearer of the camera, and which of the hands can be seen.

A model of bodies gives two wrists for everyone, seen or not, and bystanders may come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.spatial.geometry import Floats

_BOTTOM = 0.2  # of the image's height above its lower edge: a body that ends there is not the wearer's
_OWN_SHOULDERS_M, _FOREIGN_SHOULDERS_M = 0.5, 1.0  # from the camera
_NOBODY = 0.5  # what a frame costs without a wearer; a person's cost goes from 0 to 1
_CHANGE = 0.2  # and what it costs, twice, if the wrists are elsewhere for a frame: one sure of being the wearer stays
_FAR_M = 0.5  # wrists that go further than this in a frame tell no more of who it is
_MARGIN = 0.1  # of the image's longer side, outside of which a wrist is still near
_DISAGREE_RAD = 1.4  # of the model's own two opinions: from there on it takes the hand's no more


@dataclass(frozen=True)
class Person:
    """One found in one image; all in the camera's frame, m, left then right.

    Attributes:
        box_px: (4,) left, top, right, bottom.
        T_camera_wrist: (2, 4, 4).
        elbows, shoulders: (2, 3).
        hand_boxes_px: (2, 4).
        disagreement_rad: (2,) between the rotation of the wrist and what a look at the hand alone gave.
    """

    box_px: Floats
    T_camera_wrist: Floats
    elbows: Floats
    shoulders: Floats
    hand_boxes_px: Floats
    disagreement_rad: Floats


def wearers_wrists(clip: Clip, frames: Sequence[Sequence[Person]]) -> WristEstimate:
    """The wrists of the wearer, of the people found in each of the clip's frames."""
    T = np.full((len(clip), 2, 4, 4), np.nan)
    confidence, boxes = np.zeros((len(clip), 2)), np.full((len(clip), 2, 4), np.nan)
    for frame, person in enumerate(wearer(frames, clip.K, clip.width, clip.height)):
        if person is not None:
            confidence[frame] = hand_confidence(person, clip.K, clip.width, clip.height)
            seen = confidence[frame] > 0
            T[frame, seen] = person.T_camera_wrist[seen]
            boxes[frame, seen] = _inside(person.hand_boxes_px, clip.width, clip.height)[seen]
    return WristEstimate(clip.time_ns, T, confidence, boxes)


def wearer(frames: Sequence[Sequence[Person]], K: Floats, width: int, height: int) -> list[Person | None]:
    """Who of each frame's people is the wearer, if any: like a wearer, and where they were in the frame before.

    Of all choices the cheapest (Viterbi; a state for everyone and one for nobody).
    """
    cost, back = np.zeros(1), []
    before: Sequence[Person] = ()
    for people in frames:
        own = np.array([1 - likeness(person, K, width, height) for person in people] + [_NOBODY])
        change = np.zeros((len(people) + 1, len(before) + 1))
        for now, person in enumerate(people):
            for then, former in enumerate(before):
                change[now, then] = _CHANGE * min(_moved_m(former, person) / _FAR_M, 1.0)
        total = cost + change
        back.append(total.argmin(axis=1))
        cost, before = total.min(axis=1) + own, people
    chosen: list[Person | None] = []
    state = int(cost.argmin())
    for people, former in zip(reversed(frames), reversed(back), strict=True):
        chosen.append(people[state] if state < len(people) else None)
        state = int(former[state])
    return chosen[::-1]


def likeness(person: Person, K: Floats, width: int, height: int) -> float:
    """How much somebody looks like the one who wears the camera, 0 to 1.

    The mean of three: the body goes out of the image at its bottom; the forearms come in from outside it, elbows
    unseen; the shoulders are where a wearer's are, close to the camera.
    """
    at_bottom = np.clip(1 - (height - person.box_px[3]) / (_BOTTOM * height), 0, 1)
    elbows_unseen = (_outside_px(person.elbows, K, width, height) > 0).mean()
    away_m = float(np.linalg.norm(person.shoulders.mean(axis=0)))
    close = np.clip((_FOREIGN_SHOULDERS_M - away_m) / (_FOREIGN_SHOULDERS_M - _OWN_SHOULDERS_M), 0, 1)
    return float((at_bottom + elbows_unseen + close) / 3)


def hand_confidence(person: Person, K: Floats, width: int, height: int) -> Floats:
    """(2,), 0 to 1, 0 for a hand that is not seen.

    The product of three: how near to the image the wrist is, what share of the hand is inside it, and how well the
    rotation agrees with what a look at the hand alone gives.
    """
    wrists = person.T_camera_wrist[:, :3, 3]
    near = np.clip(1 - _outside_px(wrists, K, width, height) / (_MARGIN * max(width, height)), 0, 1)
    area, inside = (_area(boxes) for boxes in (person.hand_boxes_px, _inside(person.hand_boxes_px, width, height)))
    share = np.divide(inside, area, out=np.zeros(2), where=area > 0)
    agree = np.clip(1 - person.disagreement_rad / _DISAGREE_RAD, 0, 1)
    return np.asarray(near * share * agree)


def _outside_px(points: Floats, K: Floats, width: int, height: int) -> Floats:
    """How far outside the image points (N, 3) appear, 0 inside, infinite behind the camera: (N,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = (points @ K.T)[:, :2].T / points[:, 2]
    outside = np.maximum.reduce([-x, x - width, -y, y - height, np.zeros(len(points))])
    return np.where(points[:, 2] > 0, outside, np.inf)


def _moved_m(before: Person, now: Person) -> float:
    return float(np.linalg.norm(now.T_camera_wrist[:, :3, 3] - before.T_camera_wrist[:, :3, 3], axis=1).mean())


def _inside(boxes: Floats, width: int, height: int) -> Floats:
    """What of boxes (2, 4) is in the image; one that is not has no area."""
    return np.clip(boxes, 0, [width, height, width, height])


def _area(boxes: Floats) -> Floats:
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1))
