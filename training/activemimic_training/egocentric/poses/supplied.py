"""Backends that read what somebody else found."""

from __future__ import annotations

import numpy as np

from activemimic_training.egocentric.errors import EgocentricError
from activemimic_training.egocentric.geometry import inverse
from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.poses.settings import SuppliedCamera, SuppliedWrists
from activemimic_training.egocentric.trajectory import EgoTrajectory


def supplied_camera(settings: SuppliedCamera, clip: Clip, wrists: WristEstimate) -> CameraEstimate:
    """The supplied path at the clip's ticks. Raises EgocentricError."""
    found = _at_ticks(settings, clip)
    return CameraEstimate(clip.time_ns, found.T_world_camera, found.camera_confidence, np.zeros(0))


def supplied_wrists(settings: SuppliedWrists, clip: Clip) -> WristEstimate:
    """The supplied wrists at the clip's ticks, where the camera is known too. Raises EgocentricError."""
    found = _at_ticks(settings, clip)
    in_camera = inverse(found.T_world_camera)[:, None] @ found.T_world_wrist
    known = found.wrist_valid & found.camera_valid[:, None]
    confidence = np.where(known, found.wrist_confidence, 0.0)
    return WristEstimate(clip.time_ns, in_camera, confidence, np.full((len(clip), 2, 4), np.nan))


def _at_ticks(settings: SuppliedCamera | SuppliedWrists, clip: Clip) -> EgoTrajectory:
    path = settings.folder / f"{clip.item.id}.npz"
    found = EgoTrajectory.load(path)
    first = int(np.searchsorted(found.time_ns, clip.time_ns[0]))
    part = found.between(first, first + len(clip))
    if not np.array_equal(part.time_ns, clip.time_ns):
        raise EgocentricError(
            f"{path}: time_ns: expected the frames of {clip.name}, {clip.time_ns[0]} to {clip.time_ns[-1]} ns, "
            f"found {found.time_ns[0]} to {found.time_ns[-1]} ns"
        )
    return part
