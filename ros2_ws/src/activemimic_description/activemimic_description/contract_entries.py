"""The entries of a robot contract: a camera, a state source, a command sink, each with its topic and QoS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

JOINT_STATE = "sensor_msgs/msg/JointState"

TopicName = Annotated[str, Field(pattern=r"^(/[A-Za-z_][A-Za-z0-9_]*)+$")]
TypeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=1)]

_CAMERA_TYPES = {
    "jpeg": "sensor_msgs/msg/CompressedImage",
    "png": "sensor_msgs/msg/CompressedImage",
    "rgb8": "sensor_msgs/msg/Image",
    "bgr8": "sensor_msgs/msg/Image",
    "rgba8": "sensor_msgs/msg/Image",
}


class Strict(BaseModel):
    """Refuses unknown keys and converts nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Qos(Strict):
    """The QoS both ends of a topic agree on; history is always keep-last."""

    reliability: Literal["reliable", "best_effort"]
    depth: Annotated[int, Field(ge=1)]
    durability: Literal["volatile", "transient_local"]


class TopicEntry(Strict):
    """A topic of the contract."""

    topic: TopicName
    type: TypeName
    rate_hz: Positive
    qos: Qos


class CameraSource(TopicEntry):
    """One camera: `width` x `height` pixels, not to be used once its newest image is older than `max_age_ms`.

    With `sensor_noise` no two of its images are the same to the byte, not even of a scene in which nothing moves.
    """

    encoding: Literal["jpeg", "png", "rgb8", "bgr8", "rgba8"]
    width: Pixels
    height: Pixels
    max_age_ms: Positive
    sensor_noise: bool = False

    _name: str = PrivateAttr(default="")

    def bind(self, name: str) -> None:
        """Say what the contract calls this camera."""
        self._name = name

    @property
    def name(self) -> str:
        """The camera's name in the contract."""
        return self._name

    @model_validator(mode="after")
    def _type_carries_encoding(self) -> CameraSource:
        if self.type != _CAMERA_TYPES[self.encoding]:
            raise ValueError(
                f"expected type {_CAMERA_TYPES[self.encoding]} for encoding {self.encoding}, found {self.type}"
            )
        return self


class JointField(Strict):
    """One slot of the robot vector: `slot = sign * scale * raw + offset`, where `unit` is the unit of `raw`.

    `name` is a joint of a JointState message; `path` is an attribute path such as `motor_states[0].position`.
    """

    slot: str
    name: str | None = None
    path: str | None = None
    unit: Literal["rad", "deg", "m", "cm", "mm", "fraction", "raw"]
    sign: Literal[-1, 1] = 1
    scale: Positive = 1.0
    offset: Finite = 0.0

    @model_validator(mode="after")
    def _name_or_path(self) -> JointField:
        if (self.name is None) == (self.path is None):
            raise ValueError("expected exactly one of name (a joint of a JointState) and path")
        if self.path is not None and not re.fullmatch(r"[A-Za-z_]\w*(\[\d+\]|\.[A-Za-z_]\w*)*", self.path):
            raise ValueError(f"expected a path such as 'motor_states[0].position', found {self.path!r}")
        return self

    @property
    def steps(self) -> tuple[str | int, ...]:
        """The path taken apart: attribute names and indices."""
        parts = re.findall(r"\[(\d+)\]|(\w+)", self.path or "")
        return tuple(int(index) if index else name for index, name in parts)


class JointTopic(TopicEntry):
    """What state sources and command sinks share."""

    fields: Annotated[list[JointField], Field(min_length=1)]

    _indices: np.ndarray = PrivateAttr()
    _gain: np.ndarray = PrivateAttr()
    _offset: np.ndarray = PrivateAttr()

    def bind(self, slots: Sequence[str]) -> None:
        """Say which slots there are, in their order."""
        self._indices = np.array([slots.index(field.slot) for field in self.fields])
        self._gain = np.array([field.sign * field.scale for field in self.fields], dtype=np.float64)
        self._offset = np.array([field.offset for field in self.fields], dtype=np.float64)

    @property
    def indices(self) -> np.ndarray:
        """The slots this topic fills, in the order of `fields`: (K,) int."""
        return self._indices

    @property
    def gain(self) -> np.ndarray:
        """`sign * scale` of every field: (K,) float64, slot units per raw unit."""
        return self._gain

    @property
    def offset(self) -> np.ndarray:
        """The offset of every field: (K,) float64, in slot units."""
        return self._offset


class JointSource(JointTopic):
    """A topic that measures slots, not to be used once its newest message is older than `max_age_ms`."""

    max_age_ms: Positive

    @model_validator(mode="after")
    def _names_need_joint_state(self) -> JointSource:
        for index, field in enumerate(self.fields):
            if field.name is not None and self.type != JOINT_STATE:
                raise ValueError(
                    f"fields[{index}].name: only a {JOINT_STATE} has joint names; expected path, as type is {self.type}"
                )
        return self


class JointSink(JointTopic):
    """A topic that commands slots; only the controller publishes it."""

    @model_validator(mode="after")
    def _is_joint_state_by_name(self) -> JointSink:
        if self.type != JOINT_STATE:
            raise ValueError(f"expected type {JOINT_STATE} for a command, found {self.type}")
        for index, field in enumerate(self.fields):
            if field.name is None:
                raise ValueError(
                    f"fields[{index}]: a command names its joint: expected name, found path {field.path!r}"
                )
        return self
