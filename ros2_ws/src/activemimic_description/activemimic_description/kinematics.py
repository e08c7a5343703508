"""Forward kinematics in plain numpy: the reference that URDF and MJCF are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from activemimic_description.robot import Joint, Robot


def rotation_from_rpy_deg(rpy_deg: Sequence[float]) -> np.ndarray:
    """(3, 3) rotation of URDF's fixed-axis roll, pitch, yaw: Rz(yaw) Ry(pitch) Rx(roll)."""
    roll, pitch, yaw = np.deg2rad(rpy_deg)
    return _about(2, yaw) @ _about(1, pitch) @ _about(0, roll)


def transform(xyz: Sequence[float], rpy_deg: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """(4, 4) homogeneous transform."""
    T = np.eye(4)
    T[:3, :3] = rotation_from_rpy_deg(rpy_deg)
    T[:3, 3] = xyz
    return T


def link_poses(robot: Robot, joint_positions: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Pose `T_root_link` (4, 4) of every link; joints that are not named stand at zero.

    Args:
        joint_positions: rad or m by joint name.
    """
    poses = {robot.root: np.eye(4)}
    for joint in robot.joints:
        poses[joint.child] = poses[joint.parent] @ _joint_transform(joint, joint_positions.get(joint.name, 0.0))
    return poses


def camera_pose(robot: Robot, camera: str, joint_positions: Mapping[str, float]) -> np.ndarray:
    """Pose `T_root_camera` (4, 4) of a camera's optical frame."""
    mount = robot.cameras[camera]
    return link_poses(robot, joint_positions)[mount.link] @ transform(mount.xyz, mount.rpy_deg)


def _joint_transform(joint: Joint, position: float) -> np.ndarray:
    T_parent_joint = transform(joint.xyz, joint.rpy_deg)
    motion = np.eye(4)
    if joint.type == "revolute":
        motion[:3, :3] = _about(2, position)
    elif joint.type == "prismatic":
        motion[2, 3] = position
    return T_parent_joint @ motion


def _about(axis: int, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    R = np.eye(3)
    R[i, i] = R[j, j] = cosine
    R[i, j], R[j, i] = -sine, sine
    return R
