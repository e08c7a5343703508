"""The metric scale of a camera path that is known up to one (Eq. 7, 8), and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from activemimic_training.egocentric.spatial.geometry import Floats
from activemimic_training.egocentric.spatial.pose_trajectory import Flags
from activemimic_training.egocentric_error import EgocentricError, GeometryError

MIN_PIXELS = 100  # of a frame: fewer give no scale
MIN_FRAMES_SHARE = 0.9  # of an episode's frames: fewer give no scale


@dataclass(frozen=True)
class EpisodeScale:
    """Metres per unit of the normalised path.

    Attributes:
        scale: s, the median over frames.
        frames: (K,) s_k, NaN for a frame of which too few pixels are of use.
        pixels: (K,) of how many pixels each is the median.
        spread: half the distance of the 16th from the 84th percentile of s_k / s: a robust relative deviation.
    """

    scale: float
    frames: Floats
    pixels: npt.NDArray[np.int64]
    spread: float


def frame_scale(metric: Floats, normalised: Floats, usable: Flags, min_pixels: int = MIN_PIXELS) -> tuple[float, int]:
    """s_k of Eq. 7, the median of D_metric / D_normalised, and the number of pixels it comes from.

    NaN with fewer than `min_pixels`: there is no scale to fall back on.

    Args:
        metric, normalised: z depths (H, W) or (N,), in metres and in the path's unit.
        usable: of their shape, False for pixels that are not confident or lie on hands, which move.
    """
    if not metric.shape == normalised.shape == usable.shape:
        raise GeometryError(
            f"expected depths and mask of one shape, found {metric.shape}, {normalised.shape} and {usable.shape}"
        )
    good = usable & np.isfinite(metric) & np.isfinite(normalised) & (metric > 0) & (normalised > 0)
    count = int(good.sum())
    return (float(np.median(metric[good] / normalised[good])) if count >= min_pixels else float("nan")), count


def episode_scale(frames: Floats, pixels: npt.NDArray[np.int64], name: str) -> EpisodeScale:
    """s of the frames' s_k (K,).

    Raises EgocentricError, with the episode's `name`, when fewer than MIN_FRAMES_SHARE of the frames have one.
    """
    known = frames[np.isfinite(frames)]
    if len(known) == 0 or len(known) < MIN_FRAMES_SHARE * len(frames):
        raise EgocentricError(
            f"{name}: metric scale: expected enough usable pixels in {MIN_FRAMES_SHARE:.0%} of the "
            f"frames, found them in {len(known)} of {len(frames)}"
        )
    return EpisodeScale(float(np.median(known)), frames, pixels, scale_spread(frames))


def scale_spread(frames: Floats) -> float:
    """Half the distance of the 16th from the 84th percentile of s_k / s, of the frames (K,) that have one."""
    known = frames[np.isfinite(frames)]
    low, high = np.percentile(known / np.median(known), [16, 84])
    return float(high - low) / 2


def metric_path(T_world_camera: Floats, scale: float) -> Floats:
    """Poses (..., 4, 4) with only their positions scaled: Eq. 8. Raises GeometryError for a scale that is none."""
    if not (np.isfinite(scale) and scale > 0):
        raise GeometryError(f"scale: expected a positive number, found {scale}")
    scaled = T_world_camera.copy()
    scaled[..., :3, 3] *= scale
    return scaled
