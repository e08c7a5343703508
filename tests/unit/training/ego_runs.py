"""A run's folder with poses and quality control in it, made by hand of a person at work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from activemimic_data.dataset.video import VideoWriter
from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.language.segment import Rejected, Segment, Segments
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.quality.quality import check_quality
from activemimic_training.egocentric.run.stages import stage_folder
from activemimic_training.egocentric.spatial.geometry import inverse
from activemimic_training.egocentric.spatial.pose_trajectory import EgoTrajectory

WIDTH, HEIGHT, FOCAL = 320, 240, 200.0
K = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])


def write_run(
    run: Path, episodes: dict[str, EgoTrajectory], images: Sequence[np.ndarray] | None = None, until: str = "quality"
) -> Path:
    """A run with a video of each name, one episode in each; stages after `until` are not there."""
    items = [Item(name, "video", Path(f"/videos/{name}.mp4")) for name in episodes]
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"items": [it.to_json() for it in items], "left_out": []}))
    (run / "quarantine").mkdir()
    for name, trajectory in episodes.items():
        write_item(run, name, trajectory, images)
        stages = ["ingest", "segment", "filter", "frames", "wrists", "camera", "quality"]
        for stage in stages:
            seal(stage_folder(run, name, stage), stage)
        for stage in stages[stages.index(until) + 1 :]:
            stage_folder(run, name, stage).rename(run / f"not-yet-{name}-{stage}")
    return run


def write_item(run: Path, item: str, trajectory: EgoTrajectory, images: Sequence[np.ndarray] | None) -> None:
    ingest, segment, kept, frames, wrists, camera, quality = (
        stage_folder(run, item, stage)
        for stage in ("ingest", "segment", "filter", "frames", "wrists", "camera", "quality")
    )
    episode, count = f"{item}_000", len(trajectory)
    for folder in (ingest, segment, kept, frames / episode, wrists / episode, camera / episode, quality):
        folder.mkdir(parents=True)
    about = {"width": WIDTH, "height": HEIGHT, "K": K.tolist(), "source": "a calibration", "assumed": False}
    (ingest / "camera.json").write_text(json.dumps(about))
    (ingest / "source.json").write_text(json.dumps({"duration_s": 30.0}))
    good = Segment(start=0, end=count / 10, action="Wipe slowly", objects=("Table", "cloth"), task="Wipe the table")
    short = good.model_copy(update={"end": 0.5})
    Segments(segments=(good,), rejected=(Rejected(segment=short, reason="0.50 s long, below 2 s"),)).save(segment)
    Segments(segments=(good,), rejected=(Rejected(segment=short, reason="not indoors: a lawn"),)).save(kept)
    writer = VideoWriter(frames / episode / "frames.mp4", 10, WIDTH, HEIGHT)
    for frame in range(count):
        writer.add(images[frame] if images is not None else np.full((HEIGHT, WIDTH, 3), 2 * frame, np.uint8))
    writer.close()
    flags = {name: [frame == 7 for frame in range(count)] for name in ("blurred", "cut_after")}
    times = {"time_ns": trajectory.time_ns.tolist(), "source_pts_ns": trajectory.time_ns.tolist()}
    text = {"task": good.task, "action": good.action, "objects": list(good.objects)}
    (frames / episode / "frames.json").write_text(json.dumps({"fps": 10, **times, **flags, **text}))
    dropped = [{"task": good.task, "start_s": 1.0, "reason": "0.4 s between two gaps of the video, below 1 s"}]
    (frames / "episodes.json").write_text(json.dumps({"episodes": [episode], "dropped": dropped}))

    seen = trajectory.wrist_valid & trajectory.camera_valid[:, None]
    hands = inverse(trajectory.T_world_camera)[:, None] @ trajectory.T_world_wrist
    confidence = np.where(seen, trajectory.wrist_confidence, 0.0)
    estimate = WristEstimate(trajectory.time_ns, hands, confidence, np.full((count, 2, 4), np.nan))
    estimate.save(wrists / episode / "wrists.npz")
    scales = 2.0 + 0.1 * np.sin(np.arange(count))
    path = CameraEstimate(trajectory.time_ns, trajectory.T_world_camera, trajectory.camera_confidence, scales)
    path.save(camera / episode / "camera.npz")
    check_quality(trajectory).write(quality / episode)
    names = {"episodes": [episode], "left_out": []}
    for folder in (wrists, camera, quality):
        (folder / "episodes.json").write_text(json.dumps(names))


def seal(folder: Path, stage: str) -> None:
    (folder / "stage.json").write_text(json.dumps({"stage": stage, "version": 1, "config_hash": "", "files": {}}))
