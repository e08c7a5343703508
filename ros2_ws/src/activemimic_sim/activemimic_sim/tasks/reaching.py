"""Reaching: rise, lean over a 24 cm obstacle and pick up the 5 cm cube that it hides (paper, Sec. 4.1, Table 2)."""

from __future__ import annotations

import mujoco
import numpy as np
from activemimic_description.robot import Robot

from activemimic_sim.tasks.contacts import holds, tilt_rad
from activemimic_sim.tasks.task import Layout, Task, in_grid, jittered, standing

TABLE_HEIGHT_M = 0.80
CUBE_SIDE_M = 0.05
OBSTACLE_SIZE_M = (0.05, 0.40, 0.24)
OBSTACLE_XY_M = (0.485, -0.20)
REGION_CENTER_XY_M = (0.68, -0.20)  # of the 20 x 20 cm in which the cube starts, in the robot's base frame
REGION_SIDE_M = 0.20
CUBE_YAW_RAD = 0.3
LIFTED_M = 0.10
TOPPLED_RAD = np.deg2rad(30.0)

# Crouched behind the obstacle, the right hand before the chest, the left one hanging at the side.
_START = {
    "head_yaw": -0.20,
    "head_pitch": 0.25,
    "waist_pitch": 0.02,
    "waist_lift": 0.008,
    **{f"left_arm_{n}": q for n, q in enumerate((-0.58, -0.27, 1.31, -1.43, 0.91, 1.31, -0.20), start=1)},
    **{f"right_arm_{n}": q for n, q in enumerate((1.09, 0.62, -0.44, 1.38, -0.30, -1.60, 0.20), start=1)},
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}
_JITTER = {
    "head": 0.08,
    "waist_pitch": 0.02,
    "waist_lift": 0.008,
    "left_arm": 0.03,
    "right_arm": 0.06,
    "left_gripper": 0.0,
    "right_gripper": 0.0,
}


class Reaching(Task):
    name = "reaching"
    instructions = (
        "lean over the obstacle and pick up the red cube",
        "reach behind the blue block and lift the red cube",
        "pick up the cube that the obstacle hides",
    )
    stages = ("start", "reached", "grasped", "lifted")
    point_stages = ("lifted",)
    cells = 9  # 3 x 3 of the region
    target = "cube"
    graspable = ("cube",)
    furniture = ("table",)
    distractor_spots = ((0.62, 0.30, TABLE_HEIGHT_M), (0.80, 0.12, TABLE_HEIGHT_M), (0.85, 0.42, TABLE_HEIGHT_M))
    time_limit_s = 22.0

    def bodies(self) -> str:
        half = CUBE_SIDE_M / 2
        x, y, z = (side / 2 for side in OBSTACLE_SIZE_M)
        return f"""
    <body name="table" pos="0.80 0 {TABLE_HEIGHT_M}">
      <geom name="table" type="box" size="0.40 0.70 0.02" pos="0 0 -0.02" rgba="0.72 0.60 0.45 1"/>
      <geom type="box" size="0.03 0.03 0.355" pos="0.36 0.66 -0.395" rgba="0.35 0.30 0.25 1"/>
      <geom type="box" size="0.03 0.03 0.355" pos="0.36 -0.66 -0.395" rgba="0.35 0.30 0.25 1"/>
      <geom type="box" size="0.03 0.03 0.355" pos="-0.36 0.66 -0.395" rgba="0.35 0.30 0.25 1"/>
      <geom type="box" size="0.03 0.03 0.355" pos="-0.36 -0.66 -0.395" rgba="0.35 0.30 0.25 1"/>
    </body>
    <body name="obstacle" pos="{OBSTACLE_XY_M[0]} {OBSTACLE_XY_M[1]} {TABLE_HEIGHT_M + z}">
      <freejoint name="obstacle"/>
      <geom name="obstacle" type="box" size="{x} {y} {z}" mass="1.5" friction="0.8 0.005 0.0001"
            rgba="0.25 0.42 0.62 1"/>
    </body>
    <body name="cube" pos="{REGION_CENTER_XY_M[0]} {REGION_CENTER_XY_M[1]} {TABLE_HEIGHT_M + half}">
      <freejoint name="cube"/>
      <geom name="cube" type="box" size="{half} {half} {half}" mass="0.10" condim="4" friction="0.8 0.005 0.0001"
            solref="0.006 1" rgba="0.85 0.12 0.10 1"/>
    </body>"""

    def place(self, rng: np.random.Generator, cell: int, robot: Robot) -> Layout:
        xy = np.array(REGION_CENTER_XY_M) + in_grid(rng, cell, 3, 3) * REGION_SIDE_M
        yaw_rad = rng.uniform(-CUBE_YAW_RAD, CUBE_YAW_RAD)
        cube = standing(np.array([*xy, TABLE_HEIGHT_M + CUBE_SIDE_M / 2]), yaw_rad)
        obstacle = standing(np.array([*OBSTACLE_XY_M, TABLE_HEIGHT_M + OBSTACLE_SIZE_M[2] / 2]))
        return Layout(jittered(rng, robot, _START, _JITTER), {"cube": cube, "obstacle": obstacle})

    def stages_met(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[bool, ...]:
        cube = data.body("cube").xpos
        hand = data.body("gripper_r_center_link").xpos
        height = cube[2] - CUBE_SIDE_M / 2 - TABLE_HEIGHT_M - self.shift_m[2]
        held = holds(model, data, "gripper_r", "cube")
        return bool(np.linalg.norm(cube - hand) < 0.04), held, held and height > LIFTED_M

    def ruined(self, model: mujoco.MjModel, data: mujoco.MjData) -> str:
        return "the obstacle was toppled" if tilt_rad(data, "obstacle") > TOPPLED_RAD else ""
