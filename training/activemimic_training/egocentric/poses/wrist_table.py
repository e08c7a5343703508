"""Wrists in the camera's frame from a table that somebody else wrote: t,hand,x,y,z,qx,qy,qz,qw,confidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from activemimic_training.egocentric.poses.path_file import at_times, rotations
from activemimic_training.egocentric.spatial.geometry import Floats, is_known, transform
from activemimic_training.egocentric.spatial.pose_trajectory import HANDS, Times
from activemimic_training.egocentric_error import EgocentricError

_COLUMNS = ["t", "hand", "x", "y", "z", "qx", "qy", "qz", "qw"]


def read_wrist_table(path: Path, time_ns: Times, max_gap_s: float) -> tuple[Floats, Floats]:
    """T_camera_wrist (T, 2, 4, 4) and confidence (T, 2) at the times (T,), ns since the video's first frame.

    Between two rows of a hand at most `max_gap_s` apart the motion is a screw.

    Raises EgocentricError.
    """
    table = _table(path)
    T, confidence = np.full((len(time_ns), 2, 4, 4), np.nan), np.zeros((len(time_ns), 2))
    for side, hand in enumerate(HANDS):
        rows = table[table["hand"] == hand].sort_values("t")
        if len(rows):
            T[:, side], confidence[:, side] = _at(time_ns, rows, max_gap_s)
    return T, confidence


def _at(time_ns: Times, rows: pd.DataFrame, max_gap_s: float) -> tuple[Floats, Floats]:
    """Poses (T, 4, 4) and confidence (T,) of one hand, from its rows in the order of time."""
    known_ns = np.round(rows["t"].to_numpy() * 1e9).astype(np.int64)
    quaternions = rows[["qx", "qy", "qz", "qw"]].to_numpy()
    unit = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    poses = at_times(
        known_ns, transform(rotations(unit), rows[["x", "y", "z"]].to_numpy()), time_ns, round(max_gap_s * 1e9)
    )
    return poses, np.where(is_known(poses), np.interp(time_ns, known_ns, rows["confidence"].to_numpy()), 0.0)


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise EgocentricError(f"{path}: cannot be read as a table: {error}") from None
    if missing := [name for name in _COLUMNS if name not in table.columns]:
        raise EgocentricError(f"{path}: expected the columns {','.join(_COLUMNS)}, found no {', '.join(missing)}")
    if "confidence" not in table:
        table["confidence"] = 1.0
    for name in table.columns.intersection([*_COLUMNS, "confidence"]).drop("hand"):
        numbers = pd.to_numeric(table[name], errors="coerce").astype(np.float64)
        _refuse(path, table, name, "a number", ~np.isfinite(numbers.to_numpy()))
        table[name] = numbers
    _refuse(path, table, "hand", "left or right", ~table["hand"].isin(HANDS).to_numpy())
    _refuse(path, table, "confidence", "0 to 1", ~table["confidence"].between(0, 1).to_numpy())
    length = np.linalg.norm(table[["qx", "qy", "qz", "qw"]].to_numpy(), axis=1)
    _refuse(path, table, "qw", "a quaternion of length 1", np.abs(length - 1) > 0.01)
    _refuse(path, table, "t", "one row of a hand at a time", table.duplicated(["t", "hand"]).to_numpy())
    return table


def _refuse(path: Path, table: pd.DataFrame, field: str, expected: str, wrong: np.ndarray) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise EgocentricError(f"{path}: line {row + 2}: {field}: expected {expected}, found {table[field].iloc[row]!s}")
