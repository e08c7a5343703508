"""Where things in space lie in the image. Cameras are OpenCV's: x right, y down, z forward."""

from __future__ import annotations

import itertools

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats, inverse, is_known
from activemimic_training.egocentric.spatial.pose_trajectory import FPS
from activemimic_training.egocentric.viewer.episode_view import Layer

NEAR_M = 0.05  # nearer to the camera's plane, or behind it, nothing is drawn
GAZE_M = 1.0  # a camera's own path would lie in its own centre: drawn is where it looks, so far ahead
AXIS_M = 0.06
Line = list[list[float]]  # points (x, y), pixels


def project_line(points: Floats, K: Floats) -> list[Line]:
    """The parts of a line through points (N, 3), m, in the camera's frame, that lie before it; NaN interrupts it."""
    parts: list[Line] = []
    for a, b in itertools.pairwise(points):
        clipped = _before_camera(a, b)
        if clipped is None:
            continue
        start, end = (_pixel(point, K) for point in clipped)
        if parts and parts[-1][-1] == start:
            parts[-1].append(end)
        else:
            parts.append([start, end])
    return parts


def paths(layer: Layer, K: Floats, frame: int, seconds: float = 1.0) -> list[list[Line]]:
    """Of where the camera looks, the left and the right wrist: what comes within `seconds`, seen from `frame`'s camera.

    Empty for a camera that is not known.
    """
    T_world_camera = layer.bodies[frame, 0]
    if not is_known(T_world_camera):
        return [[], [], []]
    coming = inverse(T_world_camera) @ layer.bodies[frame : frame + round(seconds * FPS) + 1]
    gaze = coming[:, 0, :3, 3] + GAZE_M * coming[:, 0, :3, 2]
    return [project_line(points, K) for points in (gaze, coming[:, 1, :3, 3], coming[:, 2, :3, 3])]


def axes(layer: Layer, K: Floats, frame: int) -> list[list[list[Line]]]:
    """Of the left and the right wrist the axes x, y and z, AXIS_M long, seen from `frame`'s camera."""
    if not is_known(layer.bodies[frame, 0]):
        return [[[], [], []], [[], [], []]]
    in_camera = inverse(layer.bodies[frame, 0]) @ layer.bodies[frame, 1:]
    return [
        [project_line(np.stack([T[:3, 3], T[:3, 3] + AXIS_M * T[:3, axis]]), K) for axis in range(3)] for T in in_camera
    ]


def upright(layer: Layer) -> Floats:
    """T_view_world (4, 4): z up, as the cameras held themselves on average; the first camera at the origin."""
    known = layer.bodies[is_known(layer.bodies[:, 0]), 0]
    if not len(known):
        return np.eye(4)
    up = -known[:, :3, 1].mean(axis=0)
    ahead = known[:, :3, 2].mean(axis=0)
    if min(np.linalg.norm(up), np.linalg.norm(np.cross(up, ahead))) < 1e-3:
        up, ahead = -known[0, :3, 1], known[0, :3, 2]
    z = up / np.linalg.norm(up)
    x = ahead - (ahead @ z) * z
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    T[:3, 3] = -T[:3, :3] @ known[0, :3, 3]
    return T


def _before_camera(a: Floats, b: Floats) -> tuple[Floats, Floats] | None:
    """The part of the stretch from a to b, (3,) each, that lies before the camera."""
    if not np.isfinite([a, b]).all() or max(a[2], b[2]) <= NEAR_M:
        return None
    if min(a[2], b[2]) >= NEAR_M:
        return a, b
    crossing = a + (NEAR_M - a[2]) / (b[2] - a[2]) * (b - a)
    return (a, crossing) if a[2] > b[2] else (crossing, b)


def _pixel(point: Floats, K: Floats) -> list[float]:
    x, y, z = K @ point
    return [round(float(x / z), 1), round(float(y / z), 1)]
