"""Finding: turn the head to find a yogurt left or right of the view, grasp and lift it (paper, Sec. 4.1, Table 2)."""

from __future__ import annotations

import mujoco
import numpy as np
from activemimic_description.robot import Robot

from activemimic_sim.tasks.contacts import holds, tilt_rad, view_angles_rad
from activemimic_sim.tasks.task import Layout, Task, in_grid, jittered, standing

TABLE_HEIGHT_M = 0.80
YOGURT_HEIGHT_M, YOGURT_RADIUS_M = 0.16, 0.025
# The two regions in which the yogurt starts, in the robot's base frame: the centre of the left one, and both's size.
REGION_CENTER_XY_M = (0.55, 0.60)
REGION_SIZE_M = (0.15, 0.25)
LIFTED_M = 0.10
UPRIGHT_RAD, LYING_RAD = np.deg2rad(30.0), np.deg2rad(60.0)
_REACHED_M = 0.03
# With a yogurt on each side (perturbation `named_side`), the words say which is the target; the other is this body.
OTHER_YOGURT = "other_yogurt"
SIDE_INSTRUCTIONS = {side: f"find the yogurt on the {side}, grasp it and lift it" for side in ("left", "right")}

# Both hands before the body, above the table, turned inwards so far that neither wrist camera sees a region; the head
# looks straight ahead.
_LEFT_ARM_RAD = (0.03, 0.82, 0.25, -1.225, 0.08, 0.80, -2.29)
_START = {
    "head_yaw": 0.0,
    "head_pitch": 0.34,
    "waist_pitch": 0.12,
    "waist_lift": 0.36,
    **{f"left_arm_{n}": q for n, q in enumerate(_LEFT_ARM_RAD, start=1)},
    **{f"right_arm_{n}": -q for n, q in enumerate(_LEFT_ARM_RAD, start=1)},
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}
_JITTER = {
    "head": 0.05,
    "waist_pitch": 0.02,
    "waist_lift": 0.015,
    "left_arm": 0.03,
    "right_arm": 0.03,
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}


class Finding(Task):
    name = "finding"
    instructions = (
        "find the yogurt, grasp it and lift it",
        "look to both sides for the yogurt bottle and pick it up",
        "search the table for the yogurt and raise it",
    )
    stages = ("start", "seen", "reached", "grasped", "lifted")
    point_stages = ("lifted",)
    cells = 18  # left and right, 3 x 3 of each region
    target = "yogurt"
    graspable = ("yogurt",)
    furniture = ("table",)
    distractor_spots = (
        (0.82, 0.60, TABLE_HEIGHT_M),
        (0.82, -0.60, TABLE_HEIGHT_M),
        (0.80, 0.05, TABLE_HEIGHT_M),
        (0.68, -0.08, TABLE_HEIGHT_M),
    )
    time_limit_s = 25.0

    def __init__(self) -> None:
        super().__init__()
        self._gripper = "gripper_l"

    def bodies(self) -> str:
        return f"""
    <body name="table" pos="0.66 0 {TABLE_HEIGHT_M}">
      <geom name="table" type="box" size="0.30 0.92 0.02" pos="0 0 -0.02" rgba="0.62 0.48 0.34 1"/>
      <geom type="box" size="0.25 0.03 0.38" pos="0 0.86 -0.42" rgba="0.35 0.30 0.25 1" contype="0" conaffinity="0"/>
      <geom type="box" size="0.25 0.03 0.38" pos="0 -0.86 -0.42" rgba="0.35 0.30 0.25 1" contype="0" conaffinity="0"/>
    </body>
    {yogurt("yogurt", REGION_CENTER_XY_M)}"""

    def place(self, rng: np.random.Generator, cell: int, robot: Robot) -> Layout:
        side, part = divmod(cell, 9)
        outwards = (1.0, -1.0)[side]
        xy = np.array(REGION_CENTER_XY_M) + in_grid(rng, part, 3, 3) * REGION_SIZE_M
        yogurt = standing(np.array([xy[0], outwards * xy[1], TABLE_HEIGHT_M + YOGURT_HEIGHT_M / 2]))
        return Layout(jittered(rng, robot, _START, _JITTER), {"yogurt": yogurt})

    def begin(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        super().begin(model, data)
        self._gripper = "gripper_l" if data.body("yogurt").xpos[1] > 0.0 else "gripper_r"

    def stages_met(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, ...]:
        yogurt = data.body("yogurt")
        half_view_rad = np.deg2rad(model.camera("head").fovy[0]) / 2
        seen = bool(np.max(np.abs(view_angles_rad(data, "head", yogurt.xpos))) < half_view_rad)
        hand = data.body(f"{self._gripper}_center_link").xpos
        x, y, z = yogurt.xmat.reshape(3, 3).T @ (hand - yogurt.xpos)
        reached = bool(np.hypot(x, y) < _REACHED_M and abs(z) < YOGURT_HEIGHT_M / 2)
        held = holds(model, data, self._gripper, "yogurt")
        lifted = held and self._height_m(data) > LIFTED_M and tilt_rad(data, "yogurt") < UPRIGHT_RAD
        return seen, reached, held, lifted

    def ruined(self, model: mujoco.MjModel, data: mujoco.MjData) -> str:
        if self._height_m(data) < -YOGURT_HEIGHT_M:
            return "the yogurt fell off the table"
        if self._lifted_other(model, data):
            return "the other yogurt was lifted"
        held = any(holds(model, data, gripper, "yogurt") for gripper in ("gripper_l", "gripper_r"))
        return "the yogurt fell over" if tilt_rad(data, "yogurt") > LYING_RAD and not held else ""

    def _lifted_other(self, model: mujoco.MjModel, data: mujoco.MjData) -> bool:
        there = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, OTHER_YOGURT) >= 0
        return there and self._height_m(data, OTHER_YOGURT) > LIFTED_M

    def _height_m(self, data: mujoco.MjData, body: str = "yogurt") -> float:
        """How far an upright yogurt's bottom is above the table."""
        return float(data.body(body).xpos[2] - YOGURT_HEIGHT_M / 2 - TABLE_HEIGHT_M - self.shift_m[2])


def yogurt(name: str, xy: tuple[float, float]) -> str:
    """The MJCF body of a yogurt; its joint bears the body's name, its geoms begin with it."""
    half = YOGURT_HEIGHT_M / 2
    visual = 'contype="0" conaffinity="0" mass="0"'
    return f"""
    <body name="{name}" pos="{xy[0]} {xy[1]} {TABLE_HEIGHT_M + half}">
      <freejoint name="{name}"/>
      <geom name="{name}_body" type="cylinder" size="{YOGURT_RADIUS_M} {half}" mass="0.20" condim="4"
            friction="0.8 0.005 0.0001" solref="0.006 1" rgba="0.95 0.95 0.93 1"/>
      <geom name="{name}_label" type="cylinder" size="{YOGURT_RADIUS_M + 0.0005} 0.025" pos="0 0 -0.01"
            rgba="0.15 0.35 0.75 1" {visual}/>
      <geom name="{name}_lid" type="cylinder" size="{YOGURT_RADIUS_M + 0.0005} 0.006" pos="0 0 {half - 0.0055}"
            rgba="0.80 0.15 0.30 1" {visual}/>
    </body>"""
