"""What a run has made of a whole corpus, and what it left out and why; of a run that is only part done too."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_training.egocentric.ingest.item import LeftOut
from activemimic_training.egocentric.language.segment import Segment, Segments
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.quality.scale import episode_scale
from activemimic_training.egocentric.run.stages import read_quarantine, read_stage, stage_folder
from activemimic_training.egocentric.run.status import Quarantined, read_manifest
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, EgoTrajectory
from activemimic_training.egocentric_error import EgocentricError

STAGES = ("ingest", "segment", "filter", "frames", "wrists", "camera", "quality")


@dataclass
class CorpusView:
    """Counted over the items of a run.

    Attributes:
        items: how many there are, and by stage how many it has finished.
        verbs, nouns: of the kept segments' actions and objects.
        reasons: by stage, why segments or episodes were left out, numbers taken out of the reasons, and how often.
        findings: by kind and what was done about it, what quality control found, in frames of a body.
        hands: of the last stage that knows, frames with both hands, the left alone, the right alone, none.
        scale_spread: of every episode whose path needed a metric scale, the spread of it.
    """

    items: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    video_s: float = 0.0
    verbs: Counter[str] = field(default_factory=Counter)
    nouns: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    segment_s: list[float] = field(default_factory=list)
    episode_s: list[float] = field(default_factory=list)
    kept_s: list[float] = field(default_factory=list)
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    hands: Counter[str] = field(default_factory=Counter)
    scale_spread: list[float] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    licences: dict[str, Any] = field(default_factory=dict)


def read_corpus(run: Path) -> CorpusView:
    """Raises EgocentricError."""
    items, left_out = read_manifest(run)
    found = CorpusView(len(items), left_out=left_out)
    if (run / "licences.json").exists():
        found.licences = json.loads((run / "licences.json").read_text())
    for item in items:
        if failure := read_quarantine(run, item.id):
            found.quarantined.append(Quarantined(item.id, failure["stage"], failure["error"]))
        folders = {
            stage: folder for stage in STAGES if read_stage(folder := stage_folder(run, item.id, stage)) is not None
        }
        found.finished.update(folders.keys())
        _add(found, folders)
    return found


def _add(found: CorpusView, folders: dict[str, Path]) -> None:
    if "ingest" in folders:
        found.video_s += json.loads((folders["ingest"] / "source.json").read_text())["duration_s"]
    kept: tuple[Segment, ...] = ()
    for stage in ("segment", "filter"):
        if stage in folders:
            segments = Segments.load(folders[stage])
            kept = segments.segments
            # What a model says after the criterion is different every time.
            reasons = (it.reason.split(": ")[0] if stage == "filter" else it.reason for it in segments.rejected)
            found.reasons[stage].update(map(_without_numbers, reasons))
    for segment in kept:
        found.verbs[segment.action.split()[0].lower()] += 1
        found.nouns.update({name.lower().strip() for name in segment.objects})
        found.tasks[segment.task] += 1
        found.segment_s.append(segment.seconds)
    if "frames" in folders:
        about = json.loads((folders["frames"] / "episodes.json").read_text())
        found.reasons["frames"].update(_without_numbers(it["reason"]) for it in about["dropped"])
        for name in about["episodes"]:
            times = json.loads((folders["frames"] / name / "frames.json").read_text())["time_ns"]
            found.episode_s.append(len(times) / FPS)
    for stage in ("wrists", "camera", "quality"):
        if stage in folders:
            left_out = json.loads((folders[stage] / "episodes.json").read_text())["left_out"]
            found.reasons[stage].update(_reason(it["reason"], it["episode"]) for it in left_out)
    _add_poses(found, folders)


def _add_poses(found: CorpusView, folders: dict[str, Path]) -> None:
    for name in _episodes(folders, "camera"):
        scales = CameraEstimate.load(folders["camera"] / name / "camera.npz").frame_scales
        if scales.size:
            try:
                found.scale_spread.append(episode_scale(scales, np.zeros(len(scales), np.int64), name).spread)
            except EgocentricError as error:
                found.reasons["camera"][_reason(str(error), name)] += 1
    if "quality" not in folders:
        for name in _episodes(folders, "wrists"):
            confidence = WristEstimate.load(folders["wrists"] / name / "wrists.npz").confidence
            _count_hands(found, confidence > 0)
        return
    for report_file in sorted(folders["quality"].glob("*/quality.json")):
        report = json.loads(report_file.read_text(encoding="utf-8"))
        for finding in report["findings"]:
            frames = finding["stop"] - finding["first"]
            found.findings[finding["kind"], finding["done"]] += frames
            if finding["done"] == "left out":
                found.reasons["quality"][finding["kind"]] += 1
        for number, episode in enumerate(report["episodes"]):
            found.kept_s.append(episode["seconds"])
            _count_hands(found, EgoTrajectory.load(report_file.parent / f"{number:03d}/trajectory.npz").wrist_valid)


def _episodes(folders: dict[str, Path], stage: str) -> Iterator[str]:
    if stage in folders:
        yield from json.loads((folders[stage] / "episodes.json").read_text())["episodes"]


def _count_hands(found: CorpusView, seen: np.ndarray) -> None:
    left, right = seen[:, 0], seen[:, 1]
    kinds = {"both": left & right, "left alone": left & ~right, "right alone": right & ~left, "none": ~left & ~right}
    found.hands.update({name: int(flags.sum()) for name, flags in kinds.items()})


def _reason(text: str, episode: str) -> str:
    return _without_numbers(text.replace(f"{episode}: ", "").replace(episode, "it"))


def _without_numbers(reason: str) -> str:
    """So that reasons that differ in a number alone are one."""
    return re.sub(r"\d+(?:[.,]\d+)*", "…", reason)
