"""What a chunk shall be: per-step unified actions and which of their numbers count, made at load (Eq. 1-5).

Step k of the chunk that starts at row i is the pose at row i + k + 1, as a policy's point k is due one step after what
it saw. Axes: N rows, B chunks, H steps, 27 numbers: camera, left wrist, right wrist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from activemimic_policy.unified_action import UNIFIED_SLOTS

from activemimic_training.egocentric.spatial.geometry import POSE_DIM, Floats, action_of_poses, chunk_relative
from activemimic_training.egocentric.spatial.pose_trajectory import Flags

Rows = npt.NDArray[np.int64]

# Where there is no pose: the camera's own at the chunk's start. It counts nowhere, and is no outlier in a network.
ABSENT = action_of_poses(np.broadcast_to(np.eye(4), (3, 4, 4)))


def chunk_targets(bodies: Floats, valid: Flags, last: Rows, starts: Rows, horizon: int) -> tuple[Floats, Flags]:
    """The targets (B, H, 27) and their mask (B, H, 27) of the chunks that start at the rows `starts` (B,).

    Masked, with the values ABSENT: a body without a pose at its step, every step after the episode's last row, and
    the whole chunk if there is no camera at its start.

    Args:
        bodies: absolute poses (N, 3, 4, 4) of camera, left and right wrist, in a world that is one for an episode.
        valid: (N, 3), which of them there are.
        last: (N,) the last row of the row's episode.
    """
    due = starts[:, None] + 1 + np.arange(horizon)
    inside = due <= last[starts][:, None]
    rows = np.where(inside, due, starts[:, None])
    counts = valid[rows] & inside[..., None] & valid[starts, 0][:, None, None]
    mask = np.repeat(counts, POSE_DIM, axis=-1)
    return np.where(mask, action_of_poses(chunk_relative(bodies[starts, 0], bodies[rows])), ABSENT), mask


def states(bodies: Floats, valid: Flags) -> Floats:
    """What a chunk starts from (N, 27): the bodies in the row's own camera frame; ABSENT where there is none."""
    mask = np.repeat(valid & valid[:, :1], POSE_DIM, axis=-1)
    return np.where(mask, action_of_poses(chunk_relative(bodies[:, 0], bodies[:, None])[:, 0]), ABSENT)


def wrist_only(values: npt.NDArray) -> npt.NDArray:
    """The wrists' 18 of the last axis' 27, as a view: the paper's wrist-only variant."""
    return values[..., POSE_DIM:]


@dataclass(frozen=True)
class TargetStatistics:
    """Of each of the 27 numbers over all steps at which it counts; one that never does has ABSENT's and no spread."""

    count: Rows  # (27,)
    mean: Floats
    std: Floats
    min: Floats
    max: Floats

    def table(self) -> dict[str, dict[str, float]]:
        """By slot, for a file or a page."""
        names = ("count", "mean", "std", "min", "max")
        return {
            slot: {name: getattr(self, name)[index].item() for name in names}
            for index, slot in enumerate(UNIFIED_SLOTS)
        }


def statistics(parts: Iterable[tuple[Floats, Flags]]) -> TargetStatistics:
    """Over the targets and masks of a corpus, (B, H, 27) each, part by part."""
    count = np.zeros(len(UNIFIED_SLOTS), np.int64)
    mean: Floats = np.zeros(len(UNIFIED_SLOTS))
    squares = np.zeros(len(UNIFIED_SLOTS))
    low, high = np.full(len(UNIFIED_SLOTS), np.inf), np.full(len(UNIFIED_SLOTS), -np.inf)
    for targets, mask in parts:
        more = mask.sum(axis=(0, 1))
        own = np.divide(np.where(mask, targets, 0).sum(axis=(0, 1)), more, where=more > 0, out=mean.copy())
        step, total = own - mean, np.maximum(count + more, 1)
        # Chan, Golub and LeVeque: exact for numbers whose mean is large beside their spread.
        squares += np.where(mask, (targets - own) ** 2, 0).sum(axis=(0, 1)) + step**2 * count * more / total
        mean += step * more / total
        count += more
        low = np.minimum(low, np.where(mask, targets, np.inf).min(axis=(0, 1), initial=np.inf))
        high = np.maximum(high, np.where(mask, targets, -np.inf).max(axis=(0, 1), initial=-np.inf))
    std = np.sqrt(squares / np.maximum(count, 1))
    known = count > 0
    mean, lowest, highest = (np.where(known, values, ABSENT) for values in (mean, low, high))
    return TargetStatistics(count, mean, std, lowest, highest)
