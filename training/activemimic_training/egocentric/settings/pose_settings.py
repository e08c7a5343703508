"""Which backend serves a pose stage, and its settings: a union by the name of the backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, model_validator

# Whoever performs a task may stand in another folder.
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
Vector = tuple[float, float, float]


class PoseSettings(BaseModel):
    """Of any backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def models(self) -> list[tuple[str, str | None]]:
        """The models it uses, each with the licence that is stated for it."""
        return []

    def packages(self) -> dict[str, str]:
        """What has to be installed, by module, with the command that does it."""
        return {}

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
    """A camera's path that somebody else found, in metres and with OpenCV's axes, by the video's name.

    A trajectory (.npz, EgoTrajectory), or else a text file of t x y z qx qy qz qw, camera to world, t in s since the
    video's first frame: `.csv` with commas and that head, `.txt` as TUM has it.
    """

    backend: Literal["supplied"]
    folder: AbsolutePath = Field(description="With <video>.npz, .csv or .txt.")
    max_gap_s: PositiveFloat = Field(
        0.2, description="Of .csv and .txt: between poses further apart nothing is interpolated."
    )

    def files(self, video: str) -> list[Path]:
        return [self.folder / f"{video}{ending}" for ending in (".npz", ".csv", ".txt")]


class UniDepth(PoseSettings):
    """UniDepth's metric depth of every image settles the scale (Eq. 7, 8)."""

    kind: Literal["unidepth"] = "unidepth"
    model: str = Field("lpiccinelli/unidepth-v2-vitl14", description="On the Hugging Face hub, or a folder.")
    licence: str | None = Field(None, description="Of its weights; needed where the model is not a known one.")
    device: str = "cuda"

    def models(self) -> list[tuple[str, str | None]]:
        return [(self.model, self.licence)]

    def packages(self) -> dict[str, str]:
        return {"unidepth": "pip install git+https://github.com/lpiccinelli-eth/UniDepth"}


class VggtCamera(PoseSettings):
    """VGGT in windows laid over each other; one where the episode fits."""

    backend: Literal["vggt"]
    model: str = Field("facebook/VGGT-1B", description="On the Hugging Face hub, or a folder.")
    licence: str | None = Field(None, description="Of its weights; needed where the model is not a known one.")
    device: str = "cuda"
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    window: int = Field(128, ge=3, description="Frames that it sees at once; 100 take 21 GB.")
    overlap: int = Field(32, ge=1, description="Frames that a window shares with the one before; at most half of it.")
    confident: float = Field(0.75, ge=0, description="Pixels count whose confidence is this share of the image's mean.")
    max_residual: PositiveFloat = Field(
        0.05, description="Of the depth: windows that agree less where they overlap leave the episode out."
    )
    max_focal_error: PositiveFloat = Field(
        0.3, description="A focal length found this far from the calibration's, relative, leaves the episode out."
    )
    scale: UniDepth = UniDepth()

    @model_validator(mode="after")
    def _overlap_fits(self) -> VggtCamera:
        if 2 * self.overlap > self.window:
            raise ValueError(f"overlap: expected at most half of window {self.window}, found {self.overlap}")
        return self

    def models(self) -> list[tuple[str, str | None]]:
        return [(self.model, self.licence), *self.scale.models()]

    def packages(self) -> dict[str, str]:
        return {"vggt": "pip install git+https://github.com/facebookresearch/vggt", **self.scale.packages()}


class KnownDepth(PoseSettings):
    """How far away things are, as somebody says who was there."""

    kind: Literal["known_depth"]
    median_m: PositiveFloat = Field(description="Of the points by which the camera is found, m from the camera.")


SparseScale = Annotated[UniDepth | KnownDepth, Field(discriminator="kind")]


class SfmCamera(PoseSettings):
    """Structure from motion (COLMAP) with the calibrated camera. It takes no GPU and no weights.

    It finds no metres: those come from `scale`.
    """

    backend: Literal["sfm"]
    scale: SparseScale
    longest_side_px: int = Field(640, ge=64, description="Of the images in which features are looked for.")
    features: int = Field(2000, ge=50, description="At most, of an image.")
    overlap: int = Field(10, ge=1, description="Frames after it that a frame is matched with.")
    min_registered: float = Field(0.5, gt=0, le=1, description="Share of the frames it has to find, in one piece.")

    def models(self) -> list[tuple[str, str | None]]:
        return self.scale.models()

    def packages(self) -> dict[str, str]:
        return {"pycolmap": "pip install 'activemimic_training[sfm]'", **self.scale.packages()}


class PoseNoise(PoseSettings):
    """The truth (.npz, EgoTrajectory, by the video's name), and how much worse than it an estimate shall be."""

    backend: Literal["truth"]
    folder: AbsolutePath = Field(description="With <video>.npz.")
    seed: int = Field(0, ge=0, description="Other numbers, other noise.")
    position_m: NonNegativeFloat = Field(0.0, description="Deviation of every frame's own error, per axis.")
    rotation_deg: NonNegativeFloat = Field(0.0, description="The same of its rotation.")
    drift_m: NonNegativeFloat = Field(0.0, description="Deviation of an error that changes slowly, per axis.")
    drift_deg: NonNegativeFloat = Field(0.0, description="The same of its rotation.")
    dropout: float = Field(0.0, ge=0, le=1, description="Share of the frames that are lost.")
    burst_s: PositiveFloat = Field(0.5, description="How long dropouts, exchanges and hallucinations last, on average.")
    spikes: float = Field(0.0, ge=0, le=1, description="Share of the frames that are off by `jump_m`, each alone.")
    jumps_per_min: NonNegativeFloat = Field(0.0, description="How often the track goes on `jump_m` elsewhere.")
    jump_m: NonNegativeFloat = 0.3

    def files(self, video: str) -> list[Path]:
        return [self.folder / f"{video}.npz"]


class TruthWrists(PoseNoise):
    """True wrists where they are in view, spoiled as asked; to measure what the other stages make of it."""

    swapped: float = Field(0.0, ge=0, le=1, description="Share of the frames in which left is taken for right.")
    hallucinated: float = Field(0.0, ge=0, le=1, description="Share of the unseen hands' frames that show one anyway.")


class TruthCamera(PoseNoise):
    """The true path, spoiled as asked; to measure what the other stages make of it."""

    scale_drift: NonNegativeFloat = Field(0.0, description="Deviation of the path's scale (log) after 10 s.")
    scale_noise: NonNegativeFloat = Field(
        0.0, description="Deviation of every frame's metric scale (log), s_k of Eq. 7."
    )


WristSettings = Annotated[
    SuppliedWrists | MediapipeWrists | Sam3dBodyWrists | TruthWrists, Field(discriminator="backend")
]
CameraSettings = Annotated[SuppliedCamera | VggtCamera | SfmCamera | TruthCamera, Field(discriminator="backend")]
