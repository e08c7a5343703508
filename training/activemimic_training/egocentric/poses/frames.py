"""Stage `frames`: every kept segment as an episode of images on an exact grid of 10 per second."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from activemimic_data.dataset.video import VideoWriter

from activemimic_training.egocentric.ingest.ingest import CanonicalVideo
from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.language.segment import Segment, Segments
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig, FramesSection
from activemimic_training.egocentric_error import EgocentricError

FPS = 10
TICK_NS = 1_000_000_000 // FPS
_AROUND = 10  # frames to either side that a frame is compared with
_THUMBNAIL = (64, 64)


@dataclass
class _Episode:
    """Grows frame by frame; `change`: how far a frame's colours are from those of the frame before, 0 to 1."""

    folder: Path
    writer: VideoWriter
    time_ns: list[int] = field(default_factory=list)
    source_pts_ns: list[int] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)
    last_histogram: np.ndarray | None = None

    def add(self, tick_ns: int, source_ns: int, image: np.ndarray) -> None:
        self.writer.add(image)
        histogram = _histogram(image)
        if self.last_histogram is not None:
            self.change.append(cv2.compareHist(self.last_histogram, histogram, cv2.HISTCMP_BHATTACHARYYA))
        self.last_histogram = histogram
        self.sharpness.append(_sharpness(image))
        self.time_ns.append(tick_ns)
        self.source_pts_ns.append(source_ns)


def frames(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes <video>_<number>/{frames.mp4, frames.json} for every episode, and episodes.json: what was made, what not.

    A segment is split where no frame is close enough to a tick. Raises EgocentricError if no segment has a frame.
    """
    section = config.frames
    video = CanonicalVideo(item, inputs["ingest"])
    segments = Segments.load(inputs["filter"]).segments
    episodes: list[str] = []
    dropped: list[dict[str, Any]] = []
    seen = 0
    for segment in segments:
        before = seen
        for episode in _episodes(video, segment, section, out):
            seen += 1
            episode.writer.close()
            seconds = len(episode.time_ns) / FPS
            if seconds < section.min_s:
                reason = f"{seconds:.1f} s between two gaps of the video, below {section.min_s:g} s"
                dropped.append(_dropped(segment, episode.time_ns[0] / 1e9, reason))
                shutil.rmtree(episode.folder)
                continue
            name = f"{item.id}_{len(episodes):03d}"
            (episode.folder / "frames.json").write_text(json.dumps(_about(episode, segment, section)))
            episode.folder.rename(out / name)
            episodes.append(name)
        if seen == before:
            dropped.append(_dropped(segment, segment.start, "no frame that can be decoded is near any tick"))
    if segments and not seen:
        raise EgocentricError(
            f"{item.source}: expected frames in {len(segments)} segments, found none that can be decoded"
        )
    (out / "episodes.json").write_text(json.dumps({"episodes": episodes, "dropped": dropped}, indent=1))


def grid(start_s: float, end_s: float) -> list[int]:
    """The ticks, ns, from `start_s` to before `end_s`: whole tenths of a second since the video's first frame."""
    first, last = (int(np.ceil(round(edge * FPS, 6))) for edge in (start_s, end_s))
    return [tick * TICK_NS for tick in range(first, last)]


def blurred(sharpness: list[float], below: float) -> list[bool]:
    """Frames whose sharpness is less than this share of the median around them."""
    return [value < below * float(np.median(around or [value])) for value, around in _with_neighbours(sharpness)]


def cuts(change: list[float], above: float) -> list[bool]:
    """Changes (T - 1,) that are large, and three times as large as those around: a turn of the head is neither."""
    return [
        value > above and value > 3 * float(np.median(around or [0.0])) for value, around in _with_neighbours(change)
    ]


def _episodes(video: CanonicalVideo, segment: Segment, section: FramesSection, out: Path) -> Iterator[_Episode]:
    """The unbroken parts of a segment, each still open."""
    width, height = video.size()
    episode: _Episode | None = None
    for tick, source_ns, image in video.at(grid(segment.start, segment.end)):
        if abs(source_ns - tick) > section.max_offset_ms * 1e6:
            if episode:
                yield episode
            episode = None
            continue
        if episode is None:
            folder = out / f"at-{tick}"
            folder.mkdir(parents=True)
            episode = _Episode(folder, VideoWriter(folder / "frames.mp4", FPS, width, height))
        episode.add(tick, source_ns, image)
    if episode:
        yield episode


def _dropped(segment: Segment, start_s: float, reason: str) -> dict[str, Any]:
    return {"task": segment.task, "start_s": start_s, "reason": reason}


def _about(episode: _Episode, segment: Segment, section: FramesSection) -> dict[str, Any]:
    return {
        "fps": FPS,
        "time_ns": episode.time_ns,
        "source_pts_ns": episode.source_pts_ns,
        "blurred": blurred(episode.sharpness, section.blur_below),
        "cut_after": [*cuts(episode.change, section.cut_above), False],
        "sharpness": [round(value, 6) for value in episode.sharpness],
        "task": segment.task,
        "action": segment.action,
        "objects": list(segment.objects),
    }


def _sharpness(image: np.ndarray) -> float:
    """Variance of the Laplacian, over that of the image, so that dark or plain views are not taken for blurred."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var() / (gray.var() + 1.0))


def _histogram(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
    return np.asarray(counts / counts.sum(), np.float32)


def _with_neighbours(values: list[float]) -> Iterator[tuple[float, list[float]]]:
    """Every value with those around it, itself left out."""
    for index, value in enumerate(values):
        around = values[max(0, index - _AROUND) : index] + values[index + 1 : index + 1 + _AROUND]
        yield value, around
