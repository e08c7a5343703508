"""A robot in numbers: links, joints, limits, slots and cameras, read strictly from one YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from activemimic_description.common.errors import InvalidInputError

ROBOTS_FOLDER = Path(__file__).parent / "robots"

Vector3 = Annotated[tuple[float, float, float], Field()]


class RobotError(InvalidInputError):
    """A robot file that does not describe a robot: names the file, the field, what was expected and found."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(_Strict):
    """One geometric primitive of a link: a box (full sides), a cylinder or capsule (radius), in metres.

    A cylinder lies along its own z axis at (xyz, rpy_deg); a capsule reaches from one point to another.
    """

    box: Vector3 | None = None
    cylinder: float | None = None
    length: float | None = None
    capsule: float | None = None
    start: Vector3 | None = Field(default=None, alias="from")
    end: Vector3 | None = Field(default=None, alias="to")
    xyz: Vector3 = (0.0, 0.0, 0.0)
    rpy_deg: Vector3 = (0.0, 0.0, 0.0)
    collision: bool = True
    pad: bool = False  # a finger pad: high friction in simulation

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> Shape:
        kinds = {
            "box": self.box is not None,
            "cylinder": self.cylinder is not None and self.length is not None,
            "capsule": self.capsule is not None and self.start is not None and self.end is not None,
        }
        if sum(kinds.values()) != 1:
            raise ValueError("expected exactly one of: box; cylinder and length; capsule, from and to")
        return self


class Link(_Strict):
    mass: float = Field(ge=0.0)  # kg
    shapes: tuple[Shape, ...] = ()


class Joint(_Strict):
    """A joint whose axis is its own +z; the origin is the child's pose in the parent at position zero."""

    name: str
    type: Literal["fixed", "revolute", "prismatic"]
    parent: str
    child: str
    xyz: Vector3
    rpy_deg: Vector3
    limit: tuple[float, float] | None = None  # rad or m
    velocity: float | None = None  # rad/s or m/s
    acceleration: float | None = Field(default=None, gt=0.0)  # rad/s^2 or m/s^2; a joint that is a slot needs it
    jerk: float | None = Field(default=None, gt=0.0)  # rad/s^3 or m/s^3; a joint that is a slot needs it
    effort: float | None = None  # Nm or N

    @model_validator(mode="after")
    def _moving_joints_have_limits(self) -> Joint:
        limits = (self.limit, self.velocity, self.effort)
        if self.type == "fixed":
            if any(value is not None for value in (*limits, self.acceleration, self.jerk)):
                raise ValueError(f"{self.name}: a fixed joint has no limit, velocity, acceleration, jerk or effort")
        elif any(value is None for value in limits):
            raise ValueError(f"{self.name}: a moving joint needs limit, velocity and effort")
        elif self.limit is not None and self.limit[0] >= self.limit[1]:
            raise ValueError(f"{self.name}: expected limit [lower, upper], found {list(self.limit)}")
        return self


class CameraMount(_Strict):
    """A pinhole camera; the pose is that of its optical frame (x right, y down, z forward) in the link."""

    link: str
    xyz: Vector3
    rpy_deg: Vector3
    fovy_deg: float = Field(gt=0.0, lt=180.0)


class _SlotEntry(_Strict):
    name: str
    joint: str
    follower: str | None = None
    open: float | None = None
    closed: float | None = None
    velocity: float | None = Field(default=None, gt=0.0)
    acceleration: float | None = Field(default=None, gt=0.0)
    jerk: float | None = Field(default=None, gt=0.0)


class _RobotFile(_Strict):
    name: str
    links: dict[str, Link]
    joints: tuple[Joint, ...]
    slots: tuple[_SlotEntry, ...]
    cameras: dict[str, CameraMount]
    home: dict[str, float | tuple[float, ...]]


@dataclass(frozen=True)
class Slot:
    """One entry of the robot vector, in slot units: rad, m, or the gripper's fraction (0 open, 1 closed)."""

    name: str
    joint: str
    unit: Literal["rad", "m", "fraction"]
    lower: float
    upper: float
    velocity: float  # slot units per second,
    acceleration: float  # per second squared,
    jerk: float  # and per second cubed
    follower: str | None = None  # a second joint that moves alike (the gripper's other finger)
    joint_at_0: float = 0.0
    joint_at_1: float = 1.0

    @property
    def is_gripper(self) -> bool:
        return self.unit == "fraction"

    def joint_position(self, value: float) -> float:
        """The joint position (rad or m) that a slot value stands for."""
        return self.joint_at_0 + (self.joint_at_1 - self.joint_at_0) * value


@dataclass(frozen=True)
class Robot:
    """A loaded robot. `joints` are ordered from the root: a parent's joint stands before its children's."""

    name: str
    links: dict[str, Link]
    joints: tuple[Joint, ...]
    slots: tuple[Slot, ...]
    cameras: dict[str, CameraMount]
    home: np.ndarray  # (S,) slot units

    @cached_property
    def slot_index(self) -> dict[str, int]:
        return {slot.name: index for index, slot in enumerate(self.slots)}

    @cached_property
    def joint(self) -> dict[str, Joint]:
        return {joint.name: joint for joint in self.joints}

    @property
    def root(self) -> str:
        return self.joints[0].parent

    @cached_property
    def lower(self) -> np.ndarray:
        """(S,) lower position limits in slot units."""
        return np.array([slot.lower for slot in self.slots])

    @cached_property
    def upper(self) -> np.ndarray:
        """(S,) upper position limits in slot units."""
        return np.array([slot.upper for slot in self.slots])

    @cached_property
    def velocity(self) -> np.ndarray:
        """(S,) velocity limits in slot units per second."""
        return np.array([slot.velocity for slot in self.slots])

    @cached_property
    def acceleration(self) -> np.ndarray:
        """(S,) acceleration limits in slot units per second squared."""
        return np.array([slot.acceleration for slot in self.slots])

    @cached_property
    def jerk(self) -> np.ndarray:
        """(S,) jerk limits in slot units per second cubed."""
        return np.array([slot.jerk for slot in self.slots])

    def joint_positions(self, slots: np.ndarray) -> dict[str, float]:
        """Positions (rad or m) of every moving joint for a robot vector (S,)."""
        positions: dict[str, float] = {}
        for slot, value in zip(self.slots, slots, strict=True):
            positions[slot.joint] = slot.joint_position(float(value))
            if slot.follower is not None:
                positions[slot.follower] = positions[slot.joint]
        return positions


@lru_cache
def load_robot(name: str = "g1") -> Robot:
    """The robot described by `robots/<name>.yaml`.

    Raises:
        RobotError: the file is missing or any field is unknown, missing or inconsistent.
    """
    path = ROBOTS_FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in ROBOTS_FOLDER.glob("*.yaml")))
        raise RobotError(f"there is no robot '{name}': expected one of {known}")
    return robot_from_text(path.read_text(), str(path))


def robot_from_text(text: str, origin: str) -> Robot:
    """Parse and check a robot description; `origin` names it in errors."""
    try:
        file = _RobotFile.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise RobotError(f"{origin}: {error}") from None
    _check_tree(file, origin)
    slots = tuple(_slot(entry, file, origin) for entry in file.slots)
    return Robot(file.name, file.links, file.joints, slots, file.cameras, _home(file, slots, origin))


def _check_tree(file: _RobotFile, origin: str) -> None:
    placed = {file.joints[0].parent}
    for joint in file.joints:
        for link in (joint.parent, joint.child):
            if link not in file.links:
                raise RobotError(f"{origin}: joint {joint.name}: there is no link '{link}'")
        if joint.parent not in placed:
            raise RobotError(f"{origin}: joint {joint.name}: its parent {joint.parent} is not placed before it")
        if joint.child in placed:
            raise RobotError(f"{origin}: joint {joint.name}: link {joint.child} already has a parent")
        placed.add(joint.child)
    if floating := set(file.links) - placed:
        raise RobotError(f"{origin}: links without a joint: {', '.join(sorted(floating))}")
    for name, camera in file.cameras.items():
        if camera.link not in file.links:
            raise RobotError(f"{origin}: camera {name}: there is no link '{camera.link}'")


def _slot(entry: _SlotEntry, file: _RobotFile, origin: str) -> Slot:
    joint = next((joint for joint in file.joints if joint.name == entry.joint), None)
    if joint is None or joint.limit is None or joint.velocity is None:
        raise RobotError(f"{origin}: slot {entry.name}: there is no moving joint '{entry.joint}'")
    own = (entry.velocity, entry.acceleration, entry.jerk)
    if entry.open is None or entry.closed is None:
        if any(value is not None for value in own):
            raise RobotError(
                f"{origin}: slot {entry.name}: only a gripper (with open and closed) has its own velocity, "
                f"acceleration and jerk; here they belong to joint {entry.joint}"
            )
        if joint.acceleration is None or joint.jerk is None:
            raise RobotError(
                f"{origin}: slot {entry.name}: joint {entry.joint} needs an acceleration and a jerk, as it is a slot"
            )
        unit: Literal["rad", "m"] = "m" if joint.type == "prismatic" else "rad"
        return Slot(entry.name, entry.joint, unit, *joint.limit, joint.velocity, joint.acceleration, joint.jerk)
    if entry.velocity is None or entry.acceleration is None or entry.jerk is None:
        raise RobotError(
            f"{origin}: slot {entry.name}: a gripper needs a velocity, an acceleration and a jerk "
            f"(fraction per second, per second squared and cubed)"
        )
    return Slot(
        entry.name,
        entry.joint,
        "fraction",
        0.0,
        1.0,
        entry.velocity,
        entry.acceleration,
        entry.jerk,
        entry.follower,
        entry.open,
        entry.closed,
    )


def _home(file: _RobotFile, slots: tuple[Slot, ...], origin: str) -> np.ndarray:
    home = np.zeros(len(slots))
    names = [slot.name for slot in slots]
    for key, value in file.home.items():
        if isinstance(value, tuple):
            targets = {f"{key}_{number}": position for number, position in enumerate(value, start=1)}
        else:
            targets = {key: value}
        for name, position in targets.items():
            if name not in names:
                raise RobotError(f"{origin}: home: there is no slot '{name}'")
            home[names.index(name)] = position
    for slot, position in zip(slots, home, strict=True):
        if not slot.lower <= position <= slot.upper:
            raise RobotError(
                f"{origin}: home: {slot.name} = {position} lies outside its limits [{slot.lower}, {slot.upper}]"
            )
    return home
