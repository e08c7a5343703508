"""Stage `camera`: the camera's path in metres, of every episode whose wrists were looked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.poses.clip import Clip, clips
from activemimic_training.egocentric.poses.episodes import each_episode, episodes_of
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.poses.sfm import sfm_camera
from activemimic_training.egocentric.poses.supplied import supplied_camera
from activemimic_training.egocentric.poses.truth import truth_camera
from activemimic_training.egocentric.poses.vggt import vggt_camera
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.egocentric_error import EgocentricError

Backend = Callable[[Any, Clip, WristEstimate], CameraEstimate]

BACKENDS: dict[str, Backend] = {
    "supplied": supplied_camera,
    "vggt": vggt_camera,
    "sfm": sfm_camera,
    "truth": truth_camera,
}


def camera(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes <episode>/camera.npz for every episode, and episodes.json: which there are, which not and why.

    Beyond a cut the world is another: a backend sees one shot at a time.
    """
    settings = config.camera
    assert settings is not None
    backend = BACKENDS[settings.backend]
    there = episodes_of(inputs["wrists"])

    def estimate(clip: Clip, folder: Path) -> list[str]:
        hands = WristEstimate.load(inputs["wrists"] / clip.name / "wrists.npz")
        found, reasons = _each_shot(clip, hands, lambda shot, seen: backend(settings, shot, seen))
        found.validate(clip.name, len(clip))
        found.save(folder / "camera.npz")
        return reasons

    each_episode(
        (clip for clip in clips(item, inputs["ingest"], inputs["frames"]) if clip.name in there), out, estimate
    )


def _each_shot(
    clip: Clip, wrists: WristEstimate, backend: Callable[[Clip, WristEstimate], CameraEstimate]
) -> tuple[CameraEstimate, list[str]]:
    """The estimate for the clip, and why shots of it have none. Raises EgocentricError if there is none at all."""
    shots = clip.shots()
    found: list[CameraEstimate] = []
    errors: list[EgocentricError] = []
    for first, stop in shots:
        try:
            found.append(backend(clip.between(first, stop), wrists.between(first, stop)))
        except EgocentricError as error:
            errors.append(error)
            found.append(CameraEstimate.none(clip.time_ns[first:stop]))
    if len(errors) == len(shots):
        raise errors[0]
    return CameraEstimate.joined(found), [str(error) for error in errors]
