"""Which videos there are: files, folders of frames, and Ego4D as it is downloaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from activemimic_training.egocentric.ingest.ego4d import ANNOTATIONS, read_fho
from activemimic_training.egocentric_error import EgocentricError

VIDEOS = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v"}
IMAGES = {".jpg", ".jpeg", ".png"}
DATASET = "dataset.txt"  # beside frames: the dataset's name
Span = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """One video. Times are s since its first frame."""

    id: str
    kind: Literal["video", "frames"]
    source: Path
    spans_s: tuple[Span, ...] | None = None  # what may be looked at; None: all of it
    redacted_s: tuple[Span, ...] = ()
    dataset: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "source": str(self.source),
            "spans_s": self.spans_s,
            "redacted_s": self.redacted_s,
            "dataset": self.dataset,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Item:
        spans = data["spans_s"]
        return cls(
            id=data["id"],
            kind=data["kind"],
            source=Path(data["source"]),
            spans_s=None if spans is None else tuple((a, b) for a, b in spans),
            redacted_s=tuple((a, b) for a, b in data["redacted_s"]),
            dataset=data["dataset"],
        )


@dataclass(frozen=True)
class LeftOut:
    """What was found and is no item, and why."""

    source: str
    reason: str


def find_items(inputs: Iterable[Path], known: Iterable[Item] = ()) -> tuple[list[Item], list[LeftOut]]:
    """The videos at or below `inputs`, with those already `known`, by id; a known source keeps its id.

    Raises EgocentricError for an input that is not there or holds no video.
    """
    items = {item.source: item for item in known}
    taken = {item.id for item in items.values()}
    left_out: list[LeftOut] = []
    for path in inputs:
        before = len(left_out)
        found = [*_at(path.absolute(), left_out)]
        if not found and len(left_out) == before:
            raise EgocentricError(f"{path}: expected a video, a folder of frames or a folder of these, found none")
        for item in found:
            name = items[item.source].id if item.source in items else _free_name(item, taken)
            taken.add(name)
            items[item.source] = Item(name, item.kind, item.source, item.spans_s, item.redacted_s, item.dataset)
    return sorted(items.values(), key=lambda item: item.id), left_out


def frame_files(folder: Path) -> list[Path]:
    """The images in a folder, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES and not path.name.startswith("."))


def _at(path: Path, left_out: list[LeftOut]) -> Iterator[Item]:
    if not path.exists():
        raise EgocentricError(f"{path}: expected a video or a folder, found nothing")
    if not path.is_dir():
        yield _video(path) if path.name != ANNOTATIONS else _refuse_annotations(path)
        return
    annotations = sorted(path.rglob(ANNOTATIONS))
    if annotations:
        yield from _ego4d(path, annotations[0], left_out)
        return
    if frame_files(path):
        yield Item(_slug(path.name), "frames", path, dataset=_dataset(path))
    for below in sorted(path.iterdir()):
        if below.is_dir() and not below.name.startswith("."):
            yield from _at(below, left_out)
        elif below.suffix.lower() in VIDEOS and not below.name.startswith("."):
            yield _video(below)


def _ego4d(folder: Path, annotations: Path, left_out: list[LeftOut]) -> Iterator[Item]:
    files = {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in VIDEOS}
    for video in read_fho(annotations):
        if path := files.get(video.uid):
            kept = tuple((i.start_sec, i.end_sec) for i in video.intervals if not i.redacted)
            redacted = tuple((i.start_sec, i.end_sec) for i in video.intervals if i.redacted)
            yield Item(_slug(video.uid), "video", path, kept, redacted, "Ego4D")
            continue
        for interval in video.intervals:
            clip = interval.clip_uid
            path = files.get(clip) if clip else None
            if path is None:
                reason = f"neither the video nor its clip {clip} is below {folder}"
                left_out.append(LeftOut(f"Ego4D video {video.uid}, {interval.start_sec:g} s", reason))
            elif interval.redacted:
                left_out.append(LeftOut(str(path), "redacted"))
            else:
                start_s, end_s = interval.in_clip()
                redacted = tuple(
                    (other.start_sec - interval.clip_begins(), other.end_sec - interval.clip_begins())
                    for other in video.intervals
                    if other.redacted
                )
                yield Item(_slug(clip or ""), "video", path, ((start_s, end_s),), redacted, "Ego4D")


def _dataset(folder: Path) -> str | None:
    """Which one a folder of frames is from, if it says so."""
    about = folder / DATASET
    return about.read_text(encoding="utf-8").strip() if about.exists() else None


def _refuse_annotations(path: Path) -> Item:
    raise EgocentricError(f"{path}: expected the folder that holds it and the videos, found the file alone")


def _video(path: Path) -> Item:
    return Item(_slug(path.stem), "video", path)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "video"


def _free_name(item: Item, taken: set[str]) -> str:
    if item.id not in taken:
        return item.id
    return f"{item.id}-{hashlib.sha256(str(item.source).encode()).hexdigest()[:8]}"
