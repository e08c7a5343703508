"""What a run over egocentric videos does, read strictly from YAML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from activemimic_description.common.configuration import read_config
from activemimic_description.common.errors import InvalidInputError
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from activemimic_training.egocentric.quality.quality import QualityConfig
from activemimic_training.egocentric.settings.pose_settings import AbsolutePath, CameraSettings, WristSettings
from activemimic_training.egocentric.spatial.calibration import Calibration


class EgocentricConfigError(InvalidInputError):
    """A configuration that cannot be used; the message names file, field, expected and found."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LanguageSection(_Section):
    """A model that is asked: behind an OpenAI-compatible server such as vLLM, in this process, or scripted."""

    backend: Literal["server", "transformers", "scripted"]
    model: str = Field("scripted", description="Its name, as the server or the Hugging Face hub knows it, or a folder.")
    licence: str | None = Field(None, description="Of its weights; needed where the model is not a known one.")
    url: str = Field("http://localhost:8000/v1", description="Of the server; the key is in OPENAI_API_KEY.")
    script: AbsolutePath | None = Field(None, description="JSON of replies, for the backend `scripted`.")
    device: str = Field("cuda", description="Of the backend `transformers`.")
    max_tokens: PositiveInt = Field(4096, description="Longest reply.")
    tries: PositiveInt = Field(3, description="How often a question is asked whose reply is no use.")
    timeout_s: PositiveFloat = Field(600.0, description="For one reply of the server.")

    @model_validator(mode="after")
    def _agrees(self) -> LanguageSection:
        if self.backend == "scripted" and self.script is None:
            raise ValueError("script: expected the file of replies for backend scripted, found nothing")
        if self.backend != "scripted" and self.model == "scripted":
            raise ValueError(f"model: expected the name of a model for backend {self.backend}, found nothing")
        return self


class IngestSection(_Section):
    """Every video gets one image size and one intrinsic matrix, without distortion."""

    longest_side_px: PositiveInt = Field(
        960, ge=64, description="Of the canonical image; smaller ones stay as they are."
    )
    calibration: Calibration | None = Field(None, description="Of videos without a `.camera.json` beside them.")
    field_of_view_deg: float = Field(
        80.0, gt=5, lt=170, description="Assumed along the longer side where there is no calibration, and marked so."
    )
    folder_fps: PositiveFloat | None = Field(None, description="Of folders of frames without a `timestamps.csv`.")
    data_licence: str = Field("not stated", description="Of videos that are not from a known dataset.")


class SegmentSection(_Section):
    """Where hands manipulate something: proposed by a vision-language model, or given."""

    given: AbsolutePath | None = Field(
        None, description="Own segments in place of a model: JSON, video name to its segments."
    )
    model: LanguageSection | None = None
    fps: PositiveFloat = Field(1.0, le=10, description="Frames per second that the model sees.")
    side_px: PositiveInt = Field(448, description="Longer side of those frames.")
    piece_s: PositiveFloat = Field(240.0, description="Longest piece of a video that the model sees at once.")
    merge_gap_s: NonNegativeFloat = Field(1.0, description="Segments of the same task that are this close become one.")
    min_s: PositiveFloat = Field(2.0, description="Shorter segments are rejected.")
    max_s: PositiveFloat = Field(60.0, description="Longer segments are rejected.")


class FilterSection(_Section):
    """The paper's three semantic criteria, judged by a language model."""

    enabled: bool = Field(True, description="False keeps every segment.")
    model: LanguageSection | None = None
    at_once: PositiveInt = Field(40, description="Segments in one question.")


class FramesSection(_Section):
    """Episodes on an exact grid of 10 per second."""

    max_offset_ms: PositiveFloat = Field(
        100.0, description="A tick without a frame this close splits the episode: no image stands for another time."
    )
    min_s: PositiveFloat = Field(1.0, description="Shorter episodes are dropped.")
    blur_below: float = Field(0.3, ge=0, lt=1, description="Blurred: less sharp than this share of its neighbours.")
    cut_above: float = Field(
        0.5, gt=0, le=1, description="Cut: histograms this far apart, and three times as far as around."
    )


class LicenceSection(_Section):
    """What may be used."""

    commercial: bool = Field(False, description="True refuses models that may not be used commercially.")
    exclude: tuple[str, ...] = Field((), description="Licences that are refused, by name.")


class Resources(_Section):
    """What one process of a stage takes."""

    cpus: PositiveFloat = 1.0
    gpus: NonNegativeFloat = Field(0.0, description="May be a fraction. Above 0 the stage has processes of its own.")
    processes: PositiveInt = Field(1, description="Of a stage that takes GPUs; all others share --workers.")


class RunningSection(_Section):
    """How it runs; none of this changes the result."""

    resources: dict[str, Resources] = Field({}, description="By stage.")
    ray_address: str | None = Field(None, description="Of a cluster, such as auto; none: Ray is started here.")
    stall_s: PositiveFloat = Field(3600.0, description="The run ends with an error if no item gets on for so long.")


class EgocentricConfig(_Section):
    """A run over egocentric videos. Relative paths are relative to the working directory."""

    ingest: IngestSection = IngestSection()
    segment: SegmentSection = SegmentSection()
    filter: FilterSection = FilterSection()
    frames: FramesSection = FramesSection()
    wrists: WristSettings | None = None
    camera: CameraSettings | None = None
    quality: QualityConfig = QualityConfig()
    licences: LicenceSection = LicenceSection()
    running: RunningSection = RunningSection()


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> EgocentricConfig:
    """The YAML file at `path` (None: the defaults), with overrides such as "segment.min_s=3" on top.

    Raises EgocentricConfigError.
    """
    return read_config(EgocentricConfig, path, overrides, EgocentricConfigError, form="section.field=value")
