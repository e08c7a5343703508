"""A hand of 21 landmarks, two of them at work, and clips that have no video."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.spatial.geometry import inverse
from ego_motion import at_work

WIDTH, HEIGHT = 960, 540
K = np.array([[520.0, 0, 470], [0, 515, 280], [0, 0, 1]])
# A right hand in its own frame, mm: x along the palm, y to the thumb, z out of the back; from the wrist, finger by
# finger, each from its root.
_RIGHT_MM = [
    [0, 0, 0],
    *([22, 22, -8], [45, 38, -14], [62, 50, -18], [76, 58, -22]),
    *([92, 26, 0], [128, 32, 2], [148, 34, -6], [162, 35, -16]),
    *([94, 4, 3], [136, 5, 5], [160, 5, -4], [176, 5, -16]),
    *([88, -15, 0], [126, -19, 2], [150, -21, -6], [166, -22, -16]),
    *([80, -32, -5], [108, -41, -5], [124, -45, -12], [136, -48, -20]),
]
_BONES = [(root, tip) for finger in range(5) for root, tip in [(0, 4 * finger + 1)]] + [
    (4 * finger + joint, 4 * finger + joint + 1) for finger in range(5) for joint in (1, 2, 3)
]


def landmarks(T_camera_wrist: np.ndarray, left: bool) -> np.ndarray:
    """(21, 3) in the camera's frame, m."""
    own = np.array(_RIGHT_MM) / 1000 * (np.array([1, -1, 1]) if left else 1)
    # The wrist's frame as `palm.py` has it, made exact: its x goes between two knuckles, and z stands on both.
    x = own[5] + own[17]
    z = np.cross(own[5], own[17]) if left else np.cross(own[17], own[5])
    axes = np.stack([x, np.cross(z, x), z]) / np.linalg.norm([x, np.cross(z, x), z], axis=1, keepdims=True)
    return own @ axes.T @ T_camera_wrist[:3, :3].T + T_camera_wrist[:3, 3]


def project(points: np.ndarray) -> np.ndarray:
    """(..., 3) to pixels (..., 2)."""
    seen = points @ K.T
    return seen[..., :2] / seen[..., 2:]


def wrists_at_work(frames: int) -> np.ndarray:
    """T_camera_wrist (T, 2, 4, 4) of `at_work`."""
    truth = at_work(frames)
    return inverse(truth.T_world_camera)[:, None] @ truth.T_world_wrist


def drawn(hands: list[np.ndarray]) -> np.ndarray:
    """A picture of hands, each by its landmarks (21, 3) in the camera's frame; palms, as they have no nails."""
    image = np.full((HEIGHT, WIDTH, 3), (96, 112, 104), np.uint8)
    for points in hands:
        pixels = project(points)
        wide = np.linalg.norm(pixels[9] - pixels[0]) / 95  # px of a mm
        at = [tuple(int(v) for v in pixel) for pixel in pixels]
        arm = tuple(int(v) for v in pixels[0] + 3 * (pixels[0] - pixels[9]))
        for shade, thin in (((150, 100, 78), 0), ((214, 160, 130), 4), ((226, 176, 146), 9)):
            cv2.line(image, at[0], arm, shade, max(1, int((50 - 2 * thin) * wide)), cv2.LINE_AA)
            cv2.fillConvexPoly(image, cv2.convexHull(np.array([at[i] for i in (0, 1, 5, 9, 13, 17)])), shade)
            for a, b in _BONES:
                thick = 26 if a == 0 else 19 if b % 4 else 16
                cv2.line(image, at[a], at[b], shade, max(1, int((thick - thin) * wide)), cv2.LINE_AA)
    return cv2.GaussianBlur(image, (3, 3), 0)


class StillClip(Clip):
    """Its images carry their number and show nothing."""

    def images(self) -> Iterator[np.ndarray]:
        for frame in range(len(self)):
            yield np.full((HEIGHT, WIDTH, 3), frame, np.uint8)


def still_clip(folder: Path, frames: int) -> StillClip:
    times = [100_000_000 * frame for frame in range(frames)]
    (folder / "frames.json").write_text(json.dumps({"fps": 10, "time_ns": times}))
    return StillClip("kitchen_000", Item("kitchen", "video", folder / "kitchen.mp4"), folder, K, WIDTH, HEIGHT)
