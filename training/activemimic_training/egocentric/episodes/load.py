"""An exported corpus as training reads it: absolute poses back from their columns, targets made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.read import Dataset

from activemimic_training.egocentric.episodes.targets import Rows, TargetStatistics, chunk_targets, statistics
from activemimic_training.egocentric.spatial.geometry import POSE_DIM, Floats, is_rigid
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, Flags

# The upper three rows of each body's pose, row after row, zero where it is not valid: (N, 36) float64.
POSE = "trajectory.pose"
# Of each body, (N, 3) float32: 0 to 1, then 0 or 1.
CONFIDENCE, OBSERVED, VALID = "trajectory.confidence", "trajectory.observed", "trajectory.valid"


@dataclass(frozen=True)
class EgoRows:
    """The N rows of a corpus.

    Attributes:
        bodies: (N, 3, 4, 4) of camera, left and right wrist, NaN where there is none; a world is one for an episode.
        confidence: (N, 3), 0 to 1.
        observed, valid: (N, 3).
        last: (N,) the last row of the row's episode.
    """

    bodies: Floats
    confidence: Floats
    observed: Flags
    valid: Flags
    last: Rows

    @property
    def starts(self) -> Rows:
        """The rows at which a chunk can start: with a camera, and a row after them."""
        return np.flatnonzero(self.valid[:, 0] & (np.arange(len(self.last)) < self.last))

    def targets(self, starts: Rows, horizon: int) -> tuple[Floats, Flags]:
        """The targets (B, H, 27) of the chunks that start at the rows `starts` (B,), and which numbers count."""
        return chunk_targets(self.bodies, self.valid, self.last, starts, horizon)

    def confidences(self, starts: Rows, horizon: int) -> Floats:
        """How far each number (B, H, 27) of the targets is to be trusted, 0 to 1: its body's confidence."""
        due = np.minimum(starts[:, None] + 1 + np.arange(horizon), self.last[starts][:, None])
        return np.repeat(self.confidence[due], POSE_DIM, axis=-1)

    def statistics(self, horizon: int, starts: Rows | None = None, at_once: int = 1024) -> TargetStatistics:
        """Over the chunks that start at `starts` (B,); None: at every row that can."""
        rows = self.starts if starts is None else starts
        parts = (rows[first : first + at_once] for first in range(0, len(rows), at_once))
        return statistics(self.targets(part, horizon) for part in parts)


def is_egocentric(dataset: Dataset) -> bool:
    """Whether its chunks are to be made of absolute poses."""
    return POSE in dataset.features


def load_ego_rows(dataset: Dataset) -> EgoRows:
    """The trajectories of a dataset that `export_corpus` made.

    Raises DatasetError: it has no such columns, is at another rate, or holds poses that are none.
    """
    if missing := [name for name in (POSE, CONFIDENCE, OBSERVED, VALID) if name not in dataset.features]:
        raise DatasetError(f"{dataset.root}: columns missing: {', '.join(missing)}; expected an egocentric corpus")
    if dataset.fps != FPS:
        raise DatasetError(f"{dataset.root}: fps: expected {FPS}, found {dataset.fps}")
    valid = dataset.column(VALID) > 0
    bodies = np.zeros((len(dataset), 3, 4, 4))
    bodies[..., :3, :] = dataset.column(POSE).reshape(-1, 3, 3, 4)
    bodies[..., 3, 3] = 1.0
    if (wrong := np.argwhere(valid & ~is_rigid(bodies))).size:
        row, body = wrong[0].tolist()
        raise DatasetError(f"{dataset.root}: {POSE}: expected rigid transforms, found none in row {row}, body {body}")
    bodies[~valid] = np.nan
    last = np.empty(len(dataset), np.int64)
    for episode in dataset.episodes:
        last[episode.start : episode.stop] = episode.stop - 1
    return EgoRows(bodies, dataset.column(CONFIDENCE), dataset.column(OBSERVED) > 0, valid, last)
