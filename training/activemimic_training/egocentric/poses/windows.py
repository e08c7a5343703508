"""A long path put together of windows that share frames: each was found up to a similarity of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats, interpolate
from activemimic_training.egocentric.spatial.pose_trajectory import Flags
from activemimic_training.egocentric.spatial.similarity import Similarity, align_robustly
from activemimic_training.egocentric_error import EgocentricError, GeometryError

_POINTS = 400  # of a shared frame that align two windows


@dataclass(frozen=True)
class Window:
    """What a model says of W frames, in a frame and a unit of its own.

    Attributes:
        first: the clip's frame that is its first.
        T_world_camera: (W, 4, 4).
        depth: (W, H, W), z.
        confidence: (W, H, W), 1 and above.
        still: (W, H, W), the pixels that are confident and not on hands.
        K: (3, 3) of the images that the depth is of.
    """

    first: int
    T_world_camera: Floats
    depth: Floats
    confidence: Floats
    still: Flags
    K: Floats

    @property
    def stop(self) -> int:
        return self.first + len(self.T_world_camera)


def windows(frames: int, length: int, overlap: int) -> list[tuple[int, int]]:
    """First and stop (exclusive) of windows over `frames`: one if all fit, else each shares `overlap` with the next,
    the last more."""
    if frames <= length:
        return [(0, frames)]
    starts = [*range(0, frames - length, length - overlap), frames - length]
    return [(start, start + length) for start in starts]


class WindowedPath:
    """Grows by windows; its frame and unit are those of the first."""

    def __init__(self, name: str, max_residual: float) -> None:
        self._name, self._max_residual = name, max_residual
        self._last: Window | None = None
        self._last_unit = 1.0
        self.T_world_camera: Floats = np.zeros((0, 4, 4))

    def add(self, window: Window) -> float:
        """Lay `window` over the last one; returns how many of the path's units one of its own is.

        Raises EgocentricError if the two do not agree on the frames they share.
        """
        unit, moved = 1.0, window.T_world_camera
        if self._last is not None:
            known = len(self.T_world_camera)
            shared = known - window.first
            similarity = self._similarity(self._last, window, shared)
            unit, moved = similarity.scale, similarity.poses(window.T_world_camera)
            # From the one to the other little by little, so that there is no step where a window ends.
            fraction = np.arange(1, shared + 1) / (shared + 1)
            moved[:shared] = interpolate(self.T_world_camera[window.first :], moved[:shared], fraction)
        self.T_world_camera = np.concatenate([self.T_world_camera[: window.first], moved])
        self._last, self._last_unit = window, unit
        return unit

    def _similarity(self, before: Window, window: Window, shared: int) -> Similarity:
        points, placed, weights, depths = [], [], [], []
        for frame in range(shared):
            frame_before = window.first + frame - before.first
            both = np.argwhere(before.still[frame_before] & window.still[frame])
            pixels = both[:: max(1, len(both) // _POINTS)]
            rows, columns = pixels.T
            rays = np.column_stack([columns, rows, np.ones(len(pixels))]) @ np.linalg.inv(window.K).T
            points.append(_placed(rays, window.depth[frame][rows, columns], window.T_world_camera[frame]))
            pose = self.T_world_camera[window.first + frame]
            depth = before.depth[frame_before][rows, columns] * self._last_unit
            placed.append(_placed(rays, depth, pose))
            depths.append(depth)
            confidence = np.minimum(before.confidence[frame_before], window.confidence[frame])
            weights.append(1 - 1 / confidence[rows, columns])
        source, target = np.concatenate(points), np.concatenate(placed)
        typical = float(np.median(np.concatenate(depths))) if len(source) else 0.0
        place = f"{self._name}: frames {window.first} to {window.first + shared}"
        try:
            found = align_robustly(source, target, np.concatenate(weights), huber=0.05 * typical)
        except GeometryError as error:
            raise EgocentricError(f"{place}: two windows cannot be laid over each other: {error}") from None
        residual = float(np.median(np.linalg.norm(found.points(source) - target, axis=1))) / typical
        if residual > self._max_residual:
            raise EgocentricError(
                f"{place}: two windows: expected points that agree to {self._max_residual:g} of their depth, found "
                f"{residual:.3f}"
            )
        return found


def _placed(rays: Floats, depth: Floats, T_world_camera: Floats) -> Floats:
    """Points (N, 3) at `depth` (N,) along `rays` (N, 3), in the world."""
    return rays * depth[:, None] @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
