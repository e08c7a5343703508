"""Stage `camera`: the camera's path in metres, of every episode whose wrists were looked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from activemimic_training.egocentric.config import EgocentricConfig
from activemimic_training.egocentric.item import Item
from activemimic_training.egocentric.poses.clip import Clip, clips
from activemimic_training.egocentric.poses.episodes import each_episode, episodes_of
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.poses.supplied import supplied_camera
from activemimic_training.egocentric.poses.truth import truth_camera

BACKENDS: dict[str, Callable[[Any, Clip, WristEstimate], CameraEstimate]] = {
    "supplied": supplied_camera,
    "truth": truth_camera,
}


def camera(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes <episode>/camera.npz for every episode, and episodes.json: which there are, which not and why."""
    settings = config.camera
    assert settings is not None
    backend = BACKENDS[settings.backend]
    there = episodes_of(inputs["wrists"])

    def estimate(clip: Clip, folder: Path) -> None:
        hands = WristEstimate.load(inputs["wrists"] / clip.name / "wrists.npz")
        found = backend(settings, clip, hands)
        found.validate(clip.name, len(clip))
        found.save(folder / "camera.npz")

    each_episode(
        (clip for clip in clips(item, inputs["ingest"], inputs["frames"]) if clip.name in there), out, estimate
    )
