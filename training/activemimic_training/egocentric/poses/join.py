"""Stage `quality`: camera and wrists joined to trajectories, of which those that can be learnt from are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.poses.clip import Clip, clips
from activemimic_training.egocentric.poses.episodes import episodes_of, write_episodes
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.quality.quality import Finding, QualityConfig, QualityResult, check_quality
from activemimic_training.egocentric.quality.scale import scale_spread
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.egocentric.spatial.geometry import wrists_in_world
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, EgoTrajectory


def quality(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes <episode>/quality.json, and <episode>/<number>/{trajectory, raw}.npz for every piece that is kept.

    episodes.json names the pieces, and what is left out with its reason.
    """
    done: list[str] = []
    left_out: list[dict[str, str]] = []
    there = episodes_of(inputs["camera"])
    for clip in clips(item, inputs["ingest"], inputs["frames"]):
        if clip.name not in there:
            continue
        folder = out / clip.name
        folder.mkdir()
        camera = CameraEstimate.load(inputs["camera"] / clip.name / "camera.npz")
        wrists = WristEstimate.load(inputs["wrists"] / clip.name / "wrists.npz")
        found = check_clip(clip, camera, wrists, config.quality)
        found.write(folder)
        done += [f"{clip.name}/{number:03d}" for number in range(len(found.episodes))]
        left_out += [{"episode": clip.name, "reason": reason} for reason in _left_out(found)]
    write_episodes(out, done, left_out)


def check_clip(clip: Clip, camera: CameraEstimate, wrists: WristEstimate, config: QualityConfig) -> QualityResult:
    """What can be used of a clip: its shots, each checked by itself, as its world and its scale are its own."""
    trajectory = _joined(clip, camera, wrists, config.blurred_confidence)
    result = QualityResult(len(clip))
    for first, stop in clip.shots():
        scales = camera.frame_scales[first:stop]
        spread = scale_spread(scales) if np.isfinite(scales).any() else None
        result.add(check_quality(trajectory.between(first, stop), config, spread), first)
        if stop < len(clip):
            result.findings.append(Finding("all", "cut", "split", stop, stop))
    return result


def _joined(clip: Clip, camera: CameraEstimate, wrists: WristEstimate, blurred_confidence: float) -> EgoTrajectory:
    in_world = wrists_in_world(camera.T_world_camera, wrists.T_camera_wrist)
    bodies = np.concatenate([camera.T_world_camera[:, None], in_world], axis=1)
    confidence = np.column_stack([camera.confidence, wrists.confidence])
    confidence[clip.blurred] *= blurred_confidence
    return EgoTrajectory.of(clip.time_ns, bodies, confidence)


def _left_out(found: QualityResult) -> list[str]:
    """Why there are frames that no piece has: as found, or for want of a camera."""
    reasons = [
        f"{it.kind}: {it.detail}, {(it.stop - it.first) / FPS:.1f} s from frame {it.first} on"
        for it in found.findings
        if it.done == "left out"
    ]
    return reasons if found.episodes or reasons else [f"unseen: the camera in all of {found.frames} frames"]
