"""A hand's 21 landmarks as one pose, and where in space a hand of known size is that is seen in an image.

Landmarks are in MediaPipe's order: 0 the wrist, 5, 9, 13 and 17 the knuckles of index to little finger.

The wrist's frame, of both hands alike: origin at the wrist; x to the middle between the knuckles of index and little
finger; z out of the back of the hand; y completes them, to the thumb of a right hand, from it of a left one. So two
hands that lie side by side, palms down, have the same rotation.
"""

from __future__ import annotations

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats, rotation, so3_exp, transform

WRIST, INDEX, MIDDLE, LITTLE = 0, 5, 9, 17
LANDMARKS = 21
_NEAREST_M = 0.02  # nothing nearer to the lens is a hand


def palm_poses(points: Floats, left: bool) -> Floats:
    """T_a_wrist (..., 4, 4) of landmarks (..., 21, 3) in frame a; NaN where wrist and knuckles lie on one line."""
    wrist = points[..., WRIST, :]
    index, little = points[..., INDEX, :] - wrist, points[..., LITTLE, :] - wrist
    forward = (index + little) / 2
    up = np.cross(index, little) if left else np.cross(little, index)
    return transform(rotation(np.concatenate([forward, np.cross(up, forward)], axis=-1)), wrist)


def hand_size(points: Floats) -> Floats:
    """From the wrist to the middle finger's knuckle: (...) of (..., 21, 3)."""
    return np.asarray(np.linalg.norm(points[..., MIDDLE, :] - points[..., WRIST, :], axis=-1))


def place_hand(shape: Floats, pixels: Floats, K: Floats) -> tuple[Floats, float] | None:
    """Where a hand is, by its shape and where its landmarks appear.

    A model that sees the image cut out around a hand gives its shape as seen along the ray to it. That turn is undone,
    and only the place is fitted: to fit the rotation too (PnP) would read what the shape is off as a turn of the palm.

    Args:
        shape: (21, 3) landmarks, m, about any origin; x right, y down, z along the ray to the hand.
        pixels: (21, 2) of the same in the image.
        K: (3, 3).

    Returns:
        The landmarks in the camera's frame (21, 3), m, and how far off they appear, as a share of the hand's extent in
        the image (root mean square of both); None if no place before the camera fits.
    """
    rays = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
    extent = _spread(rays - rays.mean(axis=0))
    if not extent > 0:
        return None
    turned = shape @ view_rotation(np.append(rays.mean(axis=0), 1.0)).T
    # (x + t_x) = u (z + t_z), and the same for y and v; all landmarks are about equally far.
    zero, one = np.zeros(LANDMARKS), np.ones(LANDMARKS)
    u, v = rays.T
    rows = np.concatenate([np.stack([one, zero, -u], -1), np.stack([zero, one, -v], -1)])
    right = np.concatenate([turned[:, 2] * u - turned[:, 0], turned[:, 2] * v - turned[:, 1]])
    place = np.linalg.lstsq(rows, right, rcond=None)[0]
    points = turned + place
    if not (points[:, 2] > _NEAREST_M).all():
        return None
    return points, _spread(points[:, :2] / points[:, 2:] - rays) / extent


def view_rotation(ray: Floats) -> Floats:
    """The shortest turn (3, 3) that takes the camera's axis to a ray (3,) before it."""
    across = np.cross([0.0, 0.0, 1.0], ray)
    sine = float(np.linalg.norm(across))
    return so3_exp(across / max(sine, 1e-12) * np.arctan2(sine, ray[2]))


def box_px(pixels: Floats) -> Floats:
    """left, top, right, bottom (4,) of points (N, 2)."""
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def _spread(offsets: Floats) -> float:
    """Root mean square length of (N, D)."""
    return float(np.sqrt((offsets**2).sum(axis=1).mean()))
