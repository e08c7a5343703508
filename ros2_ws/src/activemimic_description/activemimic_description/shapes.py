"""Geometry of a link's shapes: their poses and the inertia of a solid of that form."""

from __future__ import annotations

import numpy as np

from activemimic_description.kinematics import transform
from activemimic_description.robot import Link, Shape


def shape_pose(shape: Shape) -> np.ndarray:
    """Pose `T_link_shape` (4, 4) of the shape's centre; cylinders and capsules lie along its z axis."""
    if shape.start is None or shape.end is None:
        return transform(shape.xyz, shape.rpy_deg)
    start, end = np.array(shape.start), np.array(shape.end)
    T = np.eye(4)
    T[:3, :3] = _rotation_with_z_along(end - start)
    T[:3, 3] = (start + end) / 2
    return T


def capsule_length(shape: Shape) -> float:
    """Distance (m) between the centres of a capsule's two half spheres."""
    assert shape.start is not None
    assert shape.end is not None
    return float(np.linalg.norm(np.subtract(shape.end, shape.start)))


def link_inertia(link: Link) -> tuple[np.ndarray, np.ndarray] | None:
    """Pose `T_link_com` (4, 4) and principal moments (3,) in kg m² of a link, or None for a massless one.

    The vendor's mass is spread evenly over the link's first shape; a capsule counts as the cylinder that encloses it.
    """
    if link.mass == 0.0:
        return None
    if not link.shapes:
        raise ValueError("a link with a mass needs a shape to spread it over")
    shape = link.shapes[0]
    if shape.box is not None:
        x, y, z = shape.box
        moments = np.array([y * y + z * z, x * x + z * z, x * x + y * y]) / 12
    else:
        radius = shape.cylinder or shape.capsule or 0.0
        length = shape.length or capsule_length(shape) + 2 * radius
        across = (3 * radius**2 + length**2) / 12
        moments = np.array([across, across, radius**2 / 2])
    return shape_pose(shape), link.mass * moments


def _rotation_with_z_along(direction: np.ndarray) -> np.ndarray:
    z = direction / np.linalg.norm(direction)
    helper = np.eye(3)[np.argmin(np.abs(z))]
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
