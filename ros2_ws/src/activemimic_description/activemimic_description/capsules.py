"""The robot's solid as capsules: the form in which distances between its links cost microseconds.

A capsule is all that lies within a radius of a segment. Capsule shapes are taken as they are; cylinders and boxes are
enclosed, so a distance between capsules is never more than that between the shapes. Every shape counts, also those
that the simulator ignores for contacts (`collision: false`): they spare its solver, but the real robot is solid there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from activemimic_description.kinematics import transform
from activemimic_description.robot import Joint, Robot, Shape
from activemimic_description.shapes import capsule_length, shape_pose

# One capsule around a box of hand's-breadth sides already reaches centimetres beyond its faces: such boxes are cut
# into rods, each with a capsule of its own, until no capsule reaches further beyond the box than this.
MOST_OVERREACH_M = 0.025
_MOST_RODS = 12  # along one side of a box
_TINY = 1e-12


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` (m) of the segment from `start` (3,) to `end` (3,)."""

    start: np.ndarray
    end: np.ndarray
    radius: float


def shape_capsules(shape: Shape, most_overreach_m: float = MOST_OVERREACH_M) -> tuple[Capsule, ...]:
    """Capsules in the link's frame that together enclose a shape.

    A box gets as few as reach no more than `most_overreach_m` beyond it. A cylinder gets one.
    """
    T = shape_pose(shape)
    if shape.box is not None:
        axis, rods, _ = _rods(shape.box, most_overreach_m)
        capsules = [_along(axis, *rod) for rod in _rod_capsules(np.array(shape.box), axis, rods)]
    elif shape.cylinder is not None:
        assert shape.length is not None
        inset, radius = _around_rod(shape.cylinder, shape.cylinder, shape.length / 2)
        capsules = [_along(2, np.zeros(3), shape.length / 2 - inset, radius)]
    else:
        assert shape.capsule is not None
        capsules = [_along(2, np.zeros(3), capsule_length(shape) / 2, shape.capsule)]
    R, origin = T[:3, :3], T[:3, 3]
    return tuple(Capsule(R @ c.start + origin, R @ c.end + origin, c.radius) for c in capsules)


class CapsuleModel:
    """All capsules of a robot, and where they are for a robot vector. N capsules, in the order of the links.

    Attributes:
        links: (N,) the link of each capsule.
        shapes: (N,) the number of the shape in its link.
        bodies: (N,) the rigid body of each capsule: links that fixed joints hold together are one body; 0 is the root.
        parents: (J + 1,) the body that carries each body; the root carries itself.
        radius: (N,) m.
    """

    def __init__(self, robot: Robot) -> None:
        body_of, T_body_link, joints, parents = _bodies(robot)
        found = [
            (name, number, capsule)
            for name, link in robot.links.items()
            for number, shape in enumerate(link.shapes)
            for capsule in shape_capsules(shape)
        ]
        self.links = tuple(name for name, _, _ in found)
        self.shapes = tuple(number for _, number, _ in found)
        self.bodies = np.array([body_of[name] for name in self.links])
        self.parents = np.array(parents)
        self.radius = np.array([capsule.radius for _, _, capsule in found])
        ends = np.array([[[*capsule.start, 1.0], [*capsule.end, 1.0]] for _, _, capsule in found])
        self._ends = np.array([T_body_link[name] for name in self.links]) @ np.swapaxes(ends, 1, 2)  # (N, 4, 2)

        self._T_parent_joint = np.array([T_parent_joint for _, T_parent_joint in joints])  # (J, 4, 4)
        driven = [_driver(robot, joint) for joint, _ in joints]
        self._slot = np.array([slot for slot, _, _ in driven])
        self._at_0, self._at_1 = (np.array([values[k] for values in driven]) for k in (1, 2))
        self._turns = np.array([joint.type == "revolute" for joint, _ in joints])
        # Bodies are numbered level by level, so a level is a slice and all its poses are one stacked product.
        depth = [0]
        for parent in parents[1:]:
            depth.append(depth[parent] + 1)
        starts = [depth.index(level) for level in range(1, max(depth) + 1)] + [len(depth)]
        self._levels = [(a, b, self.parents[a:b]) for a, b in pairwise(starts)]

    def ends(self, slots: np.ndarray) -> np.ndarray:
        """The segments' two ends, (..., N, 2, 3) m in the root frame, for robot vectors (..., S) in slot units."""
        position = self._at_0 + (self._at_1 - self._at_0) * np.take(slots, self._slot, axis=-1)
        angle = position * self._turns
        motion = np.zeros((*position.shape, 4, 4))
        motion[..., 0, 0] = motion[..., 1, 1] = np.cos(angle)
        motion[..., 1, 0] = np.sin(angle)
        motion[..., 0, 1] = -motion[..., 1, 0]
        motion[..., 2, 3] = position - angle
        motion[..., 2, 2] = motion[..., 3, 3] = 1.0
        local = self._T_parent_joint @ motion
        poses = np.empty((*position.shape[:-1], len(self.parents), 4, 4))
        poses[..., 0, :, :] = np.eye(4)
        for first, last, parents in self._levels:
            above = np.take(poses, parents, axis=-3)
            np.matmul(above, local[..., first - 1 : last - 1, :, :], out=poses[..., first:last, :, :])
        return np.swapaxes(np.take(poses, self.bodies, axis=-3)[..., :3, :] @ self._ends, -1, -2)


def segment_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K,) m between segments, pair by pair; each is given by its two ends (K, 2, 3). Points are segments too.

    After Ericson, Real-Time Collision Detection, 5.1.9: the best point of the line through the first segment, the
    point of the second segment that is best for it, and the point of the first that is best for that.
    """
    start = first[:, 0] - second[:, 0]
    u, v = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0]
    uu, vv, uv = _dot(u, u), _dot(v, v), _dot(u, v)
    us, vs = _dot(u, start), _dot(v, start)
    # Of parallel segments every point of the first is as good: the quotient may be anything within [0, 1].
    s = np.clip((uv * vs - us * vv) / np.maximum(uu * vv - uv * uv, _TINY * _TINY), 0.0, 1.0)
    t = np.clip((uv * s + vs) / np.maximum(vv, _TINY), 0.0, 1.0)
    s = np.clip((uv * t - us) / np.maximum(uu, _TINY), 0.0, 1.0)
    between = start + s[:, None] * u - t[:, None] * v
    return np.sqrt(_dot(between, between))


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("kx,kx->k", a, b)


def _around_rod(half_diagonal: float, half_thickness: float, half_length: float) -> tuple[float, float]:
    """How far (m) a rod's capsule ends before the rod's end faces, and its radius.

    The end faces' corners lie on the capsule. Ending right at the faces gives the least radius, but round caps that
    reach a whole radius beyond; an inset by half the rod's thickness makes it reach as far beyond ends as beyond sides.
    """
    inset = min(half_thickness, half_length)
    return inset, float(np.hypot(half_diagonal, inset))


def _rods(sides: tuple[float, float, float], most_overreach_m: float) -> tuple[int, tuple[int, int], float]:
    """The axis of the rods, how many lie side by side in the two other directions, and their overreach (m)."""
    best = None
    for axis, rows, columns in product(range(3), range(1, _MOST_RODS + 1), range(1, _MOST_RODS + 1)):
        across = np.delete(sides, axis) / (rows, columns)
        inset, radius = _around_rod(float(np.hypot(*across)) / 2, min(across) / 2, sides[axis] / 2)
        overreach = radius - inset
        # The fewest that keep to the limit; among those, the tightest. Where none does, the tightest of all.
        rank = (overreach > most_overreach_m, rows * columns if overreach <= most_overreach_m else 0, overreach)
        if best is None or rank < best[0]:
            best = rank, (axis, (rows, columns), overreach)
    assert best is not None
    return best[1]


def _rod_capsules(sides: np.ndarray, axis: int, rods: tuple[int, int]) -> list[tuple[np.ndarray, float, float]]:
    """Centre (3,), half segment (m) and radius (m) of every rod's capsule, in the box's frame."""
    across = np.delete(sides, axis) / rods
    inset, radius = _around_rod(float(np.hypot(*across)) / 2, min(across) / 2, sides[axis] / 2)
    centres = product(
        *((np.arange(count) - (count - 1) / 2) * width for count, width in zip(rods, across, strict=True))
    )
    return [(np.insert(np.array(centre), axis, 0.0), float(sides[axis] / 2 - inset), radius) for centre in centres]


def _along(axis: int, centre: np.ndarray, half_segment: float, radius: float) -> Capsule:
    offset = half_segment * np.eye(3)[axis]
    return Capsule(centre - offset, centre + offset, radius)


def _driver(robot: Robot, joint: Joint) -> tuple[int, float, float]:
    """The slot that moves a joint, and the joint's positions (rad or m) where the slot is 0 and 1."""
    for number, slot in enumerate(robot.slots):
        if joint.name in (slot.joint, slot.follower):
            return number, slot.joint_position(0.0), slot.joint_position(1.0)
    return 0, 0.0, 0.0  # no slot: it stands at zero


def _bodies(
    robot: Robot,
) -> tuple[dict[str, int], dict[str, np.ndarray], list[tuple[Joint, np.ndarray]], list[int]]:
    """Links by rigid body.

    Returns:
        The body of every link, its pose (4, 4) there; then by body, without the root: the joint that moves it with the
        pose (4, 4) of that joint in the body above; and with the root: the body above.
    """
    above: dict[str, list[Joint]] = {}
    for joint in robot.joints:
        above.setdefault(joint.parent, []).append(joint)
    body_of, T_body_link = {robot.root: 0}, {robot.root: np.eye(4)}
    joints: list[tuple[Joint, np.ndarray]] = []
    parents = [0]
    level = [robot.root]
    while level:
        # Fixed joints first: the links of this level's bodies, however long the list grows meanwhile.
        for link in level:
            for joint in above.get(link, []):
                if joint.type == "fixed":
                    body_of[joint.child] = body_of[link]
                    T_body_link[joint.child] = T_body_link[link] @ transform(joint.xyz, joint.rpy_deg)
                    level.append(joint.child)
        below = []
        for link in level:
            for joint in above.get(link, []):
                if joint.type != "fixed":
                    body_of[joint.child], T_body_link[joint.child] = len(parents), np.eye(4)
                    joints.append((joint, T_body_link[link] @ transform(joint.xyz, joint.rpy_deg)))
                    parents.append(body_of[link])
                    below.append(joint.child)
        level = below
    return body_of, T_body_link, joints, parents
