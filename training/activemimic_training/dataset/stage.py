"""One episode converted and laid aside, so that a build that was interrupted does not convert it again."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_training.bags import EpisodeReader
from activemimic_training.dataset.align import aligned_rows
from activemimic_training.dataset.errors import DatasetError
from activemimic_training.dataset.stats import image_histogram
from activemimic_training.dataset.video import VideoWriter

_VERSION = 2  # of the staging files; a change makes older ones be converted anew
_HISTOGRAM_EVERY = 10  # frames: image statistics need no more


@dataclass(frozen=True)
class StagedEpisode:
    """A converted episode: its columns in memory, its videos still in `folder`."""

    folder: Path
    bag: str
    task: str
    instruction: str
    seed: int | None
    sources: list[str]  # K names: cameras, then state topics
    state: np.ndarray  # (N, S) float32, slot units
    action: np.ndarray  # (N, S) float32, slot units
    stamp_ns: np.ndarray  # (N,) int64
    age_ms: np.ndarray  # (N, K) float32
    loss_weight: np.ndarray  # (N,) float32
    histograms: dict[str, np.ndarray]  # camera -> (3, 256) int64
    histogram_frames: int

    def video(self, camera: str) -> Path:
        return self.folder / f"{camera}.mp4"


def stage_key(bag: Path, fps: int) -> str:
    """What makes a conversion repeatable: the bag's files as they are now, and the rate."""
    digest = hashlib.sha256(f"{_VERSION} {fps} {bag.resolve()}".encode())
    for path in sorted(bag.iterdir()):
        digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return f"{bag.name}-{digest.hexdigest()[:12]}"


def stage_episode(bag: Path, staging: Path, fps: int) -> Path:
    """Convert the episode in `bag` unless it lies in `staging` already; returns its folder there.

    Raises:
        BagError, DatasetError: the bag is damaged, incomplete or does not fit its contract.
    """
    folder = staging / stage_key(bag, fps)
    if folder.is_dir():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _convert(EpisodeReader(bag), partial, fps)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)
    return folder


def load_staged(folder: Path) -> StagedEpisode:
    """A staged episode's columns."""
    about = json.loads((folder / "episode.json").read_text())
    histograms = {camera: np.array(counts) for camera, counts in about.pop("histograms").items()}
    with np.load(folder / "columns.npz", allow_pickle=False) as columns:
        return StagedEpisode(folder=folder, histograms=histograms, **about, **dict(columns.items()))


def _convert(reader: EpisodeReader, folder: Path, fps: int) -> None:
    cameras = reader.contract.cameras
    videos = {
        name: VideoWriter(folder / f"{name}.mp4", fps, camera.width, camera.height) for name, camera in cameras.items()
    }
    histograms = {name: np.zeros((3, 256), np.int64) for name in cameras}
    state, action, stamp_ns, age_ms = [], [], [], []
    sources: list[str] = []
    histogram_frames = 0
    for index, row in enumerate(aligned_rows(reader, fps)):
        sources = list(row.observation.ages_ns)
        state.append(row.observation.state)
        action.append(row.action)
        stamp_ns.append(row.observation.stamp_ns)
        age_ms.append([age / 1e6 for age in row.observation.ages_ns.values()])
        for name, video in videos.items():
            video.add(row.observation.images[name])
        if index % _HISTOGRAM_EVERY == 0:
            histogram_frames += 1
            for name, image in row.observation.images.items():
                histograms[name] += image_histogram(image)
    if not state:
        raise DatasetError(f"{reader.folder}: shorter than one step of 1/{fps} s; expected at least one row")
    for video in videos.values():
        video.close()
    stamps = np.array(stamp_ns, np.int64)
    np.savez(
        folder / "columns.npz",
        state=np.array(state, np.float32),
        action=np.array(action, np.float32),
        stamp_ns=stamps,
        age_ms=np.array(age_ms, np.float32),
        loss_weight=_loss_weight(reader, stamps),
    )
    about: dict[str, Any] = {
        "bag": reader.folder.name,
        "task": reader.info.task,
        "instruction": reader.info.instruction,
        "seed": reader.info.seed,
        "sources": sources,
        "histograms": {name: histogram.tolist() for name, histogram in histograms.items()},
        "histogram_frames": histogram_frames,
    }
    (folder / "episode.json").write_text(json.dumps(about))


def _loss_weight(reader: EpisodeReader, stamp_ns: np.ndarray) -> np.ndarray:
    """1 for every row, 0 inside the ranges that episode.yaml masks: (N,) float32."""
    weight = np.ones(len(stamp_ns), np.float32)
    for index, masked in enumerate(reader.info.extra.get("masked_ns", [])):
        if not (isinstance(masked, list) and len(masked) == 2 and all(isinstance(ns, int) for ns in masked)):
            place = f"{reader.folder / 'episode.yaml'}: extra.masked_ns[{index}]"
            raise DatasetError(f"{place}: expected [from, to] in ns, found {masked!r}")
        weight[(stamp_ns >= masked[0]) & (stamp_ns < masked[1])] = 0.0
    return weight
