"""Questions about contacts and poses that several tasks ask."""

from __future__ import annotations

import mujoco
import numpy as np


def holds(model: mujoco.MjModel, data: mujoco.MjData, gripper: str, body: str) -> bool:
    """Whether both fingers of a gripper ("gripper_l" or "gripper_r") touch a body."""
    fingers = {model.body(f"{gripper}_outer_link").id, model.body(f"{gripper}_inner_link").id}
    return fingers <= touching(model, data, body)


def touching(model: mujoco.MjModel, data: mujoco.MjData, body: str) -> set[int]:
    """Ids of the bodies in contact with a body."""
    target = model.body(body).id
    found: set[int] = set()
    for contact in data.contact:
        bodies = {int(model.geom_bodyid[geom]) for geom in contact.geom}
        if target in bodies:
            found |= bodies - {target}
    return found


def tilt_rad(data: mujoco.MjData, body: str) -> float:
    """The angle between a body's z axis and the vertical."""
    return float(np.arccos(np.clip(data.body(body).xmat[8], -1.0, 1.0)))


def view_angles_rad(data: mujoco.MjData, camera: str, point: np.ndarray) -> np.ndarray:
    """How far right and up (2,) of a camera's axis a point (3,) lies; beyond a right angle, it lies behind."""
    pose = data.camera(camera)
    right, up, back = pose.xmat.reshape(3, 3).T @ (point - pose.xpos)
    return np.arctan2([right, up], -back)
