"""Reaching: rise, lean over a 24 cm obstacle and pick up the 5 cm cube that it hides (paper, Sec. 4.1, Table 2)."""

from __future__ import annotations

import mujoco
import numpy as np
from activemimic_description.robot import Robot

from activemimic_sim.tasks.task import Layout, Task, TaskStatus

TABLE_HEIGHT_M = 0.80
CUBE_SIDE_M = 0.05
OBSTACLE_SIZE_M = (0.05, 0.40, 0.24)
OBSTACLE_XY_M = (0.485, -0.20)
REGION_CENTER_XY_M = (0.68, -0.20)  # of the 20 x 20 cm in which the cube starts, in the robot's base frame
REGION_SIDE_M = 0.20
CUBE_YAW_RAD = 0.3
LIFTED_M = 0.10
LIFTED_FOR_S = 0.5

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
    instruction = "lean over the obstacle and pick up the red cube"
    stages = ("start", "reached", "grasped", "lifted")
    time_limit_s = 22.0

    def __init__(self) -> None:
        self._stage = 0
        self._lifted_since_s: float | None = None

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

    def sample(self, seed: int, robot: Robot) -> Layout:
        rng = np.random.default_rng([2, seed])
        xy = np.array(REGION_CENTER_XY_M) + rng.uniform(-0.5, 0.5, 2) * REGION_SIDE_M
        yaw = rng.uniform(-CUBE_YAW_RAD, CUBE_YAW_RAD)
        cube = np.array([*xy, TABLE_HEIGHT_M + CUBE_SIDE_M / 2, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        obstacle = np.array([*OBSTACLE_XY_M, TABLE_HEIGHT_M + OBSTACLE_SIZE_M[2] / 2, 1.0, 0.0, 0.0, 0.0])
        start = np.array([_START[slot.name] for slot in robot.slots])
        spread = [next(most for part, most in _JITTER.items() if slot.name.startswith(part)) for slot in robot.slots]
        start += rng.uniform(-1.0, 1.0, len(start)) * spread
        return Layout(np.clip(start, robot.lower, robot.upper), {"cube": cube, "obstacle": obstacle})

    def begin(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._stage = 0
        self._lifted_since_s = None

    def status(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> TaskStatus:
        cube = data.body("cube").xpos
        hand = data.body("gripper_r_center_link").xpos
        height = cube[2] - CUBE_SIDE_M / 2 - TABLE_HEIGHT_M
        held = holds(model, data, "gripper_r", "cube")
        reached = [True, bool(np.linalg.norm(cube - hand) < 0.04), held, held and height > LIFTED_M]
        self._stage = max(self._stage, max(index for index, done in enumerate(reached) if done))
        if not reached[3]:
            self._lifted_since_s = None
        elif self._lifted_since_s is None:
            self._lifted_since_s = time_s
        lasting = self._lifted_since_s is not None and time_s - self._lifted_since_s >= LIFTED_FOR_S
        failure = ""
        if data.body("obstacle").xmat[8] < np.cos(np.deg2rad(30)):
            failure = "the obstacle was toppled"
        elif time_s > self.time_limit_s:
            failure = f"not done within {self.time_limit_s:g} s"
        return TaskStatus(lasting and not failure, self.stages[self._stage], failure)


def holds(model: mujoco.MjModel, data: mujoco.MjData, gripper: str, body: str) -> bool:
    """Whether both fingers of a gripper touch a body."""
    target = model.body(body).id
    fingers = {model.body(f"{gripper}_outer_link").id, model.body(f"{gripper}_inner_link").id}
    touching = set()
    for contact in data.contact:
        bodies = {int(model.geom_bodyid[geom]) for geom in contact.geom}
        if target in bodies:
            touching |= bodies & fingers
    return touching == fingers
