"""What a run has made so far, from what lies on the disk."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from activemimic_description.common.durable import locked

from activemimic_training.egocentric.ingest.item import Item, LeftOut
from activemimic_training.egocentric.language.segment import Segments
from activemimic_training.egocentric.poses.episodes import episodes_of, left_out_of
from activemimic_training.egocentric.poses.frames import FPS
from activemimic_training.egocentric.run.stages import STAGES, config_hash, read_quarantine, read_stage, stage_folder
from activemimic_training.egocentric.settings.pipeline_config import load_config
from activemimic_training.egocentric_error import EgocentricError


@dataclass(frozen=True)
class Quarantined:
    """An item that failed at a stage."""

    item: str
    stage: str
    error: str


@dataclass(frozen=True)
class StageStatus:
    """How many items a stage has finished, and how long it took for one, where it was performed, in s."""

    name: str
    done: int
    quarantined: int
    seconds: float | None


@dataclass(frozen=True)
class LostEpisode:
    """An episode, or a part of one, that a stage left out."""

    stage: str
    episode: str
    reason: str


@dataclass
class RunStatus:
    """`working`: a run is at work now. `assumed`: items whose camera is a guess."""

    items: int
    stages: list[StageStatus]
    quarantined: list[Quarantined]
    left_out: list[LeftOut]
    working: bool
    assumed: int = 0
    video_s: float = 0.0
    proposed: int = 0  # segments
    rejected: int = 0
    episodes: int = 0
    frames: int = 0
    dropped: int = 0  # pieces between gaps that were too short
    kept: int = 0  # pieces of episodes with a trajectory
    kept_frames: int = 0
    lost: list[LostEpisode] = field(default_factory=list)
    finished: dict[str, set[str]] = field(default_factory=dict)  # stage -> items
    all_items: list[str] = field(default_factory=list)

    @property
    def episode_s(self) -> float:
        return self.frames / FPS

    @property
    def kept_s(self) -> float:
        return self.kept_frames / FPS

    def unfinished(self, stage: str) -> list[str]:
        """The items that `stage` has not finished."""
        return [item for item in self.all_items if item not in self.finished[stage]]


def read_manifest(out: Path) -> tuple[list[Item], list[LeftOut]]:
    """Raises EgocentricError."""
    path = out / "manifest.json"
    try:
        data = json.loads(path.read_text())
        return [Item.from_json(item) for item in data["items"]], [LeftOut(**found) for found in data["left_out"]]
    except FileNotFoundError:
        raise EgocentricError(f"{out}: expected the folder of a run, found no manifest.json in it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EgocentricError(f"{path}: cannot be read: {type(error).__name__}: {error}") from None


def run_status(out: Path) -> RunStatus:
    """Raises EgocentricError, EgocentricConfigError."""
    items, left_out = read_manifest(out)
    config = load_config(out / "config.yaml")
    hashes = {stage.name: (stage.version, config_hash(stage, config)) for stage in STAGES}
    finished: dict[str, set[str]] = {stage.name: set() for stage in STAGES}
    quarantined = []
    for item in items:
        if failure := read_quarantine(out, item.id):
            quarantined.append(Quarantined(item.id, failure["stage"], failure["error"]))
        for stage in STAGES:
            about = read_stage(stage_folder(out, item.id, stage.name))
            if about is None or (about["version"], about["config_hash"]) != hashes[stage.name]:
                break
            finished[stage.name].add(item.id)
    seconds = _seconds(out)
    stages = [
        StageStatus(
            stage.name,
            len(finished[stage.name]),
            sum(failed.stage == stage.name for failed in quarantined),
            fmean(seconds[stage.name]) if stage.name in seconds else None,
        )
        for stage in STAGES
    ]
    status = RunStatus(len(items), stages, quarantined, left_out, locked(out / "run.lock"))
    status.finished, status.all_items = finished, [item.id for item in items]
    _count(out, status)
    return status


def _count(out: Path, status: RunStatus) -> None:
    for item in status.finished["ingest"]:
        folder = stage_folder(out, item, "ingest")
        status.assumed += json.loads((folder / "camera.json").read_text())["assumed"]
        status.video_s += json.loads((folder / "source.json").read_text())["duration_s"]
    for stage in ("segment", "filter"):
        for item in status.finished[stage]:
            found = Segments.load(stage_folder(out, item, stage))
            status.rejected += len(found.rejected)
            status.proposed += stage == "segment" and len(found.segments) + len(found.rejected)
    for item in status.finished["frames"]:
        folder = stage_folder(out, item, "frames")
        about = json.loads((folder / "episodes.json").read_text())
        status.dropped += len(about["dropped"])
        status.episodes += len(about["episodes"])
        status.frames += sum(_frames(folder / name) for name in about["episodes"])
    for stage in ("wrists", "camera", "quality"):
        for item in sorted(status.finished[stage]):
            folder = stage_folder(out, item, stage)
            status.lost += [LostEpisode(stage, it["episode"], it["reason"]) for it in left_out_of(folder)]
    for item in status.finished["quality"]:
        folder = stage_folder(out, item, "quality")
        pieces = episodes_of(folder)
        status.kept += len(pieces)
        for clip in {piece.partition("/")[0] for piece in pieces}:
            found = json.loads((folder / clip / "quality.json").read_text())["episodes"]
            status.kept_frames += sum(piece["stop"] - piece["first"] for piece in found)


def _frames(episode: Path) -> int:
    return len(json.loads((episode / "frames.json").read_text())["time_ns"])


def _seconds(out: Path) -> dict[str, list[float]]:
    """How long every performed stage took, from log.jsonl."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in _log_lines(out / "log.jsonl"):
        found[line["stage"]].append(line["seconds"])
    return found


def _log_lines(path: Path) -> Iterator[dict]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # a run was killed while it wrote the line
