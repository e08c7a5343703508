"""What the pose stages write: the camera's path in metres, and wrists in the camera's frame."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats, is_known, is_rigid
from activemimic_training.egocentric.spatial.pose_trajectory import Times
from activemimic_training.egocentric_error import EgocentricError

_OF_FRAMES = ("time_ns", "T_world_camera", "confidence")


@dataclass(frozen=True)
class CameraEstimate:
    """The camera over the T frames of a clip.

    Attributes:
        time_ns: (T,), the clip's.
        T_world_camera: (T, 4, 4) in metres, OpenCV axes, NaN where not found; the world stands still for the clip.
        confidence: (T,), 0 to 1, 0 where not found.
        frame_scales: (T,) metres per unit of the path as it was found, s_k of Eq. 7; NaN where there is none. A
            backend that finds metres at once gives none at all: () then.
    """

    time_ns: Times
    T_world_camera: Floats
    confidence: Floats
    frame_scales: Floats

    @classmethod
    def none(cls, time_ns: Times) -> CameraEstimate:
        """Nothing was found in any frame (T,)."""
        frames = len(time_ns)
        return cls(time_ns, np.full((frames, 4, 4), np.nan), np.zeros(frames), np.zeros(0))

    @classmethod
    def joined(cls, parts: Sequence[CameraEstimate]) -> CameraEstimate:
        """One after the other; each keeps the world that it has."""
        scaled = any(len(part.frame_scales) for part in parts)
        scales = [
            part.frame_scales if len(part.frame_scales) else np.full(len(part.time_ns) * scaled, np.nan)
            for part in parts
        ]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _OF_FRAMES}
        return cls(frame_scales=np.concatenate(scales), **columns)

    def validate(self, name: Path | str, frames: int) -> None:
        """Raises EgocentricError naming the first field that is not what the class says."""
        _check_shapes(self, name, {"time_ns": (frames,), "T_world_camera": (frames, 4, 4), "confidence": (frames,)})
        if self.frame_scales.shape not in ((0,), (frames,)):
            raise EgocentricError(
                f"{name}: frame_scales: expected (0,) or ({frames},), found {self.frame_scales.shape}"
            )
        _check_poses(name, "T_world_camera", self.T_world_camera, self.confidence)

    def save(self, path: Path) -> None:
        _save(self, path)

    @classmethod
    def load(cls, path: Path) -> CameraEstimate:
        """Raises EgocentricError."""
        return cls(**_load(cls, path))


@dataclass(frozen=True)
class WristEstimate:
    """The wearer's wrists over the T frames of a clip, left and right.

    Attributes:
        time_ns: (T,), the clip's.
        T_camera_wrist: (T, 2, 4, 4) in metres, in the camera's frame, NaN where not found.
        confidence: (T, 2), 0 to 1, 0 where not found.
        boxes_px: (T, 2, 4) left, top, right, bottom of what of the image the hand covers, NaN where it is not known;
            a camera backend does not trust those pixels to stand still.
    """

    time_ns: Times
    T_camera_wrist: Floats
    confidence: Floats
    boxes_px: Floats

    def between(self, first: int, stop: int) -> WristEstimate:
        """The frames `first` to `stop` (exclusive)."""
        return WristEstimate(**{field.name: getattr(self, field.name)[first:stop] for field in fields(self)})

    def validate(self, name: Path | str, frames: int) -> None:
        """Raises EgocentricError naming the first field that is not what the class says."""
        shapes = {"T_camera_wrist": (frames, 2, 4, 4), "confidence": (frames, 2), "boxes_px": (frames, 2, 4)}
        _check_shapes(self, name, {"time_ns": (frames,), **shapes})
        _check_poses(name, "T_camera_wrist", self.T_camera_wrist, self.confidence)

    def save(self, path: Path) -> None:
        _save(self, path)

    @classmethod
    def load(cls, path: Path) -> WristEstimate:
        """Raises EgocentricError."""
        return cls(**_load(cls, path))


def _check_shapes(estimate: Any, name: Path | str, shapes: dict[str, tuple[int, ...]]) -> None:
    for field, shape in shapes.items():
        kind = np.dtype(np.int64 if field == "time_ns" else np.float64)
        values = getattr(estimate, field)
        if values.shape != shape or values.dtype != kind:
            expected, found = f"{shape} {kind}", f"{values.shape} {values.dtype}"
            raise EgocentricError(f"{name}: {field}: expected {expected}, found {found}")


def _check_poses(name: Path | str, field: str, poses: Floats, confidence: Floats) -> None:
    known = is_known(poses)
    if (wrong := known & ~is_rigid(poses)).any():
        frame = int(np.argwhere(wrong)[0][0])
        raise EgocentricError(f"{name}: {field}: expected rigid transforms (m) or NaN, found another in frame {frame}")
    if not ((confidence >= 0) & (confidence <= 1) & (known | (confidence == 0))).all():
        raise EgocentricError(f"{name}: confidence: expected 0 to 1, and 0 without a pose")


def _save(estimate: Any, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{field.name: getattr(estimate, field.name) for field in fields(estimate)})


def _load(kind: Any, path: Path) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    try:
        with np.load(path, allow_pickle=False) as file:
            found = dict(file.items())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise EgocentricError(f"{path}: cannot be read as a {kind.__name__} (.npz): {error}") from None
    if set(found) != names:
        raise EgocentricError(f"{path}: expected {', '.join(sorted(names))}, found {', '.join(sorted(found))}")
    return found
