"""`geometry.py` in torch: the same names, shapes and degenerate cases, with gradients, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from activemimic_training.egocentric.spatial.geometry import BODIES, DEGENERATE, POSE_DIM, SHORTEST, SMALL_ANGLE


def transform(rotation: Tensor, translation: Tensor) -> Tensor:
    """(..., 3, 3) and (..., 3) to (..., 4, 4)."""
    shape = torch.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    top = torch.cat([rotation.expand(*shape, 3, 3), translation.expand(*shape, 3)[..., None]], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*shape, 1, 4)
    return torch.cat([top, bottom], dim=-2)


def inverse(T: Tensor) -> Tensor:
    """T_b_a of T_a_b (..., 4, 4)."""
    transposed = T[..., :3, :3].mT
    return transform(transposed, -(transposed @ T[..., :3, 3:])[..., 0])


def skew(w: Tensor) -> Tensor:
    """The matrix (..., 3, 3) of the cross product with w (..., 3)."""
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def so3_exp(w: Tensor) -> Tensor:
    """Rotation vectors (..., 3), rad, to matrices (..., 3, 3)."""
    K, angle = skew(w), _length(w)[..., None]
    return _eye(w) + _sinc(angle) * K + 0.5 * _sinc(angle / 2) ** 2 * K @ K


def so3_log(R: Tensor) -> Tensor:
    """Matrices (..., 3, 3) to rotation vectors (..., 3) of at most pi rad."""
    q = _quaternion(R)
    half = torch.atan2(_length(q[..., :3]), q[..., 3:])
    return 2 * q[..., :3] / _sinc(half)


def rotation_angle(R: Tensor) -> Tensor:
    """How far (..., 3, 3) turn, rad, in 0 to pi: (...)."""
    return _length(so3_log(R))[..., 0]


def se3_exp(twist: Tensor) -> Tensor:
    """Twists (..., 6), translational part (m) first, to motions (..., 4, 4)."""
    v, w = twist[..., :3], twist[..., 3:]
    K, angle = skew(w), _length(w)[..., None]
    V = _eye(w) + 0.5 * _sinc(angle / 2) ** 2 * K + _third(angle) * K @ K
    return transform(so3_exp(w), (V @ v[..., None])[..., 0])


def se3_log(T: Tensor) -> Tensor:
    """Motions (..., 4, 4) to twists (..., 6) that turn by at most pi rad."""
    w = so3_log(T[..., :3, :3])
    K, angle = skew(w), _length(w)[..., None]
    V_inverse = _eye(w) - 0.5 * K + _inverse_second(angle) * K @ K
    return torch.cat([(V_inverse @ T[..., :3, 3:])[..., 0], w], dim=-1)


def interpolate(T_w_a: Tensor, T_w_b: Tensor, fraction: Tensor) -> Tensor:
    """The screw motion from a (fraction 0) to b (1), both (..., 4, 4); the same from whatever frame it is seen."""
    return T_w_a @ se3_exp(fraction[..., None] * se3_log(inverse(T_w_a) @ T_w_b))


def rot6d(R: Tensor) -> Tensor:
    """The first two columns of (..., 3, 3), column after column: (..., 6)."""
    return R[..., :2].mT.flatten(-2)


def rotation(r6: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of any (..., 6), by Gram and Schmidt: the first column's direction is kept.

    NaN where none is defined: a column is zero (so short that its square has no digits left) or not finite, or the two
    are collinear. Their gradient is zero.
    """
    columns = torch.stack([r6[..., :3], r6[..., 3:]], dim=-2)
    lengths = columns.norm(dim=-1)
    unit = columns / lengths.clamp(min=torch.finfo(r6.dtype).tiny)[..., None]
    sine = (unit[..., 1, :] - (unit[..., 0, :] * unit[..., 1, :]).sum(-1, keepdim=True) * unit[..., 0, :]).norm(dim=-1)
    long_enough = lengths >= torch.finfo(r6.dtype).tiny ** 0.5 * SHORTEST
    good = (long_enough & lengths.isfinite()).all(-1) & (sine > DEGENERATE)
    # What is not good is replaced before anything is divided by, or its NaN would reach every gradient.
    safe = torch.where(good[..., None, None], columns, torch.eye(3, dtype=r6.dtype, device=r6.device)[:2])
    first, second = (safe / safe.norm(dim=-1, keepdim=True)).unbind(-2)
    for _ in range(2):  # after the first round, columns that were nearly collinear are not yet at right angles
        second = second - (first * second).sum(-1, keepdim=True) * first
        second = second / second.norm(dim=-1, keepdim=True)
    R = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
    return torch.where(good[..., None, None], R, torch.nan)


def wrists_in_world(T_world_camera: Tensor, T_camera_wrist: Tensor) -> Tensor:
    """The wrists (..., 2, 4, 4) that each frame's camera (..., 4, 4) saw, in the world: Eq. 2 for an absolute frame."""
    return T_world_camera[..., None, :, :] @ T_camera_wrist


def chunk_relative(T_world_start: Tensor, T_world_bodies: Tensor) -> Tensor:
    """Poses (..., H, 3, 4, 4) in the frame of the camera at the chunk's start (..., 4, 4): Eq. 1 and 2."""
    return inverse(T_world_start)[..., None, None, :, :] @ T_world_bodies


def action_of_poses(T_start_bodies: Tensor) -> Tensor:
    """Chunk-relative poses (..., 3, 4, 4) as unified actions (..., 27): Eq. 3-5."""
    return torch.cat([T_start_bodies[..., :3, 3], rot6d(T_start_bodies[..., :3, :3])], dim=-1).flatten(-2)


def poses_of_action(action: Tensor) -> Tensor:
    """Chunk-relative poses (..., 3, 4, 4) of unified actions (..., 27); NaN where `rotation` finds none."""
    parts = action.unflatten(-1, (BODIES, POSE_DIM))
    return transform(rotation(parts[..., 3:]), parts[..., :3])


def _eye(like: Tensor) -> Tensor:
    return torch.eye(3, dtype=like.dtype, device=like.device)


def _length(x: Tensor) -> Tensor:
    """Norms (..., 1) of (..., D), with gradient zero at zero."""
    squared = (x**2).sum(-1, keepdim=True)
    return torch.where(squared == 0, 0.0, torch.where(squared == 0, 1.0, squared).sqrt())


def _sinc(angle: Tensor) -> Tensor:
    """sin(a) / a."""
    return torch.sinc(angle / torch.pi)


def _quaternion(R: Tensor) -> Tensor:
    """Unit quaternions xyzw (..., 4) with w >= 0, of (..., 3, 3); from whichever component is the largest."""
    xx, yy, zz = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    x, y, z = (R[..., i, j] - R[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    xy, xz, yz = (R[..., i, j] + R[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = [[1 + xx - yy - zz, xy, xz, x], [xy, 1 - xx + yy - zz, yz, y], [xz, yz, 1 - xx - yy + zz, z]]
    outer = torch.stack([torch.stack(row, -1) for row in [*rows, [x, y, z, 1 + xx + yy + zz]]], -2)  # 4 q q^T
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = torch.take_along_dim(outer, largest[..., None, None], -2)[..., 0, :]
    q = q / q.norm(dim=-1, keepdim=True)
    return torch.where(q[..., 3:] < 0, -q, q)


def _third(angle: Tensor) -> Tensor:
    """(a - sin a) / a^3."""
    safe = torch.where(angle < SMALL_ANGLE, 1.0, angle)
    series = (1 - angle**2 / 20 * (1 - angle**2 / 42 * (1 - angle**2 / 72))) / 6
    return torch.where(angle < SMALL_ANGLE, series, (safe - safe.sin()) / safe**3)


def _inverse_second(angle: Tensor) -> Tensor:
    """(1 - (a / 2) cot(a / 2)) / a^2."""
    half = torch.where(angle < SMALL_ANGLE, 1.0, angle) / 2
    series = (1 + angle**2 / 60 * (1 + angle**2 / 42 * (1 + angle**2 / 40))) / 12
    return torch.where(angle < SMALL_ANGLE, series, (1 - half / half.tan()) / (4 * half**2))
