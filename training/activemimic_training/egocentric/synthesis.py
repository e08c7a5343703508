"""Egocentric videos that are rendered, with the truth of every pose beside them.

OUT/<task>_<seed>.mp4               30 frames a second
    <task>_<seed>.camera.json       the calibration
    segments.json                   what is done in each, as `ego run --segments` takes it
    truth/<task>_<seed>.npz         camera and wrists (EgoTrajectory)
    depth/<task>_<seed>.npz         optional: depth_mm (T, H, W) uint16 at the truth's times
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from activemimic_data.dataset.video import VideoWriter
from activemimic_description.common.atomic import write_text
from activemimic_description.common.errors import InvalidInputError
from activemimic_rollout.worker_batches import by_batches
from activemimic_sim.egocentric.person import EgocentricScene
from activemimic_sim.egocentric.tasks import TASKS

from activemimic_training.egocentric.spatial.calibration import Calibration
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, STEP_NS, EgoTrajectory

VIDEO_FPS = 30
_Wanted = tuple[str, int]


class SynthesisError(InvalidInputError):
    """What was asked for is not known; the message names it."""


def synthesize(
    out: Path,
    episodes: int,
    first_seed: int = 0,
    tasks: Sequence[str] = tuple(TASKS),
    width: int = 320,
    with_depth: bool = False,
    workers: int = 2,
    progress: Callable[[Path], None] = lambda video: None,
) -> list[Path]:
    """One video a seed, the tasks in turn; those that are there are not made again. Returns the new ones.

    Args:
        width: of the image, px; its height is three quarters of it.

    Raises:
        SynthesisError: there is no such task, or no such image.
        RenderingError: nothing can be rendered here.
    """
    if unknown := [task for task in tasks if task not in TASKS]:
        raise SynthesisError(f"task {unknown[0]}: expected one of {', '.join(TASKS)}")
    if width % 8:
        raise SynthesisError(f"width: expected a multiple of 8 px, found {width}")
    for folder in ("truth", *(["depth"] if with_depth else [])):
        (out / folder).mkdir(parents=True, exist_ok=True)
    wanted = [(tasks[index % len(tasks)], first_seed + index) for index in range(episodes)]
    _write_segments(out / "segments.json", wanted)
    missing = [it for it in wanted if not (out / f"{_name(it)}.mp4").exists()]
    made = []
    for video in by_batches(partial(_make_share, out, width, with_depth), missing, workers):
        progress(video)
        made.append(video)
    return made


def truth(scene: EgocentricScene) -> EgoTrajectory:
    """Of the whole video; a wrist outside the image is not observed."""
    time_ns = np.arange(round(scene.seconds * FPS), dtype=np.int64) * STEP_NS
    bodies = scene.bodies(time_ns / 1e9)
    observed = np.column_stack([np.ones(len(time_ns), np.bool_), scene.in_view(bodies)])
    return EgoTrajectory.of(time_ns, bodies, observed=observed)


def _make_share(out: Path, width: int, with_depth: bool, wanted: list[_Wanted]) -> Iterator[Path]:
    for it in wanted:
        yield _make(out, it, width, with_depth)


def _make(out: Path, wanted: _Wanted, width: int, with_depth: bool) -> Path:
    """The video comes last: where it is, all of it is."""
    name = _name(wanted)
    video = out / f"{name}.mp4"
    partial = out / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with EgocentricScene(*wanted, width, width * 3 // 4) as scene:
        true = truth(scene)
        writer = VideoWriter(partial / video.name, VIDEO_FPS, scene.width, scene.height)
        for image in scene.images(np.arange(round(scene.seconds * VIDEO_FPS)) / VIDEO_FPS):
            writer.add(image)
        writer.close()
        if with_depth:
            depths = [np.minimum(depth * 1e3, 65535).astype(np.uint16) for depth in scene.depths(true.time_ns / 1e9)]
            np.savez_compressed(partial / "depth.npz", time_ns=true.time_ns, depth_mm=np.array(depths), K=scene.K)
            os.replace(partial / "depth.npz", out / "depth" / f"{name}.npz")
        fx, cx, fy, cy = scene.K[0, 0], scene.K[0, 2], scene.K[1, 1], scene.K[1, 2]
        calibration = Calibration(width=scene.width, height=scene.height, fx=fx, fy=fy, cx=cx, cy=cy)
    true.save(out / "truth" / f"{name}.npz")
    write_text(video.with_suffix(".camera.json"), calibration.model_dump_json(indent=1))
    os.replace(partial / video.name, video)
    shutil.rmtree(partial)
    return video


def _write_segments(path: Path, wanted: Sequence[_Wanted]) -> None:
    """With what is there of other videos."""
    table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for it in wanted:
        scene = EgocentricScene(*it)
        start, end = scene.acts_s
        label = {"action": scene.action, "objects": scene.objects, "task": scene.instruction}
        table[_name(it)] = [{"start": start, "end": round(end, 3), **label}]
    write_text(path, json.dumps(dict(sorted(table.items())), indent=1))


def _name(wanted: _Wanted) -> str:
    task, seed = wanted
    return f"{task}_{seed:04d}"
