"""Where the hands would go, drawn on the head camera's image."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from activemimic_description.kinematics import camera_pose, link_poses
from activemimic_description.robot import Robot

HANDS = {"left": "gripper_l_base_link", "right": "gripper_r_base_link"}
PREDICTED, RECORDED = (214, 60, 70), (40, 160, 90)  # RGB
_ENLARGED = 2  # times the camera's pixels, so that lines are fine
_FAR_OUTSIDE_PX = 1e5  # OpenCV's drawing overflows


def hand_positions(robot: Robot, slots: np.ndarray) -> dict[str, np.ndarray]:
    """Where the wrists are for robot vectors (T, S), m in the robot's root frame: side -> (T, 3)."""
    poses = [link_poses(robot, robot.joint_positions(row)) for row in slots]
    return {side: np.array([pose[link][:3, 3] for pose in poses]) for side, link in HANDS.items()}


def project(robot: Robot, camera: str, posture: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (T, 2), x to the right and y down, of points (T, 3) in the root frame; NaN for those behind the camera.

    Args:
        posture: (S,) the robot vector that holds the camera.
        size: the image's (width, height). The focal length is that of the robot's description, by the image's height.
    """
    T_root_camera = camera_pose(robot, camera, robot.joint_positions(posture))
    seen = (points - T_root_camera[:3, 3]) @ T_root_camera[:3, :3]
    width, height = size
    focal_px = height / 2 / np.tan(np.deg2rad(robot.cameras[camera].fovy_deg) / 2)
    depth = np.where(seen[:, 2] > 0.01, seen[:, 2], np.nan)[:, None]
    return focal_px * seen[:, :2] / depth + np.array([width, height]) / 2


def draw_traces(
    robot: Robot, image: np.ndarray, posture: np.ndarray, predicted: np.ndarray, recorded: np.ndarray
) -> np.ndarray:
    """`image` (H, W, 3) uint8 RGB of the head camera, enlarged, with both hands' ways from `posture` (S,) on.

    Args:
        predicted, recorded: (T, S) robot vectors; rows with NaN are not drawn.
    """
    height, width = image.shape[:2]
    canvas = cv2.resize(image, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
    for vectors, colour in ((recorded, RECORDED), (predicted, PREDICTED)):
        known = vectors[~np.isnan(vectors).any(axis=1)]
        for positions in hand_positions(robot, np.vstack([posture, known])).values():
            pixels = project(robot, "head", posture, positions, (width, height)) * _ENLARGED
            _draw_line(canvas, pixels, colour)
    return np.asarray(canvas)


def _draw_line(canvas: np.ndarray, pixels: np.ndarray, colour: tuple[int, int, int]) -> None:
    for start, end in pairwise(pixels):
        both = np.array([start, end])
        if np.isfinite(both).all() and np.abs(both).max() < _FAR_OUTSIDE_PX:
            here, there = (tuple(point) for point in both.round().astype(int).tolist())
            cv2.line(canvas, here, there, colour, 2, cv2.LINE_AA)
            cv2.circle(canvas, there, 3, colour, -1, cv2.LINE_AA)
