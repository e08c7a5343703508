"""Which backend serves a pose stage, and its settings: a union by the name of the backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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


WristSettings = Annotated[SuppliedWrists, Field(discriminator="backend")]
CameraSettings = Annotated[SuppliedCamera, Field(discriminator="backend")]
