"""How far estimated poses are from true ones. A missing estimate is NaN and is never recovered. N frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats, inverse, is_known, rot6d, rotation_angle
from activemimic_training.egocentric.spatial.pose_trajectory import FPS
from activemimic_training.egocentric.spatial.similarity import Similarity, align
from activemimic_training.egocentric_error import GeometryError

ALIGNMENTS = ("raw", "se3", "sim3")


@dataclass(frozen=True)
class PoseErrors:
    """(N,) each, NaN where there is no estimate."""

    position_m: Floats
    angle_rad: Floats
    rot6d_l2: Floats

    @classmethod
    def of(cls, estimated: Floats, truth: Floats) -> PoseErrors:
        """Between poses (N, 4, 4) in one frame."""
        R, R_true = estimated[:, :3, :3], truth[:, :3, :3]
        return cls(
            np.linalg.norm(estimated[:, :3, 3] - truth[:, :3, 3], axis=1),
            rotation_angle(np.swapaxes(R_true, 1, 2) @ R),
            np.linalg.norm(rot6d(R) - rot6d(R_true), axis=1),
        )

    @classmethod
    def join(cls, parts: Sequence[PoseErrors]) -> PoseErrors:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def recovered(self, position_m: float, rot6d_l2: float) -> float:
        """The paper's recovery rate: the share of frames within both tolerances."""
        return float(((self.position_m <= position_m) & (self.rot6d_l2 <= rot6d_l2)).mean())

    def ladder(self, positions_m: Sequence[float], angles_rad: Sequence[float]) -> list[list[float]]:
        """The share of frames within every pair of tolerances, a row for each position."""
        return [
            [float(((self.position_m <= metres) & (self.angle_rad <= angle)).mean()) for angle in angles_rad]
            for metres in positions_m
        ]


def area_under_recall(errors: Floats, limit: float) -> float:
    """The mean share of frames (N,) within a tolerance that goes from 0 to `limit`: 1 is perfect."""
    return float(np.nan_to_num(np.clip(1 - errors / limit, 0, None), nan=0.0).mean())


def rotation_offset(estimated: Floats, truth: Floats) -> Floats:
    """The constant rotation (3, 3) that best makes rotations (N, 3, 3) of the true ones: estimated = truth @ offset.

    Raises GeometryError without three known pairs.
    """
    relative = np.swapaxes(truth, 1, 2) @ estimated
    relative = relative[np.isfinite(relative).all(axis=(1, 2))]
    if len(relative) < 3:
        raise GeometryError(
            f"rotation offset: expected at least 3 frames with estimate and truth, found {len(relative)}"
        )
    U, _, Vt = np.linalg.svd(relative.mean(axis=0))
    return U * np.array([1, 1, np.linalg.det(U @ Vt)]) @ Vt


@dataclass(frozen=True)
class PathErrors:
    """One camera path against the true one, by alignment: raw (as given), se3 and sim3. NaN where none is defined."""

    ate_m: dict[str, float]  # absolute trajectory error, root mean square
    rpe_m: dict[str, float]  # relative pose error, root mean square
    rpe_rad: dict[str, float]
    abs_log_scale: float  # |ln s| of the Sim(3)

    @classmethod
    def of(cls, estimated: Floats, truth: Floats, step: int) -> PathErrors:
        """Of poses (N, 4, 4), both anchored where they begin; relative errors are over `step` frames."""
        known = is_known(estimated) & is_known(truth)
        pairs = np.flatnonzero(known[:-step] & known[step:])
        found = [_aligned(estimated, truth, known, alignment) for alignment in ALIGNMENTS]
        ate, rpe_m, rpe_rad = {}, {}, {}
        for name, similarity in zip(ALIGNMENTS, found, strict=True):
            if similarity is None:
                ate[name] = rpe_m[name] = rpe_rad[name] = float("nan")
                continue
            moved = similarity.poses(estimated)
            ate[name] = _rms(np.linalg.norm((moved - truth)[known, :3, 3], axis=1))
            made, true = (inverse(path[pairs]) @ path[pairs + step] for path in (moved, truth))
            error = inverse(true) @ made
            rpe_m[name] = _rms(np.linalg.norm(error[:, :3, 3], axis=1))
            rpe_rad[name] = _rms(rotation_angle(error[:, :3, :3]))
        scaled = found[-1]
        return cls(ate, rpe_m, rpe_rad, float("nan") if scaled is None else abs(float(np.log(scaled.scale))))


def accelerations(poses: Floats) -> Floats:
    """m/s^2 at every frame of the poses (N, 4, 4) that has both neighbours: (N - 2,), NaN for the others."""
    return np.linalg.norm(np.diff(poses[:, :3, 3], n=2, axis=0), axis=1) * FPS**2


def _aligned(estimated: Floats, truth: Floats, known: np.ndarray, alignment: str) -> Similarity | None:
    if not known.any():
        return None
    if alignment == "raw":
        return Similarity(1.0, np.eye(3), np.zeros(3))
    try:
        return align(estimated[known, :3, 3], truth[known, :3, 3], with_scale=alignment == "sim3")
    except GeometryError:
        return None


def _rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean())) if len(values) else float("nan")
