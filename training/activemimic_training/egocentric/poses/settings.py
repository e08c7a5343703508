"""Which backend serves a pose stage, and its settings: a union by the name of the backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat

# Whoever performs a task may stand in another folder.
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
Vector = tuple[float, float, float]


class PoseSettings(BaseModel):
    """Of any backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def models(self) -> list[tuple[str, str | None]]:
        """The models it uses, each with the licence that is stated for it."""
        return []

    def files(self, video: str) -> list[Path]:
        """What it reads of a video besides the stages' results, by the video's id; a file may not be there."""
        return []


class SuppliedWrists(PoseSettings):
    """Wrists that somebody else found, by the video's name.

    A trajectory (.npz, EgoTrajectory), or else a table (.csv) of t,hand,x,y,z,qx,qy,qz,qw,confidence: wrist to camera,
    t in s since the video's first frame, hand left or right; without the last column the confidence is 1.
    """

    backend: Literal["supplied"]
    folder: AbsolutePath = Field(description="With <video>.npz or <video>.csv.")
    max_gap_s: PositiveFloat = Field(0.2, description="Of .csv: between poses further apart nothing is interpolated.")

    def files(self, video: str) -> list[Path]:
        return [self.folder / f"{video}{ending}" for ending in (".npz", ".csv")]


class MediapipeWrists(PoseSettings):
    """MediaPipe's hand landmarks, laid into space by the size of the wearer's hand."""

    backend: Literal["mediapipe"]
    hand_size_m: float = Field(
        0.095, gt=0.04, lt=0.2, description="From the wrist to the middle finger's knuckle; distances scale with it."
    )
    min_score: float = Field(0.5, gt=0, lt=1, description="Of the palm detector.")

    def models(self) -> list[tuple[str, str | None]]:
        return [("MediaPipe hands", None)]


class Sam3dBodyWrists(PoseSettings):
    """SAM-3D-Body, from a checkout of its repository and weights that were downloaded."""

    backend: Literal["sam3d_body"]
    checkout: AbsolutePath = Field(description="Of github.com/facebookresearch/sam-3d-body.")
    checkpoint: AbsolutePath = Field(
        description="model.ckpt, with model_config.yaml and assets/mhr_model.pt beside it, as on the hub."
    )
    model: str = Field("facebook/sam-3d-body-dinov3", description="What the checkpoint is, for the licence.")
    licence: str | None = Field(None, description="Of its weights; needed where the model is not a known one.")
    detector: str | None = Field(
        "vitdet", description="Of people, as the checkout's tools name it; none: the whole image is the wearer."
    )
    device: str = Field("cuda", description="Of all its models.")
    left_offset_deg: Vector = Field((0.0, 0.0, 0.0), description="Rotation from the model's wrist axes to yours.")
    right_offset_deg: Vector = Field(
        (0.0, 0.0, 0.0), description="The same; both as `offset_vector_deg` of `ego evaluate`."
    )

    def models(self) -> list[tuple[str, str | None]]:
        detector = [(f"detector {self.detector}", None)] if self.detector else []
        return [(self.model, self.licence), *detector]


class SuppliedCamera(PoseSettings):
    """A camera's path that somebody else found, in metres: a trajectory (.npz, EgoTrajectory) by the video's name."""

    backend: Literal["supplied"]
    folder: AbsolutePath = Field(description="With <video>.npz.")


WristSettings = Annotated[SuppliedWrists | MediapipeWrists | Sam3dBodyWrists, Field(discriminator="backend")]
CameraSettings = Annotated[SuppliedCamera, Field(discriminator="backend")]
