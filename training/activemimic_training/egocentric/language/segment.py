"""Stage `segment`: when in a video the hands manipulate something, and what (Sec. A.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from activemimic_description.common.strict import explain
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from activemimic_training.egocentric.ingest.ingest import CanonicalVideo
from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.language.language import Question, ask, json_of
from activemimic_training.egocentric.language.prompts import SEGMENT
from activemimic_training.egocentric.settings.pipeline_config import (
    EgocentricConfig,
    EgocentricConfigError,
    SegmentSection,
)
from activemimic_training.egocentric_error import EgocentricError

_NS = 1_000_000_000


class Segment(BaseModel):
    """A task of the hands, from `start` to `end` in s since the video's first frame."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: float
    end: float
    action: str = Field(min_length=1)
    objects: tuple[str, ...] = Field(min_length=1)
    task: str = Field(min_length=1)

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Rejected(BaseModel):
    """A segment that was not kept, and why."""

    segment: Segment
    reason: str


class Segments(BaseModel):
    """What the stages `segment` and `filter` write, as segments.json."""

    segments: tuple[Segment, ...]
    rejected: tuple[Rejected, ...] = ()

    def save(self, folder: Path) -> None:
        (folder / "segments.json").write_text(self.model_dump_json(indent=1))

    @classmethod
    def load(cls, folder: Path) -> Segments:
        return cls.model_validate_json((folder / "segments.json").read_text())


class _Reply(BaseModel):
    segments: list[Segment]


SCHEMA: dict[str, Any] = _Reply.model_json_schema()


def segment(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes segments.json, and replies.json with what the model said.

    Raises BadReplyError, UnavailableError, EgocentricError.
    """
    section = config.segment
    video = CanonicalVideo(item, inputs["ingest"])
    spans = [(first / _NS, last / _NS) for first, last in video.spans_ns()]
    if section.given is not None:
        proposed = given_segments(section.given, item)
    else:
        proposed, replies = _proposed(video, section, spans)
        (out / "replies.json").write_text(json.dumps(replies, indent=1))
    clear(proposed, spans, section).save(out)


def clear(proposed: Iterable[Segment], spans: Iterable[tuple[float, float]], section: SegmentSection) -> Segments:
    """The segments cut to the `spans` (s) that may be used, merged, and of a usable length; the others with reasons."""
    allowed = [*spans]
    inside: list[Segment] = []
    rejected: list[Rejected] = []
    for found in proposed:
        parts = [(max(found.start, first), min(found.end, last)) for first, last in allowed]
        kept = [found.model_copy(update={"start": a, "end": b}) for a, b in parts if a < b]
        inside += kept
        if not kept:
            why = "ends before it starts" if found.end <= found.start else "outside of what may be used of the video"
            rejected.append(Rejected(segment=found, reason=why))
    kept = []
    for found in merged(inside, section.merge_gap_s, allowed):
        if section.min_s <= found.seconds <= section.max_s:
            kept.append(found)
        else:
            limit = f"below {section.min_s:g}" if found.seconds < section.min_s else f"above {section.max_s:g}"
            rejected.append(Rejected(segment=found, reason=f"{found.seconds:.2f} s long, {limit} s"))
    return Segments(segments=tuple(kept), rejected=tuple(rejected))


def merged(segments: Iterable[Segment], gap_s: float, spans: Iterable[tuple[float, float]]) -> list[Segment]:
    """Segments of the same task that overlap or are at most `gap_s` apart, as one; never across the spans' ends."""
    allowed = [*spans]
    found: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (s.start, s.end, s.task)):
        for index, earlier in enumerate(found):
            together = any(a <= earlier.start and max(earlier.end, segment.end) <= b for a, b in allowed)
            if together and _words(earlier.task) == _words(segment.task) and segment.start - earlier.end <= gap_s:
                objects = tuple(dict.fromkeys([*earlier.objects, *segment.objects]))
                found[index] = earlier.model_copy(update={"end": max(earlier.end, segment.end), "objects": objects})
                break
        else:
            found.append(segment)
    return found


def given_segments(path: Path, item: Item) -> list[Segment]:
    """A person's own segments of a video: by its id or its file's name. Raises EgocentricError."""
    table = _given_file(path)
    for name in (item.id, item.source.name, item.source.stem):
        if name in table:
            try:
                return _Reply.model_validate({"segments": table[name]}).segments
            except ValidationError as error:
                raise EgocentricError(f"{path}: {name}: " + "; ".join(explain(error))) from None
    raise EgocentricError(f"{path}: expected segments of {item.id} (an empty list if there are none), found no entry")


@lru_cache(maxsize=1)
def _given_file(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EgocentricConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise EgocentricConfigError(f"{path}: expected an object of videos, found {type(table).__name__}")
    return table


def check_given(path: Path) -> None:
    """Raises EgocentricConfigError if the file of own segments cannot be read."""
    _given_file(path)


def _proposed(
    video: CanonicalVideo, section: SegmentSection, spans: list[tuple[float, float]]
) -> tuple[list[Segment], list[dict[str, Any]]]:
    """What the model finds in every piece of every span, and its replies."""
    assert section.model is not None
    found: list[Segment] = []
    replies: list[dict[str, Any]] = []
    for number, (from_s, to_s) in enumerate(_pieces(spans, section.piece_s)):
        ticks = (np.arange(from_s, to_s, 1 / section.fps) * _NS).round().astype(np.int64).tolist()
        frames = [(tick / _NS, _small(image, section.side_px)) for tick, _, image in video.at(ticks)]
        if not frames:
            raise EgocentricError(f"{video.item.source}: expected frames from {from_s:.1f} s on, found none")
        question = Question(
            f"segment/{video.item.id}/{number}", SEGMENT.format(from_s=from_s, to_s=to_s), SCHEMA, frames
        )
        segments, raw = ask(section.model, question, _parse)
        # What lies beyond the piece was not seen.
        found += [s.model_copy(update={"start": max(s.start, from_s), "end": min(s.end, to_s)}) for s in segments]
        replies.append({"question": question.key, "replies": raw})
    return found, replies


def _pieces(spans: Iterable[tuple[float, float]], longest_s: float) -> list[tuple[float, float]]:
    pieces = []
    for first, last in spans:
        count = max(1, int(np.ceil((last - first) / longest_s)))
        edges = np.linspace(first, last, count + 1).tolist()
        pieces += [*pairwise(edges)]
    return pieces


def _parse(reply: str) -> list[Segment]:
    """Raises ValueError."""
    data = json_of(reply)
    try:
        return _Reply.model_validate({"segments": data} if isinstance(data, list) else data).segments
    except ValidationError as error:
        raise ValueError("; ".join(explain(error))) from None


def _small(image: np.ndarray, side_px: int) -> np.ndarray:
    scale = min(1.0, side_px / max(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _words(task: str) -> str:
    return " ".join(task.casefold().strip(" .!").split())
