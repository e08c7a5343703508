"""What is watched of a trial: head and waist, how much of the target the head camera saw, what was in the hands."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from activemimic_sim.experts.hand import TOOL_M
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation

SEEN_PX = 20  # of the head camera's image: less is not recognised by anybody
SLOTS = ("head_yaw", "head_pitch", "waist_pitch", "waist_lift")
_COLUMNS = ("time_s", "stage", "target_px", *SLOTS)


class Grip(NamedTuple):
    """Where the fingertips of the nearer hand are to the middle (of mass) of something that has to be grasped.

    Attributes:
        hand: "left" or "right".
        beyond_m: how far they reach beyond it, along the hand.
        aside_m: how far from it, in the direction in which the fingers close.
        above_m: how far above it, in the world.
        closed: how far the gripper is closed, as measured.
    """

    hand: str
    beyond_m: float
    aside_m: float
    above_m: float
    closed: float

    @property
    def distance_m(self) -> float:
        return float(np.linalg.norm([self.beyond_m, self.aside_m, self.above_m]))


@dataclass
class Trace:
    """Columns of equal length; `slots` in slot units (rad, m), `grips` by the body that has to be grasped."""

    time_s: list[float] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)
    target_px: list[int] = field(default_factory=list)
    slots: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SLOTS})
    grips: dict[str, list[Grip]] = field(default_factory=dict)

    @property
    def first_seen(self) -> int | None:
        """The row in which the target was seen first."""
        return next((row for row, pixels in enumerate(self.target_px) if pixels >= SEEN_PX), None)

    @property
    def first_seen_s(self) -> float | None:
        return None if self.first_seen is None else self.time_s[self.first_seen]

    @property
    def head_travel_rad(self) -> float:
        """How far the head has turned, there and back, in yaw and pitch together."""
        turns = np.diff([self.slots["head_yaw"], self.slots["head_pitch"]], axis=1)
        return float(np.hypot(*turns).sum())

    def add(self, simulation: Simulation, cameras: CameraRenderer, stage: str) -> None:
        """One more row: the simulation as it is."""
        measured = simulation.measured()
        self.time_s.append(round(simulation.time_s, 3))
        self.stage.append(stage)
        self.target_px.append(cameras.visible_pixels(simulation.data, "head", simulation.task.target))
        for name, values in self.slots.items():
            values.append(round(float(measured[simulation.robot.slot_index[name]]), 4))
        for body in simulation.task.graspable:
            grips = [_grip(simulation, hand, body, measured) for hand in ("left", "right")]
            self.grips.setdefault(body, []).append(min(grips, key=lambda grip: grip.distance_m))

    def write(self, path: Path) -> None:
        """As CSV, a row an instant."""
        path.parent.mkdir(parents=True, exist_ok=True)
        names = [*_COLUMNS, *(f"{body}_{name}" for body in self.grips for name in Grip._fields)]
        columns = [self.time_s, self.stage, self.target_px, *self.slots.values()]
        for grips in self.grips.values():
            columns += map(list, zip(*grips, strict=True))
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *zip(*columns, strict=True)])


def read_trace(path: Path) -> Trace:
    """A trace that was written."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    bodies = [name.removesuffix("_hand") for name in (rows[0] if rows else {}) if name.endswith("_hand")]
    return Trace(
        [float(row["time_s"]) for row in rows],
        [row["stage"] for row in rows],
        [int(row["target_px"]) for row in rows],
        {name: [float(row[name]) for row in rows] for name in SLOTS},
        {body: [_read_grip(row, body) for row in rows] for body in bodies},
    )


def _grip(simulation: Simulation, hand: str, body: str, measured: np.ndarray) -> Grip:
    base = simulation.data.body(f"gripper_{hand[0]}_base_link")
    rotation = base.xmat.reshape(3, 3)
    off = base.xpos + TOOL_M * rotation[:, 2] - simulation.data.body(body).xipos
    closed = measured[simulation.robot.slot_index[f"{hand}_gripper"]]
    values = (off @ rotation[:, 2], off @ rotation[:, 1], off[2], closed)
    return Grip(hand, *(round(float(value), 4) for value in values))


def _read_grip(row: dict[str, str], body: str) -> Grip:
    hand, *values = (row[f"{body}_{name}"] for name in Grip._fields)
    return Grip(hand, *map(float, values))
