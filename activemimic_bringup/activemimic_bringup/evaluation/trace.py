"""What is watched of a trial: where head and waist were, and how much of the target the head camera saw."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from activemimic_sim.rendering import CameraRenderer
from activemimic_sim.simulation import Simulation

SEEN_PX = 20  # of the head camera's image: less is not recognised by anybody
SLOTS = ("head_yaw", "head_pitch", "waist_pitch", "waist_lift")
_COLUMNS = ("time_s", "stage", "target_px", *SLOTS)


@dataclass
class Trace:
    """Columns of equal length; `slots` in slot units (rad, m)."""

    time_s: list[float] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)
    target_px: list[int] = field(default_factory=list)
    slots: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SLOTS})

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

    def write(self, path: Path) -> None:
        """As CSV, a row an instant."""
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = (self.time_s, self.stage, self.target_px, *self.slots.values())
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *zip(*columns, strict=True)])


def read_trace(path: Path) -> Trace:
    """A trace that was written."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Trace(
        [float(row["time_s"]) for row in rows],
        [row["stage"] for row in rows],
        [int(row["target_px"]) for row in rows],
        {name: [float(row[name]) for row in rows] for name in SLOTS},
    )
