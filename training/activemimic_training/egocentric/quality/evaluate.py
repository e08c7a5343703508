"""Estimated trajectories against true ones: the paper's recovery rate, and what tells more than it.

Every frame of the truth counts; one without an estimate is not recovered. What is compared in which frame is told by
`comparison.py`, how by `metrics.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_description.common.configuration import read_config
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from activemimic_training.egocentric.quality.comparison import Compared, compare, paired, trajectories
from activemimic_training.egocentric.quality.metrics import (
    PathErrors,
    PoseErrors,
    accelerations,
    area_under_recall,
    rotation_offset,
)
from activemimic_training.egocentric.quality.quality import BODY_NAMES
from activemimic_training.egocentric.spatial.geometry import Floats, rotation_angle, so3_log
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, EgoTrajectory
from activemimic_training.egocentric_error import EgocentricError, GeometryError


class Tier(BaseModel):
    """Tolerances of the recovery rate, and who says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    position_m: PositiveFloat
    rot6d_l2: PositiveFloat
    source: str = ""


STRICT = Tier(position_m=0.8, rot6d_l2=0.6, source="a secondary source; the paper does not state it")


class EvaluateConfig(BaseModel):
    """What is asked of the estimates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiers: dict[str, Tier] = {"strict": STRICT}
    position_cm: tuple[PositiveFloat, ...] = Field((5, 10, 20, 40, 80), min_length=1)
    angle_deg: tuple[PositiveFloat, ...] = Field((5, 10, 20, 30), min_length=1)
    relative_s: PositiveFloat = Field(1.0, description="Over which time relative pose errors are.")
    match_ms: PositiveFloat = Field(5.0, lt=1000 / FPS / 2, description="How far apart two frames of one time may be.")
    calibration_share: float = Field(
        0.2, gt=0, lt=1, description="Of every episode's frames, its first: there a wrist's rotation offset is found."
    )


def load_evaluate_config(path: Path | None) -> EvaluateConfig:
    """Read a YAML file, or the defaults. Raises EgocentricError."""
    return read_config(EvaluateConfig, path, (), EgocentricError)


def evaluate(predicted: Path, truth: Path, config: EvaluateConfig | None = None) -> dict[str, Any]:
    """The figures of all episodes, as plain data; what is not defined is None.

    `predicted` and `truth` are each a trajectory (.npz) or a folder of them, see `comparison.paired`.

    Raises EgocentricError.
    """
    config = config or EvaluateConfig()
    compared = []
    used: set[Path] = set()
    for name, path, found in paired(predicted, truth):
        used |= set(found)
        pieces = [EgoTrajectory.load(it) for it in found]
        compared.append(compare(name, EgoTrajectory.load(path), pieces, config.match_ms, config.relative_s))
    unmatched = [str(path) for path in trajectories(predicted) if path not in used]
    return figures(compared, config) | {"unmatched": unmatched}


def figures(compared: Sequence[Compared], config: EvaluateConfig) -> dict[str, Any]:
    """All figures as plain data; what is not defined is None."""
    bodies = {}
    for body, name in enumerate(BODY_NAMES):
        errors = PoseErrors.join([_counted(it.errors[body], it.counted[:, body]) for it in compared])
        bodies[name] = _body(errors, config) | _jitter(compared, body)
    calibrated: dict[str, Any] = {}
    offsets: dict[str, float] = {}
    vectors: dict[str, list[float]] = {}
    for hand, name in enumerate(BODY_NAMES[1:]):
        found = _calibrated(compared, hand, config)
        if found is not None:
            calibrated[name], offset = found
            offsets[name] = math.degrees(rotation_angle(offset))
            vectors[name] = np.degrees(so3_log(offset.T)).tolist()
    return _plain(
        {
            "episodes": len(compared),
            "frames": sum(it.frames for it in compared),
            "bodies": bodies,
            "calibrated": calibrated,
            "offset_deg": offsets,
            "offset_vector_deg": vectors,
            "path": _path([path for it in compared for path in it.paths]),
            "by_episode": {it.name: _episode(it, config) for it in compared},
            "config": config.model_dump(mode="json"),
        }
    )


def _counted(errors: PoseErrors, counted: np.ndarray) -> PoseErrors:
    return PoseErrors(errors.position_m[counted], errors.angle_rad[counted], errors.rot6d_l2[counted])


def _body(errors: PoseErrors, config: EvaluateConfig) -> dict[str, Any]:
    if len(errors.position_m) == 0:
        return {"frames": 0}
    angles = np.radians(config.angle_deg)
    known = np.isfinite(errors.position_m)
    metres, degrees = errors.position_m[known], np.degrees(errors.angle_rad[known])
    quantiles = np.full((2, 2), np.nan) if not known.any() else np.percentile([metres, degrees], [50, 90], axis=1).T
    return {
        "frames": len(known),
        "coverage": float(known.mean()),
        "recovery": {name: errors.recovered(tier.position_m, tier.rot6d_l2) for name, tier in config.tiers.items()},
        "ladder": errors.ladder([cm / 100 for cm in config.position_cm], angles.tolist()),
        "auc_position": area_under_recall(errors.position_m, max(config.position_cm) / 100),
        "auc_angle": area_under_recall(errors.angle_rad, float(angles.max())),
        "median_m": float(quantiles[0, 0]),
        "p90_m": float(quantiles[0, 1]),
        "median_deg": float(quantiles[1, 0]),
        "p90_deg": float(quantiles[1, 1]),
    }


def _jitter(compared: Sequence[Compared], body: int) -> dict[str, float]:
    """Root mean square accelerations in the world, of the estimate and of the truth in the same frames."""
    squares: list[Floats] = [np.empty((0, 2))]
    for piece in (piece for it in compared for piece in it.pieces):
        both = np.stack([accelerations(poses[:, body]) for poses in (piece.estimated, piece.truth)], axis=1)
        neighbours = np.diff(piece.frames)
        both = both[(neighbours[:-1] == 1) & (neighbours[1:] == 1)] if len(both) else both
        squares.append(both[np.isfinite(both).all(axis=1)] ** 2)
    joined = np.concatenate(squares)
    made, true = np.sqrt(joined.mean(axis=0)) if len(joined) else (math.nan, math.nan)
    return {"jitter_m_s2": float(made), "truth_jitter_m_s2": float(true)}


def _calibrated(
    compared: Sequence[Compared], hand: int, config: EvaluateConfig
) -> tuple[dict[str, Any], Floats] | None:
    """A wrist's figures without its constant rotation offset, over the frames in which that was not looked for, and it.

    None where too few of them have both an estimate and a truth.
    """
    early = [np.arange(it.frames) < config.calibration_share * it.frames for it in compared]
    made, true = (
        np.concatenate([it.rotations[index][first, hand] for it, first in zip(compared, early, strict=True)])
        for index in (0, 1)
    )
    try:
        offset = rotation_offset(made, true)
    except GeometryError:
        return None
    parts = []
    for it, first in zip(compared, early, strict=True):
        late = it.counted[:, 1 + hand] & ~first
        R, R_true = (it.rotations[index][late, hand] for index in (0, 1))
        positions = it.errors[1 + hand].position_m[late]
        rotations = PoseErrors.of(_placed(R @ offset.T), _placed(R_true))
        parts.append(PoseErrors(positions, rotations.angle_rad, rotations.rot6d_l2))
    return _body(PoseErrors.join(parts), config), offset


def _placed(R: Floats) -> Floats:
    """Rotations (N, 3, 3) as poses at the origin."""
    poses = np.zeros((len(R), 4, 4))
    poses[:, :3, :3] = R
    return poses


def _path(paths: Sequence[PathErrors]) -> dict[str, Any]:
    """Medians over the camera's paths."""
    if not paths:
        return {}
    tables = {
        name: {key: _median([getattr(path, name)[key] for path in paths]) for key in paths[0].ate_m}
        for name in ("ate_m", "rpe_m", "rpe_rad")
    }
    degrees = {key: math.degrees(value) for key, value in tables.pop("rpe_rad").items()}
    return {**tables, "rpe_deg": degrees, "abs_log_scale": _median([path.abs_log_scale for path in paths])}


def _episode(it: Compared, config: EvaluateConfig) -> dict[str, Any]:
    bodies = {
        name: _body(_counted(it.errors[body], it.counted[:, body]), config) for body, name in enumerate(BODY_NAMES)
    }
    short = ("frames", "coverage", "recovery", "median_m", "median_deg")
    return {
        "frames": it.frames,
        "pieces": len(it.pieces),
        "bodies": {name: {key: found[key] for key in short if key in found} for name, found in bodies.items()},
        "path": _path(it.paths),
    }


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan


def _plain(data: Any) -> Any:
    """With None for NaN, as JSON has it."""
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data
