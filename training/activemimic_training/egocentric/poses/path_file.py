"""A camera's path in a text file: t x y z qx qy qz qw, camera to world, as TUM writes it, or with commas and a head."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats, interpolate, is_known, transform
from activemimic_training.egocentric.spatial.pose_trajectory import Times
from activemimic_training.egocentric_error import EgocentricError

COLUMNS = ("t", "x", "y", "z", "qx", "qy", "qz", "qw")
_UNIT = 0.01  # how far from 1 a quaternion's length may be, by rounding


def read_path(path: Path) -> tuple[Times, Floats]:
    """Times (N,), ns, ascending, and T_world_camera (N, 4, 4). Raises EgocentricError."""
    try:
        rows = _csv(path) if path.suffix == ".csv" else _tum(path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise EgocentricError(f"{path}: cannot be read as a path: {error}") from None
    if rows.shape[1:] != (8,) or len(rows) == 0 or not np.isfinite(rows).all():
        raise EgocentricError(
            f"{path}: expected rows of {' '.join(COLUMNS)}, found numbers {rows.shape}, or not finite"
        )
    if (later := np.flatnonzero(np.diff(rows[:, 0]) <= 0)).size:
        raise EgocentricError(f"{path}: t: expected to ascend, found otherwise after row {int(later[0]) + 1}")
    length = np.linalg.norm(rows[:, 4:], axis=1)
    if (wrong := np.flatnonzero(abs(length - 1) > _UNIT)).size:
        row = int(wrong[0])
        raise EgocentricError(f"{path}: qx to qw: expected length 1, found {length[row]:.3f} in row {row + 1}")
    poses = transform(rotations(rows[:, 4:] / length[:, None]), rows[:, 1:4])
    return np.round(rows[:, 0] * 1e9).astype(np.int64), poses


def at_times(known_ns: Times, poses: Floats, time_ns: Times, max_gap_ns: int) -> Floats:
    """The poses (T, 4, 4) at `time_ns` (T,), by the screw motion between their neighbours; NaN where those are further
    apart than `max_gap_ns`, and outside."""
    after = np.searchsorted(known_ns, time_ns)
    exact = known_ns[np.minimum(after, len(known_ns) - 1)] == time_ns
    before = np.maximum(after - 1, 0)
    after = np.minimum(after, len(known_ns) - 1)
    before = np.where(exact, after, before)
    gap = known_ns[after] - known_ns[before]
    inside = exact | ((gap > 0) & (gap <= max_gap_ns) & (time_ns > known_ns[before]))
    fraction = (time_ns - known_ns[before]) / np.maximum(gap, 1)
    found = interpolate(poses[before], poses[after], np.where(inside, fraction, 0.0))
    return np.where(inside[:, None, None] & is_known(found)[:, None, None], found, np.nan)


def _csv(path: Path) -> Floats:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        head = tuple(name.strip() for name in reader.fieldnames or ())
        if head != COLUMNS:
            raise ValueError(f"expected the head {','.join(COLUMNS)}, found {','.join(head)}")
        return np.array([[float(value) for value in row.values()] for row in reader])


def _tum(path: Path) -> Floats:
    lines = (line.partition("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines())
    return np.array([[float(value) for value in line] for line in lines if line])


def rotations(q: Floats) -> Floats:
    """Of unit quaternions xyzw (N, 4)."""
    x, y, z, w = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)
