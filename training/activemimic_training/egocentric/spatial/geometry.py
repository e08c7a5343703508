"""Rigid motions, rot6d and the paper's chunk-relative action (Eq. 1-5) in numpy.

`T_a_b` (..., 4, 4) takes coordinates in frame b to frame a; two compose by `T_a_b @ T_b_c`. A pose that is not known
is NaN, and so is all that is made of it. Axes: H steps of a chunk; the three bodies are camera, left, right wrist.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

POSE_DIM = 9  # position (m), then rot6d
BODIES = 3
RIGID_TOLERANCE = 1e-6  # of R^T R from the identity
SMALL_ANGLE = 0.1  # rad: below it the series are the more exact
DEGENERATE = 1e-8  # the sine between two columns below which they span no plane
SHORTEST = 1e3  # times the root of the smallest normal number: the square of what is shorter has lost digits


def transform(rotation: Floats, translation: Floats) -> Floats:
    """(..., 3, 3) and (..., 3) to (..., 4, 4)."""
    shape = np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    T = np.zeros((*shape, 4, 4), np.result_type(rotation, translation))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = rotation, translation, 1.0
    return T


def inverse(T: Floats) -> Floats:
    """T_b_a of T_a_b (..., 4, 4)."""
    transposed = np.swapaxes(T[..., :3, :3], -1, -2)
    return transform(transposed, -(transposed @ T[..., :3, 3:])[..., 0])


def is_known(T: Floats) -> npt.NDArray[np.bool_]:
    """Which of (..., 4, 4) are poses at all, not NaN."""
    return np.asarray(np.isfinite(T).all(axis=(-1, -2)))


def is_rigid(T: Floats) -> npt.NDArray[np.bool_]:
    """Which of (..., 4, 4) are rotations with translations, to RIGID_TOLERANCE; False for those with NaN."""
    T = np.where(is_known(T)[..., None, None], T, 0.0)
    R = T[..., :3, :3]
    error = np.abs(np.swapaxes(R, -1, -2) @ R - np.eye(3)).max(axis=(-1, -2))
    bottom = np.abs(T[..., 3, :] - np.array([0, 0, 0, 1])).max(axis=-1)
    return (error < RIGID_TOLERANCE) & (bottom < RIGID_TOLERANCE) & (np.linalg.det(R) > 0)


def skew(w: Floats) -> Floats:
    """The matrix (..., 3, 3) of the cross product with w (..., 3)."""
    x, y, z = np.moveaxis(w, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*w.shape, 3)


def so3_exp(w: Floats) -> Floats:
    """Rotation vectors (..., 3), rad, to matrices (..., 3, 3)."""
    K, angle = skew(w), np.linalg.norm(w, axis=-1)[..., None, None]
    return np.eye(3) + np.sinc(angle / np.pi) * K + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * K @ K


def so3_log(R: Floats) -> Floats:
    """Matrices (..., 3, 3) to rotation vectors (..., 3) of at most pi rad."""
    q = _quaternion(R)
    half = np.arctan2(np.linalg.norm(q[..., :3], axis=-1, keepdims=True), q[..., 3:])
    return 2 * q[..., :3] / np.sinc(half / np.pi)


def rotation_angle(R: Floats) -> Floats:
    """How far (..., 3, 3) turn, rad, in 0 to pi: (...)."""
    return np.linalg.norm(so3_log(R), axis=-1)


def se3_exp(twist: Floats) -> Floats:
    """Twists (..., 6), translational part (m) first, to motions (..., 4, 4)."""
    v, w = twist[..., :3], twist[..., 3:]
    K, angle = skew(w), np.linalg.norm(w, axis=-1)[..., None, None]
    V = np.eye(3) + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * K + _third(angle) * K @ K
    return transform(so3_exp(w), (V @ v[..., None])[..., 0])


def se3_log(T: Floats) -> Floats:
    """Motions (..., 4, 4) to twists (..., 6) that turn by at most pi rad."""
    w = so3_log(T[..., :3, :3])
    K, angle = skew(w), np.linalg.norm(w, axis=-1)[..., None, None]
    V_inverse = np.eye(3) - 0.5 * K + _inverse_second(angle) * K @ K
    return np.concatenate([(V_inverse @ T[..., :3, 3:])[..., 0], w], axis=-1)


def interpolate(T_w_a: Floats, T_w_b: Floats, fraction: npt.ArrayLike) -> Floats:
    """The screw motion from a (fraction 0) to b (1), both (..., 4, 4); the same from whatever frame it is seen."""
    return T_w_a @ se3_exp(np.asarray(fraction)[..., None] * se3_log(inverse(T_w_a) @ T_w_b))


def rot6d(R: Floats) -> Floats:
    """The first two columns of (..., 3, 3), column after column: (..., 6)."""
    return np.swapaxes(R[..., :2], -1, -2).reshape(*R.shape[:-2], 6)


def rotation(r6: Floats) -> Floats:
    """Rotations (..., 3, 3) of any (..., 6), by Gram and Schmidt: the first column's direction is kept.

    NaN where none is defined: a column is zero (so short that its square has no digits left) or not finite, or
    the two are collinear.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        first, second = (_unit(column) for column in (r6[..., :3], r6[..., 3:]))
        across = second - (first * second).sum(axis=-1, keepdims=True) * first
        sine = np.linalg.norm(across, axis=-1, keepdims=True)
        across = np.where(sine > DEGENERATE, across / sine, np.nan)
    # One more round: after the first, columns that were nearly collinear are not yet at right angles.
    across = across - (first * across).sum(axis=-1, keepdims=True) * first
    across = across / np.linalg.norm(across, axis=-1, keepdims=True)
    first = np.where(np.isnan(across), np.nan, first)
    return np.stack([first, across, np.cross(first, across)], axis=-1)


def _unit(v: Floats) -> Floats:
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.where(length >= np.finfo(v.dtype).tiny ** 0.5 * SHORTEST, v / length, np.nan)


def wrists_in_world(T_world_camera: Floats, T_camera_wrist: Floats) -> Floats:
    """The wrists (..., 2, 4, 4) that each frame's camera (..., 4, 4) saw, in the world: Eq. 2 for an absolute frame."""
    return T_world_camera[..., None, :, :] @ T_camera_wrist


def chunk_relative(T_world_start: Floats, T_world_bodies: Floats) -> Floats:
    """Poses (..., H, 3, 4, 4) in the frame of the camera at the chunk's start (..., 4, 4): Eq. 1 and 2."""
    return inverse(T_world_start)[..., None, None, :, :] @ T_world_bodies


def action_of_poses(T_start_bodies: Floats) -> Floats:
    """Chunk-relative poses (..., 3, 4, 4) as unified actions (..., 27): Eq. 3-5."""
    parts = np.concatenate([T_start_bodies[..., :3, 3], rot6d(T_start_bodies[..., :3, :3])], axis=-1)
    return parts.reshape(*parts.shape[:-2], BODIES * POSE_DIM)


def poses_of_action(action: Floats) -> Floats:
    """Chunk-relative poses (..., 3, 4, 4) of unified actions (..., 27); NaN where `rotation` finds none."""
    parts = action.reshape(*action.shape[:-1], BODIES, POSE_DIM)
    return transform(rotation(parts[..., 3:]), parts[..., :3])


def _quaternion(R: Floats) -> Floats:
    """Unit quaternions xyzw (..., 4) with w >= 0, of (..., 3, 3); from whichever component is the largest."""
    xx, yy, zz = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    x, y, z = (R[..., i, j] - R[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    xy, xz, yz = (R[..., i, j] + R[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = [[1 + xx - yy - zz, xy, xz, x], [xy, 1 - xx + yy - zz, yz, y], [xz, yz, 1 - xx - yy + zz, z]]
    outer = np.stack([np.stack(row, -1) for row in [*rows, [x, y, z, 1 + xx + yy + zz]]], -2)  # 4 q q^T
    largest = np.diagonal(outer, axis1=-2, axis2=-1).argmax(-1)
    q = np.take_along_axis(outer, largest[..., None, None], -2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0, -q, q)


def _third(angle: Floats) -> Floats:
    """(a - sin a) / a^3."""
    safe = np.where(angle < SMALL_ANGLE, 1.0, angle)
    series = (1 - angle**2 / 20 * (1 - angle**2 / 42 * (1 - angle**2 / 72))) / 6
    return np.where(angle < SMALL_ANGLE, series, (safe - np.sin(safe)) / safe**3)


def _inverse_second(angle: Floats) -> Floats:
    """(1 - (a / 2) cot(a / 2)) / a^2."""
    half = np.where(angle < SMALL_ANGLE, 1.0, angle) / 2
    series = (1 + angle**2 / 60 * (1 + angle**2 / 42 * (1 + angle**2 / 40))) / 12
    return np.where(angle < SMALL_ANGLE, series, (1 - half / np.tan(half)) / (4 * half**2))
