"""Backends that read what somebody else found."""

from __future__ import annotations

import numpy as np

from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.poses.path_file import at_times, read_path
from activemimic_training.egocentric.poses.wrist_table import read_wrist_table
from activemimic_training.egocentric.settings.pose_settings import SuppliedCamera, SuppliedWrists
from activemimic_training.egocentric.spatial.geometry import inverse, is_known
from activemimic_training.egocentric.spatial.pose_trajectory import EgoTrajectory
from activemimic_training.egocentric_error import EgocentricError


def supplied_camera(settings: SuppliedCamera, clip: Clip, wrists: WristEstimate) -> CameraEstimate:
    """The supplied path at the clip's ticks. Raises EgocentricError."""
    trajectory, *texts = settings.files(clip.item.id)
    if not trajectory.is_file() and (text := next((path for path in texts if path.is_file()), None)):
        poses = at_times(*read_path(text), clip.time_ns, round(settings.max_gap_s * 1e9))
        known = is_known(poses)
        if not known.any():
            span = f"{clip.time_ns[0]} to {clip.time_ns[-1]} ns"
            raise EgocentricError(f"{text}: t: expected poses at the time of {clip.name}, {span}, found none")
        return CameraEstimate(clip.time_ns, poses, known.astype(np.float64), np.zeros(0))
    found = _supplied(settings, clip)
    return CameraEstimate(clip.time_ns, found.T_world_camera, found.camera_confidence, np.zeros(0))


def supplied_wrists(settings: SuppliedWrists, clip: Clip) -> WristEstimate:
    """The supplied wrists at the clip's ticks, of an .npz where the camera is known too. Raises EgocentricError."""
    unknown_boxes = np.full((len(clip), 2, 4), np.nan)
    trajectory, table = settings.files(clip.item.id)
    if table.is_file() and not trajectory.is_file():
        T, trust = read_wrist_table(table, clip.time_ns, settings.max_gap_s)
        return WristEstimate(clip.time_ns, T, trust, unknown_boxes)
    found = _supplied(settings, clip)
    in_camera = inverse(found.T_world_camera)[:, None] @ found.T_world_wrist
    known = found.wrist_valid & found.camera_valid[:, None]
    confidence = np.where(known, found.wrist_confidence, 0.0)
    return WristEstimate(clip.time_ns, in_camera, confidence, unknown_boxes)


def _supplied(settings: SuppliedCamera | SuppliedWrists, clip: Clip) -> EgoTrajectory:
    path = settings.folder / f"{clip.item.id}.npz"
    return EgoTrajectory.load(path).at(clip.time_ns, path)
