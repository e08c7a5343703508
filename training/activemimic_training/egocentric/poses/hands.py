"""Which pixels belong to hands: they move, and a camera cannot be found by them."""

from __future__ import annotations

import numpy as np

from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.spatial.geometry import Floats
from activemimic_training.egocentric.spatial.pose_trajectory import Flags

_MARGIN = 0.15  # of a box's size, on every side: boxes end at the skin, shadows and what is held do not
_REACH_M = 0.22  # from the wrist to the fingertips, and a little


def hand_pixels(clip: Clip, wrists: WristEstimate, frame: int, width: int, height: int) -> Flags:
    """(height, width), the clip's image in that size: True within a hand's box, or where its wrist is seen.

    Of a hand whose box is not known, what its wrist's pose can reach is taken.
    """
    mask = np.zeros((height, width), np.bool_)
    to_size = np.array([width / clip.width, height / clip.height])
    for hand in (0, 1):
        box = wrists.boxes_px[frame, hand].reshape(2, 2)
        if np.isfinite(box).all():
            margin = _MARGIN * (box[1] - box[0])
            box = box + np.stack([-margin, margin])
        else:
            box = _reach(clip.K, wrists.T_camera_wrist[frame, hand, :3, 3])
        if box is not None:
            (left, top), (right, bottom) = np.clip(box * to_size, 0, (width, height))
            mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    return mask


def _reach(K: Floats, wrist: Floats) -> Floats | None:
    """The box (2, 2), pixels, around a wrist at (3,) m, of what its hand can cover; None: not before the camera."""
    if not (np.isfinite(wrist).all() and wrist[2] > 0.05):
        return None
    center = (K @ wrist)[:2] / wrist[2]
    radius = _REACH_M / wrist[2] * np.array([K[0, 0], K[1, 1]])
    return np.stack([center - radius, center + radius])
