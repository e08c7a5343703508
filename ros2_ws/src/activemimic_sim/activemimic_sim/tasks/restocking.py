"""Restocking: crouch, pick a bottle from a low table, find the one empty slot of three tiers and put it there.

Paper, Sec. 4.1 and Table 2.
"""

from __future__ import annotations

import mujoco
import numpy as np
from activemimic_description.robot import Robot

from activemimic_sim.tasks.contacts import holds, tilt_rad, touching
from activemimic_sim.tasks.task import Layout, Task, in_grid, jittered, standing

TABLE_HEIGHT_M = 0.50
REGION_CENTER_XY_M = (0.62, -0.42)  # of the 12 x 12 cm in which the bottle starts, in the robot's base frame
REGION_SIDE_M = 0.12

BOTTLE_HEIGHT_M, BOTTLE_RADIUS_M = 0.17, 0.0275
BOTTLE_KG = 0.40
_CAP_HEIGHT_M, _CAP_RADIUS_M, _CAP_KG = 0.03, 0.016, 0.01

TIER_HEIGHTS_M = (0.70, 1.00, 1.30)
SHELF_FRONT_X_M = 0.84
SHELF_CENTER_Y_M = -0.40
SHELF_DEPTH_M, SHELF_WIDTH_M = 0.35, 0.925
_BOARD_M = 0.02
_SHELF_TOP_M = 1.52
COLUMNS = 3
SLOTS = len(TIER_HEIGHTS_M) * COLUMNS
SLOT_SPACING_M = 0.25
SLOT_DEPTH_M = 0.07  # a slot's centre behind the shelf's front edge
SLOT_HALF_X_M, SLOT_HALF_Y_M = 0.06, 0.08  # how far from the slot's centre a bottle still stands in it
_NEIGHBOUR_SPREAD_M = 0.008

LIFTED_M = 0.05
FOUND_RAD = 0.30  # a slot this near the head camera's optical axis is looked at
_ABOVE_TIER_M = 0.12
_REST_M_S = 0.02
UPRIGHT_RAD = np.deg2rad(15.0)
TOPPLED_RAD = np.deg2rad(45.0)
_FALLEN_M = 0.05

# Nearly upright and looking past the shelf: the head sees neither the bottle nor a slot. The right hand waits above
# the table, the left one hangs at the side.
_START = {
    "head_yaw": 0.52,
    "head_pitch": -0.05,
    "waist_pitch": 0.20,
    "waist_lift": 0.30,
    **{f"left_arm_{n}": q for n, q in enumerate((-0.58, -0.27, 1.31, -1.43, 0.91, 1.31, -0.20), start=1)},
    **{f"right_arm_{n}": q for n, q in enumerate((-0.02, -1.07, -0.98, 1.15, -1.36, 1.31, -2.20), start=1)},
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}
_JITTER = {
    "head": 0.08,
    "waist_pitch": 0.03,
    "waist_lift": 0.02,
    "left_arm": 0.03,
    "right_arm": 0.06,
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}


class Restocking(Task):
    """Slots are counted tier by tier from below, within a tier from left to right.

    Attributes:
        empty_slot: the one without a bottle in this trial.
    """

    name = "restocking"
    instructions = (
        "put the blue bottle into the empty slot of the shelf",
        "take the blue bottle from the low table and fill the gap on the shelf with it",
        "restock the shelf: the blue bottle goes where one is missing",
    )
    stages = ("start", "reached", "lifted", "found", "over_slot", "placed")
    point_stages = ("lifted", "placed")
    cells = SLOTS * 9  # every slot with 3 x 3 of the region
    target = "bottle"
    graspable = ("bottle",)
    furniture = ("table", "shelf")
    distractor_spots = ((0.66, -0.08, TABLE_HEIGHT_M), (0.66, -0.76, TABLE_HEIGHT_M), (1.08, -0.28, TIER_HEIGHTS_M[0]))
    time_limit_s = 28.0

    def __init__(self) -> None:
        super().__init__()
        self.empty_slot = 0

    def bodies(self) -> str:
        neighbours = "".join(_bottle(_neighbour(slot), "0.15 0.55 0.25 1") for slot in range(SLOTS - 1))
        return f"""
    <body name="table" pos="{REGION_CENTER_XY_M[0]} {REGION_CENTER_XY_M[1]} {TABLE_HEIGHT_M}">
      <geom name="table" type="box" size="0.125 0.40 0.015" pos="0 0 -0.015" rgba="0.62 0.48 0.34 1"/>
      <geom type="box" size="0.03 0.30 0.2425" pos="0.06 0 -0.2575" rgba="0.35 0.30 0.25 1"
            contype="0" conaffinity="0"/>
    </body>
    <body name="shelf" pos="{SHELF_FRONT_X_M + SHELF_DEPTH_M / 2} {SHELF_CENTER_Y_M} 0">{_shelf()}
    </body>{_bottle("bottle", "0.10 0.25 0.80 1")}{neighbours}"""

    def place(self, rng: np.random.Generator, cell: int, robot: Robot) -> Layout:
        self.empty_slot, part = divmod(cell, 9)
        xy = np.array(REGION_CENTER_XY_M) + in_grid(rng, part, 3, 3) * REGION_SIDE_M
        objects = {"bottle": standing(np.array([*xy, TABLE_HEIGHT_M + BOTTLE_HEIGHT_M / 2]))}
        taken = [slot for slot in range(SLOTS) if slot != self.empty_slot]
        for number, slot in enumerate(taken):
            spread = np.array([*rng.uniform(-_NEIGHBOUR_SPREAD_M, _NEIGHBOUR_SPREAD_M, 2), BOTTLE_HEIGHT_M / 2])
            objects[_neighbour(number)] = standing(slot_position(slot) + spread)
        return Layout(jittered(rng, robot, _START, _JITTER), objects)

    def empty_position(self) -> np.ndarray:
        """The middle (3,) of the empty slot's floor in the world."""
        return slot_position(self.empty_slot) + self.shift_m

    def stages_met(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, ...]:
        bottle = data.body("bottle").xpos
        held = holds(model, data, "gripper_r", "bottle")
        reached = bool(np.linalg.norm(bottle - data.body("gripper_r_center_link").xpos) < 0.05)
        foot = bottle[2] - BOTTLE_HEIGHT_M / 2
        lifted = held and foot > TABLE_HEIGHT_M + self.shift_m[2] + LIFTED_M
        slot = self.empty_position()
        found = lifted and sees(data, slot + np.array([0.0, 0.0, BOTTLE_HEIGHT_M / 2]))
        aside = np.abs(bottle - slot)
        in_slot = bool(aside[0] < SLOT_HALF_X_M and aside[1] < SLOT_HALF_Y_M)
        over_slot = held and in_slot and -0.01 < foot - slot[2] < _ABOVE_TIER_M
        stands = tilt_rad(data, "bottle") < UPRIGHT_RAD and touching(model, data, "bottle") == {model.body("shelf").id}
        rests = bool(np.abs(data.body("bottle").cvel).max() < _REST_M_S)
        placed = in_slot and stands and rests and abs(foot - slot[2]) < 0.01
        return reached, lifted, found, over_slot, placed

    def ruined(self, model: mujoco.MjModel, data: mujoco.MjData) -> str:
        if data.body("bottle").xpos[2] < TABLE_HEIGHT_M + self.shift_m[2]:
            return "the bottle fell"
        if tilt_rad(data, "bottle") > TOPPLED_RAD and not holds(model, data, "gripper_r", "bottle"):
            return "the bottle was toppled"
        others = [_neighbour(number) for number in range(SLOTS - 1)]
        lowest = TIER_HEIGHTS_M[0] + BOTTLE_HEIGHT_M / 2 - _FALLEN_M + self.shift_m[2]
        if any(tilt_rad(data, other) > TOPPLED_RAD or data.body(other).xpos[2] < lowest for other in others):
            return "another bottle was toppled"
        return ""


def slot_position(slot: int) -> np.ndarray:
    """The middle (3,) of a slot's floor, without shift."""
    tier, column = divmod(slot, COLUMNS)
    y = SHELF_CENTER_Y_M + SLOT_SPACING_M * (COLUMNS // 2 - column)
    return np.array([SHELF_FRONT_X_M + SLOT_DEPTH_M, y, TIER_HEIGHTS_M[tier]])


def sees(data: mujoco.MjData, point: np.ndarray) -> bool:
    """Whether a point (3,) lies well within the head camera's image."""
    camera = data.camera("head")
    ray = point - camera.xpos
    return bool(-camera.xmat.reshape(3, 3)[:, 2] @ ray > np.cos(FOUND_RAD) * np.linalg.norm(ray))


def _neighbour(number: int) -> str:
    return f"neighbour_{number}"


def _bottle(name: str, rgba: str) -> str:
    half = BOTTLE_HEIGHT_M / 2
    body, cap = half - _CAP_HEIGHT_M / 2, _CAP_HEIGHT_M / 2
    contact = 'condim="4" friction="0.8 0.005 0.0001" solref="0.006 1"'
    return f"""
    <body name="{name}" pos="0 0 {half}">
      <freejoint name="{name}"/>
      <geom name="{name}" type="cylinder" size="{BOTTLE_RADIUS_M} {body}" pos="0 0 {-cap}"
            mass="{BOTTLE_KG - _CAP_KG}" {contact} rgba="{rgba}"/>
      <geom type="cylinder" size="{_CAP_RADIUS_M} {cap}" pos="0 0 {half - cap}" mass="{_CAP_KG}" {contact}
            rgba="0.92 0.92 0.90 1"/>
    </body>"""


def _shelf() -> str:
    x, y = SHELF_DEPTH_M / 2, SHELF_WIDTH_M / 2
    half = _BOARD_M / 2
    boards = "".join(
        f"""
      <geom type="box" size="{x} {y} {half}" pos="0 0 {height - half}" rgba="0.86 0.83 0.77 1"/>"""
        for height in TIER_HEIGHTS_M
    )
    sides = "".join(
        f"""
      <geom type="box" size="{x} {half} {_SHELF_TOP_M / 2}" pos="0 {side * (y + half)} {_SHELF_TOP_M / 2}"
            rgba="0.78 0.74 0.68 1"/>"""
        for side in (-1, 1)
    )
    panel = f"""
      <geom type="box" size="{half} {y + _BOARD_M} {_SHELF_TOP_M / 2}" pos="{x + half} 0 {_SHELF_TOP_M / 2}"
            rgba="0.90 0.88 0.84 1"/>"""
    return boards + sides + panel
