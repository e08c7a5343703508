"""Pouring: bring two cups together, pour the small balls of one into the other, put both back (paper, Table 2)."""

from __future__ import annotations

import mujoco
import numpy as np
from activemimic_description.robot import Robot

from activemimic_sim.tasks.contacts import holds, tilt_rad, touching
from activemimic_sim.tasks.task import Layout, Task, in_grid, jittered, standing

TABLE_HEIGHT_M = 0.75
CUP_HEIGHT_M = 0.09
CUP_RADIUS_M = 0.035
BALLS = 16
ENOUGH = 13  # of the balls: 80 %
REGION_CENTERS_XY_M = {"source": (0.68, -0.25), "receiver": (0.68, 0.25)}  # in the robot's base frame
REGION_SIDE_M = 0.20
GRIPPERS = {"source": "gripper_r", "receiver": "gripper_l"}
UPRIGHT_RAD = np.deg2rad(10.0)
TOPPLED_RAD = np.deg2rad(45.0)
_WALL_M, _FLOOR_M = 0.003, 0.004
_SIDES = 12
_BALL_RADIUS_M = 0.004
_INSIDE_RADIUS_M, _INSIDE_HEIGHT_M = CUP_RADIUS_M - _WALL_M, 0.095
_RECEIVER_CELLS = (4, 0, 2, 6, 8)  # of 3 x 3: the centre and the corners
_OVER_M = 0.08

# Upright, the gaze straight ahead and above the table; the hands beside the chest.
_ARM_RAD = (0.84, -0.385, 1.445, -0.741, 0.353, 1.587, -0.818)
_START = {
    "head_yaw": 0.0,
    "head_pitch": 0.0,
    "waist_pitch": 0.10,
    "waist_lift": 0.25,
    **{f"left_arm_{number}": -angle for number, angle in enumerate(_ARM_RAD, start=1)},
    **{f"right_arm_{number}": angle for number, angle in enumerate(_ARM_RAD, start=1)},
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}
_JITTER = {
    "head": 0.08,
    "waist_pitch": 0.04,
    "waist_lift": 0.008,
    "left_arm": 0.06,
    "right_arm": 0.06,
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}


class Pouring(Task):
    name = "pouring"
    instructions = (
        "pour the balls from the orange cup into the blue cup and put both cups down",
        "empty the orange cup into the blue one, then set both upright on the table",
        "take both cups, fill the blue cup with what is in the orange cup, and put them back",
    )
    stages = ("start", "grasped", "over", "poured", "placed")
    point_stages = ("poured", "placed")
    cells = 9 * len(_RECEIVER_CELLS)  # 3 x 3 of the source's region, each with every cell of the receiver's
    target = "receiver"
    graspable = ("source", "receiver")
    furniture = ("table",)
    distractor_spots = (
        (1.04, 0.00, TABLE_HEIGHT_M),
        (1.02, 0.50, TABLE_HEIGHT_M),
        (1.02, -0.50, TABLE_HEIGHT_M),
    )
    time_limit_s = 30.0

    def bodies(self) -> str:
        legs = "".join(
            f'<geom type="box" size="0.03 0.03 0.355" pos="{x} {y} -0.395" rgba="0.30 0.28 0.26 1" contype="0" '
            'conaffinity="0"/>'
            for x in (-0.31, 0.31)
            for y in (-0.66, 0.66)
        )
        return f"""
    <body name="table" pos="0.81 0 {TABLE_HEIGHT_M}">
      <geom name="table" type="box" size="0.35 0.70 0.02" pos="0 0 -0.02" rgba="0.62 0.55 0.47 1"/>{legs}
    </body>
    {_cup("source", "0.92 0.42 0.10 1")}
    {_cup("receiver", "0.15 0.35 0.75 1")}
    {"".join(map(_ball, range(BALLS)))}"""

    def place(self, rng: np.random.Generator, cell: int, robot: Robot) -> Layout:
        source_cell, receiver_cell = divmod(cell, len(_RECEIVER_CELLS))
        objects = {}
        for cup, region_cell in (("source", source_cell), ("receiver", _RECEIVER_CELLS[receiver_cell])):
            xy = np.array(REGION_CENTERS_XY_M[cup]) + in_grid(rng, region_cell, 3, 3) * REGION_SIDE_M
            objects[cup] = standing(np.array([*xy, TABLE_HEIGHT_M]), rng.uniform(-np.pi, np.pi) / _SIDES)
        objects |= {f"ball_{n}": standing(objects["source"][:3] + _stacked(n)) for n in range(BALLS)}
        return Layout(jittered(rng, robot, _START, _JITTER), objects)

    def stages_met(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, ...]:
        held = {cup: holds(model, data, gripper, cup) for cup, gripper in GRIPPERS.items()}
        poured = balls_in(data, "receiver") >= ENOUGH
        placed = all(self._stands(model, data, cup) for cup in GRIPPERS)
        return all(held.values()), held["source"] and _over(data), poured, poured and placed

    def ruined(self, model: mujoco.MjModel, data: mujoco.MjData) -> str:
        table_m = TABLE_HEIGHT_M + self.shift_m[2]
        for cup, gripper in GRIPPERS.items():
            fallen = data.body(cup).xpos[2] < table_m - 0.05
            toppled = tilt_rad(data, cup) > TOPPLED_RAD and _middle(data, cup)[2] < table_m + 1.2 * CUP_RADIUS_M
            if fallen or (toppled and not holds(model, data, gripper, cup)):
                return f"the {cup} cup was toppled"
        low = _balls(data)[:, 2] < table_m + 3 * _BALL_RADIUS_M
        lost = low & ~_inside(data, "source") & ~_inside(data, "receiver")
        return "too many balls were lost" if np.count_nonzero(lost) > BALLS - ENOUGH else ""

    def _stands(self, model: mujoco.MjModel, data: mujoco.MjData, cup: str) -> bool:
        """Whether a cup stands upright on the table, let go of."""
        touched = touching(model, data, cup)
        fingers = {body for body in touched if model.body(body).name.startswith("gripper")}
        return model.body("table").id in touched and not fingers and tilt_rad(data, cup) < UPRIGHT_RAD


def balls_in(data: mujoco.MjData, cup: str) -> int:
    """How many balls are inside a cup."""
    return int(np.count_nonzero(_inside(data, cup)))


def _inside(data: mujoco.MjData, cup: str) -> np.ndarray:
    """Which balls (BALLS,) are inside a cup."""
    body = data.body(cup)
    x, y, z = body.xmat.reshape(3, 3).T @ (_balls(data) - body.xpos).T
    return (np.hypot(x, y) < _INSIDE_RADIUS_M) & (z > 0.0) & (z < _INSIDE_HEIGHT_M)


def _balls(data: mujoco.MjData) -> np.ndarray:
    """Where the balls are (BALLS, 3)."""
    first = data.body("ball_0").id
    return data.xpos[first : first + BALLS]


def _middle(data: mujoco.MjData, cup: str) -> np.ndarray:
    body = data.body(cup)
    return body.xpos + CUP_HEIGHT_M / 2 * body.xmat.reshape(3, 3)[:, 2]


def _over(data: mujoco.MjData) -> bool:
    """Whether the source's middle is above the receiver's opening."""
    receiver = data.body("receiver")
    opening = receiver.xpos + CUP_HEIGHT_M * receiver.xmat.reshape(3, 3)[:, 2]
    x, y, z = _middle(data, "source") - opening
    return bool(np.hypot(x, y) < _OVER_M and z > 0.0 and tilt_rad(data, "receiver") < TOPPLED_RAD)


def _cup(name: str, rgba: str) -> str:
    """A cup of flat walls and a round floor; its frame is at the bottom. It stands on four small feet.

    Feet, as a round floor would touch the table in one point and the walls in fifty.
    """
    contact = f'condim="4" friction="0.8 0.005 0.0001" solref="0.006 1" rgba="{rgba}"'
    apothem = CUP_RADIUS_M - _WALL_M / 2
    half_width = CUP_RADIUS_M * np.tan(np.pi / _SIDES)
    half_height = (CUP_HEIGHT_M - 0.001) / 2
    angles = 2 * np.pi / _SIDES * np.arange(_SIDES)
    walls = "".join(
        f'<geom type="box" size="{_WALL_M / 2} {half_width:.6f} {half_height}" mass="0.006" '
        f'pos="{apothem * np.cos(angle):.6f} {apothem * np.sin(angle):.6f} {CUP_HEIGHT_M - half_height}" '
        f'euler="0 0 {angle:.6f}" {contact}/>'
        for angle in angles
    )
    feet = "".join(
        f'<geom type="sphere" size="0.003" mass="0.002" pos="{x} {y} 0.003" {contact}/>'
        for x in (-0.021, 0.021)
        for y in (-0.021, 0.021)
    )
    return f"""
    <body name="{name}" pos="{REGION_CENTERS_XY_M[name][0]} {REGION_CENTERS_XY_M[name][1]} {TABLE_HEIGHT_M}">
      <freejoint name="{name}"/>{walls}{feet}
      <geom type="cylinder" size="{CUP_RADIUS_M - 0.001} {_FLOOR_M / 2 - 0.0005}" pos="0 0 {_FLOOR_M / 2 + 0.0005}"
            mass="0.02" {contact}/>
    </body>"""


def _ball(number: int) -> str:
    """A slippery ball: its friction goes before the cup's, in which it would stick otherwise."""
    x, y, z = np.array([*REGION_CENTERS_XY_M["source"], TABLE_HEIGHT_M]) + _stacked(number)
    return f"""
    <body name="ball_{number}" pos="{x:.6f} {y:.6f} {z:.6f}">
      <freejoint name="ball_{number}"/>
      <geom type="sphere" size="{_BALL_RADIUS_M}" mass="0.0005" condim="1" priority="1"
            solref="0.006 1" rgba="0.95 0.95 0.90 1"/>
    </body>"""


def _stacked(number: int) -> np.ndarray:
    """Where a ball (3,) starts in the source's frame: two rings of eight, the upper one narrower."""
    layer, position = divmod(number, 8)
    angle = 2 * np.pi / 8 * (position + layer / 2)
    radius = 0.022 - 0.008 * layer
    return np.array([radius * np.cos(angle), radius * np.sin(angle), _FLOOR_M + _BALL_RADIUS_M * (1.1 + 2.1 * layer)])
