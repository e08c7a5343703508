"""Stage `wrists`: the wearer's wrists in the camera's frame, of every episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.poses.clip import Clip, clips
from activemimic_training.egocentric.poses.episodes import each_episode
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.poses.mediapipe_hands import mediapipe_wrists
from activemimic_training.egocentric.poses.sam3d_body import sam3d_body_wrists
from activemimic_training.egocentric.poses.supplied import supplied_wrists
from activemimic_training.egocentric.poses.truth import truth_wrists
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig

BACKENDS: dict[str, Callable[[Any, Clip], WristEstimate]] = {
    "mediapipe": mediapipe_wrists,
    "sam3d_body": sam3d_body_wrists,
    "supplied": supplied_wrists,
    "truth": truth_wrists,
}
_ONE_HAND_M = 0.03  # two wrists nearer than that are one that was found twice


def wrists(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes <episode>/wrists.npz for every episode, and episodes.json: which there are, which not and why."""
    settings = config.wrists
    assert settings is not None
    backend = BACKENDS[settings.backend]

    def estimate(clip: Clip, folder: Path) -> None:
        found = without_doubles(backend(settings, clip))
        found.validate(clip.name, len(clip))
        found.save(folder / "wrists.npz")

    each_episode(clips(item, inputs["ingest"], inputs["frames"]), out, estimate)


def without_doubles(found: WristEstimate) -> WristEstimate:
    """Where both wrists are at the same place, one hand was taken for both: the one trusted less is no more."""
    places = found.T_camera_wrist[..., :3, 3]
    double = np.linalg.norm(places[:, 0] - places[:, 1], axis=1) < _ONE_HAND_M
    lost = double[:, None] & (np.arange(2) == found.confidence.argmin(axis=1)[:, None])
    return replace(
        found,
        T_camera_wrist=np.where(lost[..., None, None], np.nan, found.T_camera_wrist),
        confidence=np.where(lost, 0.0, found.confidence),
        boxes_px=np.where(lost[..., None], np.nan, found.boxes_px),
    )
