"""Ego4D's annotations of hands and objects: which parts of which videos are annotated, and which are redacted."""

from __future__ import annotations

from pathlib import Path

from activemimic_description.common.strict import explain
from pydantic import BaseModel, Field, ValidationError

from activemimic_training.egocentric_error import EgocentricError

ANNOTATIONS = "fho_main.json"


class Interval(BaseModel):
    """Annotated, in s of the video; the clip cut from it may begin earlier."""

    start_sec: float
    end_sec: float
    clip_uid: str | None = None
    clip_parent_start_sec: float | None = None
    redacted: bool = False

    def clip_begins(self) -> float:
        return self.start_sec if self.clip_parent_start_sec is None else self.clip_parent_start_sec

    def in_clip(self) -> tuple[float, float]:
        """Start and end in s of the clip."""
        return self.start_sec - self.clip_begins(), self.end_sec - self.clip_begins()


class Video(BaseModel):
    """A video and its annotated intervals."""

    uid: str = Field(alias="video_uid")
    intervals: list[Interval] = Field(alias="annotated_intervals")


class _File(BaseModel):
    videos: list[Video]


def read_fho(path: Path) -> list[Video]:
    """The videos of `fho_main.json`; its other fields are not needed. Raises EgocentricError."""
    try:
        return _File.model_validate_json(path.read_bytes()).videos
    except ValidationError as error:
        first, *rest = explain(error)
        more = f" (and {len(rest)} more)" if rest else ""
        raise EgocentricError(f"{path}: {first}{more}") from None
    except OSError as error:
        raise EgocentricError(f"{path}: cannot be read: {error}") from None
