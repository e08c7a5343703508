"""What a policy needs and gives, as a node must know it: stored in the checkpoint, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

FORMER_NAMES = {
    "gripper_slots": "absolute_slots",
    "execute_steps": "execution_horizon",
    "flow_steps": "num_inference_steps",
}


class PolicySpec(BaseModel):
    """The policy's side of the robot contract.

    Point k of a chunk (from zero) is what shall be commanded at the observation's stamp + (k + 1) / fps. The first
    `execution_horizon` of its `horizon` points are meant to run before the next chunk.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    FORMER_NAMES: ClassVar[Mapping[str, str]] = FORMER_NAMES

    cameras: tuple[str, ...] = Field(min_length=1)
    slots: tuple[str, ...] = Field(min_length=1)
    absolute_slots: tuple[str, ...]  # whose targets the network sees as they are, not relative to the state
    fps: PositiveInt
    horizon: PositiveInt
    execution_horizon: PositiveInt
    num_inference_steps: PositiveInt
    noise_scale: float = Field(1.0, ge=0, le=1)  # of the normal noise that a chunk starts from; 0: always the same
    max_delay_steps: NonNegativeInt = 0  # a chunk's first steps that may be given (training-time action prefixes)
    relative_knee: PositiveFloat  # slot units; see transforms.CompressActions
    instructions: tuple[str, ...] = Field(min_length=1)
    interface: dict[str, Any]  # the contract's interface() at training time
    fingerprint: str = Field(min_length=1)  # the contract's fingerprint() at training time

    @property
    def step_ns(self) -> int:
        """Time between two points of a chunk, in nanoseconds."""
        return round(1e9 / self.fps)

    @property
    def relative_slots(self) -> tuple[bool, ...]:
        """Per slot whether the network sees its target relative to the state at the chunk's start."""
        return tuple(slot not in self.absolute_slots for slot in self.slots)

    def draw_noise(self, random: np.random.Generator) -> npt.NDArray[np.float64]:
        """What a chunk starts from (T, S): normal noise, scaled.

        Less than was trained with brings chunks closer to what is demonstrated most, and closer to one another: at 0
        what a policy does at a moment depends on what it sees alone.
        """
        return self.noise_scale * random.standard_normal((self.horizon, len(self.slots)))

    @model_validator(mode="after")
    def _names_fit(self) -> PolicySpec:
        for field in ("cameras", "slots", "absolute_slots"):
            names = getattr(self, field)
            if len(set(names)) != len(names):
                raise ValueError(f"{field} names one twice: {', '.join(names)}")
        unknown = sorted(set(self.absolute_slots) - set(self.slots))
        if unknown:
            raise ValueError(f"absolute_slots {', '.join(unknown)} are not among the slots {', '.join(self.slots)}")
        if self.execution_horizon > self.horizon:
            raise ValueError(f"execution_horizon {self.execution_horizon} exceeds horizon {self.horizon}")
        if self.max_delay_steps >= self.horizon:
            raise ValueError(f"max_delay_steps {self.max_delay_steps} leaves nothing of horizon {self.horizon}")
        return self
