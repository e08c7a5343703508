"""Which backend serves a pose stage, and its settings: a union by the name of the backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat

# Whoever performs a task may stand in another folder.
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SuppliedWrists(_Settings):
    """Wrists that somebody else found: trajectories (.npz, EgoTrajectory) by the video's name."""

    backend: Literal["supplied"]
    folder: AbsolutePath = Field(description="With <video>.npz.")


class SuppliedCamera(_Settings):
    """A camera's path that somebody else found, in metres: a trajectory (.npz, EgoTrajectory) by the video's name."""

    backend: Literal["supplied"]
    folder: AbsolutePath = Field(description="With <video>.npz.")


class PoseNoise(_Settings):
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


WristSettings = Annotated[SuppliedWrists | TruthWrists, Field(discriminator="backend")]
CameraSettings = Annotated[SuppliedCamera | TruthCamera, Field(discriminator="backend")]
