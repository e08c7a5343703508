"""Episodes converted and laid aside, so that a build that was interrupted does not convert them again.

A recording becomes a folder of segments, numbered folders that each hold the videos, `columns.npz` and
`segment.json`; beside them `recording.json` says what was recorded and what was cut.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_description.common.atomic import written_beside

from activemimic_data.bags import EpisodeReader, moved_by
from activemimic_data.dataset.align import Cut, aligned_rows
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.stats import image_histogram
from activemimic_data.dataset.video import VideoWriter

_VERSION = 5  # of the staging files; a change makes older ones be converted anew
_HISTOGRAM_EVERY = 10  # frames: image statistics need no more


@dataclass(frozen=True)
class StagedRow:
    """One row of a dataset, whatever it was made from."""

    stamp_ns: int
    images: Mapping[str, np.ndarray]  # camera -> (H, W, 3) uint8 RGB
    state: np.ndarray  # (S,) slot units
    action: np.ndarray  # (S,) slot units
    ages_ms: Mapping[str, float]  # source -> age of its message
    loss_weight: float = 1.0
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)  # further columns, (D,) each, of their own dtype


@dataclass(frozen=True)
class StagedEpisode:
    """A converted segment: its columns in memory, its videos still in `folder`.

    `from_s` and `to_s` are the stamps of its first and last row, in s since the recording began to give rows or cuts.
    """

    folder: Path
    bag: str
    task: str
    instruction: str
    seed: int | None
    from_s: float
    to_s: float
    sources: list[str]  # K names: cameras, then state topics
    state: np.ndarray  # (N, S) float32, slot units
    action: np.ndarray  # (N, S) float32, slot units
    stamp_ns: np.ndarray  # (N,) int64
    age_ms: np.ndarray  # (N, K) float32
    loss_weight: np.ndarray  # (N,) float32
    extra: dict[str, np.ndarray]  # further columns, (N, D)
    histograms: dict[str, np.ndarray]  # camera -> (3, 256) int64
    histogram_frames: int

    def video(self, camera: str) -> Path:
        return self.folder / f"{camera}.mp4"


@dataclass(frozen=True)
class StagedCut:
    """What was left out of a recording, s since it began, and why."""

    bag: str
    from_s: float
    to_s: float
    reason: str


def stage_key(bag: Path, settings: Iterable[object], files: Iterable[Path] | None = None) -> str:
    """What makes a conversion repeatable: the files as they are now (by default the folder's), and the settings."""
    digest = hashlib.sha256(f"{_VERSION} {[*settings]} {bag.resolve()}".encode())
    for path in sorted(bag.iterdir() if files is None else files):
        digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return f"{bag.name}-{digest.hexdigest()[:12]}"


def staged(folder: Path, convert: Callable[[Path], None]) -> Path:
    """`folder`, filled by `convert` unless it is there already; a conversion that fails leaves nothing behind."""
    if folder.is_dir():
        return folder
    with written_beside(folder) as partial:
        convert(partial)
    return folder


def stage_episode(
    bag: Path, staging: Path, fps: int, max_gap_s: float, min_seconds: float, imitate_policy: bool
) -> Path:
    """Convert the episode in `bag` unless it lies in `staging` already; returns its folder there.

    Rows in which a policy moved the robot have a loss weight of 0 unless they are to be imitated.

    Raises:
        BagError, DatasetError: the bag is damaged, incomplete or does not fit its contract.
    """
    key = stage_key(bag, (fps, max_gap_s, min_seconds, imitate_policy))

    def convert(folder: Path) -> None:
        reader = EpisodeReader(bag)
        masked = _masked_ranges(reader) + ([] if imitate_policy else _policy_ranges(reader, fps))
        _convert(reader, folder, fps, max_gap_s, min_seconds, masked)

    return staged(staging / key, convert)


def load_staged(folder: Path) -> tuple[list[StagedEpisode], list[StagedCut]]:
    """A staged recording: its segments in order, and what was cut."""
    about = json.loads((folder / "recording.json").read_text())
    cuts = [StagedCut(**cut) for cut in about.pop("cuts")]
    origin_ns = about.pop("origin_ns")
    episodes = []
    for segment in sorted(path for path in folder.iterdir() if path.is_dir()):
        facts = json.loads((segment / "segment.json").read_text())
        histograms = {camera: np.array(counts) for camera, counts in facts.pop("histograms").items()}
        with np.load(segment / "columns.npz", allow_pickle=False) as file:
            columns = dict(file.items())
        extra = {name[6:]: columns.pop(name) for name in list(columns) if name.startswith("extra.")}
        first_ns, last_ns = columns["stamp_ns"][[0, -1]].tolist()
        times = {"from_s": (first_ns - origin_ns) / 1e9, "to_s": (last_ns - origin_ns) / 1e9}
        episodes.append(
            StagedEpisode(folder=segment, histograms=histograms, extra=extra, **about, **times, **facts, **columns)
        )
    return episodes, cuts


class RecordingWriter:
    """Writes the segments of one recording to a folder: `add` rows, `cut` between them, `close` at the end.

    Args:
        cameras: name -> (width, height).
        min_seconds: a shorter segment is removed, and counts as cut.
    """

    def __init__(self, folder: Path, fps: int, cameras: Mapping[str, tuple[int, int]], min_seconds: float) -> None:
        self._folder, self._fps, self._cameras, self._min_seconds = folder, fps, cameras, min_seconds
        self._cuts: list[Cut] = []
        self._segments = 0
        self._segment: _SegmentWriter | None = None
        self._origin_ns: int | None = None

    def add(self, row: StagedRow) -> None:
        if self._segment is None:
            self._segment = _SegmentWriter(self._folder / f"{self._segments:03d}", self._fps, self._cameras)
            self._segments += 1
        if self._origin_ns is None:
            self._origin_ns = row.stamp_ns
        self._segment.add(row)

    def cut(self, cut: Cut) -> None:
        """End the segment. Cuts come in order with the rows."""
        if self._origin_ns is None:
            self._origin_ns = cut.from_ns
        self._end_segment()
        self._cuts.append(cut)

    def close(self, bag: str, task: str, instruction: str, seed: int | None = None) -> None:
        """Raises DatasetError if there was neither a row nor a cut."""
        self._end_segment()
        if self._origin_ns is None:
            raise DatasetError(f"{bag}: shorter than one step of 1/{self._fps} s; expected at least one row")
        origin_ns = self._origin_ns
        cuts = [
            StagedCut(bag, (cut.from_ns - origin_ns) / 1e9, (cut.to_ns - origin_ns) / 1e9, cut.reason)
            for cut in self._cuts
        ]
        about: dict[str, Any] = {"bag": bag, "task": task, "instruction": instruction, "seed": seed}
        about |= {"origin_ns": origin_ns, "cuts": [asdict(cut) for cut in cuts]}
        (self._folder / "recording.json").write_text(json.dumps(about))

    def _end_segment(self) -> None:
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        segment.close()
        seconds = len(segment.stamps) / self._fps
        if seconds < self._min_seconds:
            shutil.rmtree(segment.folder)
            end_ns = segment.stamps[-1] + 1_000_000_000 // self._fps
            reason = f"a segment of {seconds:.2f} s, shorter than {self._min_seconds:g} s"
            self._cuts.append(Cut(segment.stamps[0], end_ns, reason))


class _SegmentWriter:
    def __init__(self, folder: Path, fps: int, cameras: Mapping[str, tuple[int, int]]) -> None:
        self.folder = folder
        self.stamps: list[int] = []
        folder.mkdir()
        self._videos = {name: VideoWriter(folder / f"{name}.mp4", fps, *size) for name, size in cameras.items()}
        self._histograms = {name: np.zeros((3, 256), np.int64) for name in cameras}
        self._histogram_frames = 0
        self._rows: list[dict[str, Any]] = []
        self._extra: dict[str, list[np.ndarray]] = {}
        self._sources: list[str] = []

    def add(self, row: StagedRow) -> None:
        if len(self.stamps) % _HISTOGRAM_EVERY == 0:
            self._histogram_frames += 1
            for name, image in row.images.items():
                self._histograms[name] += image_histogram(image)
        for name, video in self._videos.items():
            video.add(row.images[name])
        self.stamps.append(row.stamp_ns)
        self._sources = list(row.ages_ms)
        self._rows.append(
            {
                "state": row.state,
                "action": row.action,
                "age_ms": list(row.ages_ms.values()),
                "loss_weight": row.loss_weight,
            }
        )
        for name, values in row.extra.items():
            self._extra.setdefault(f"extra.{name}", []).append(values)

    def close(self) -> None:
        for video in self._videos.values():
            video.close()
        columns: dict[str, Any] = {
            name: np.array([row[name] for row in self._rows], np.float32) for name in self._rows[0]
        }
        columns |= {name: np.array(values) for name, values in self._extra.items()}
        np.savez(self.folder / "columns.npz", stamp_ns=np.array(self.stamps, np.int64), **columns)
        facts = {
            "sources": self._sources,
            "histograms": {name: histogram.tolist() for name, histogram in self._histograms.items()},
            "histogram_frames": self._histogram_frames,
        }
        (self.folder / "segment.json").write_text(json.dumps(facts))


def _convert(
    reader: EpisodeReader, folder: Path, fps: int, max_gap_s: float, min_seconds: float, masked: list[tuple[int, int]]
) -> None:
    sizes = {name: (camera.width, camera.height) for name, camera in reader.contract.cameras.items()}
    writer = RecordingWriter(folder, fps, sizes, min_seconds)
    for found in aligned_rows(reader, fps, max_gap_s):
        if isinstance(found, Cut):
            writer.cut(found)
            continue
        seen = found.observation
        weight = 0.0 if any(first <= seen.stamp_ns < last for first, last in masked) else 1.0
        ages_ms = {name: age_ns / 1e6 for name, age_ns in seen.ages_ns.items()}
        writer.add(StagedRow(seen.stamp_ns, seen.images, seen.state, found.action, ages_ms, weight))
    writer.close(reader.folder.name, reader.info.task, reader.info.instruction, reader.info.seed)


def _policy_ranges(reader: EpisodeReader, fps: int) -> list[tuple[int, int]]:
    """When a policy moved the robot: from the row before, which acts with the policy's first command already."""
    step_ns = 1_000_000_000 // fps
    return [(one.start_ns - step_ns, one.stop_ns) for one in moved_by(reader) if one.source == "policy"]


def _masked_ranges(reader: EpisodeReader) -> list[tuple[int, int]]:
    """The ranges of stamps, in ns, that episode.yaml masks: their rows have a loss weight of 0, all others of 1."""
    ranges = []
    for index, masked in enumerate(reader.info.extra.get("masked_ns", [])):
        if not (isinstance(masked, list) and len(masked) == 2 and all(isinstance(ns, int) for ns in masked)):
            place = f"{reader.folder / 'episode.yaml'}: extra.masked_ns[{index}]"
            raise DatasetError(f"{place}: expected [from, to] in ns, found {masked!r}")
        ranges.append((masked[0], masked[1]))
    return ranges
