"""The simulated robot: commands in, physics, measured slots and images out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np
from activemimic_description.mjcf import robot_mjcf
from activemimic_description.robot import Robot

from activemimic_sim.tasks.task import Layout, Task, TaskStatus
from activemimic_sim.world.perturbations import make_perturbations
from activemimic_sim.world.rendering import CameraRenderer

# Plain boxes for a room: on a software renderer a textured floor and a sky cost as much as everything else together.
_SCENE = """
<mujoco model="{task}">
  <include file="robot.xml"/>
  <option timestep="0.002" integrator="implicitfast" cone="elliptic" impratio="10" iterations="30"/>
  <statistic center="0.5 0 0.9" extent="1.5"/>
  <visual>
    <quality shadowsize="0" offsamples="0" numslices="12" numstacks="6" numquads="2"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.25 0.25 0.25" specular="0 0 0"/>
  </visual>
  <asset>{assets}</asset>
  <worldbody>
    <light name="key" pos="0.2 -0.8 2.6" dir="0.15 0.35 -1" diffuse="0.5 0.5 0.5" specular="0.1 0.1 0.1"
           castshadow="false"/>
    <geom name="floor" type="box" size="2.5 2.5 0.05" pos="0 0 -0.05" rgba="0.50 0.48 0.46 1"/>
    <geom type="box" size="0.05 2.5 1.5" pos="2.5 0 1.5" rgba="0.80 0.82 0.84 1" contype="0" conaffinity="0"/>
    <geom type="box" size="0.05 2.5 1.5" pos="-2.5 0 1.5" rgba="0.80 0.82 0.84 1" contype="0" conaffinity="0"/>
    <geom type="box" size="2.5 0.05 1.5" pos="0 2.5 1.5" rgba="0.76 0.79 0.82 1" contype="0" conaffinity="0"/>
    <geom type="box" size="2.5 0.05 1.5" pos="0 -2.5 1.5" rgba="0.76 0.79 0.82 1" contype="0" conaffinity="0"/>
    {bodies}
  </worldbody>
</mujoco>
"""


class Simulation:
    """A robot in a task's scene, advanced step by step. Deterministic: a seed and commands fix everything.

    Physics runs at 500 Hz. `model` and `data` are MuJoCo's own, for experts and tests.
    """

    def __init__(self, robot: Robot, task: Task, perturbations: Sequence[str] = ()) -> None:
        """Raises SceneError for a perturbation that there is not or that the task has no use for."""
        self.robot = robot
        self.task = task
        self.perturbations = make_perturbations(perturbations, task)
        bodies = [task.bodies(), *(perturbation.bodies(task) for perturbation in self.perturbations)]
        assets = [perturbation.assets() for perturbation in self.perturbations]
        scene = _SCENE.format(task=task.name, bodies="".join(bodies), assets="".join(assets))
        self.model = mujoco.MjModel.from_xml_string(scene, {"robot.xml": robot_mjcf(robot).encode()})
        self.data = mujoco.MjData(self.model)
        joints = [self.model.joint(slot.joint) for slot in robot.slots]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        self._actuators = np.array([self.model.actuator(slot.name).id for slot in robot.slots])
        self._offset = np.array([slot.joint_at_0 for slot in robot.slots])
        self._scale = np.array([slot.joint_at_1 - slot.joint_at_0 for slot in robot.slots])
        self._physics_steps = 0
        self.seed = -1
        self.instruction = task.instructions[0]
        self._looks = _looks(self.model)

    @property
    def time_s(self) -> float:
        """Simulated seconds since the last reset."""
        return self._physics_steps * self.model.opt.timestep

    def reset(self, seed: int, cell: int | None = None, start: np.ndarray | None = None) -> None:
        """Place robot and objects as the task samples them for a seed and cell; the robot stands still.

        With `start` (S,), in slot units, it stands in that posture instead of the task's own.

        Raises SceneError for a cell that the task does not have.
        """
        layout = self.task.sample(seed, self.robot, cell)
        mujoco.mj_resetData(self.model, self.data)
        self.seed = seed
        objects = self._vary(seed, layout)
        posture = layout.start if start is None else start
        for name, position in self.robot.joint_positions(posture).items():
            self.data.qpos[self.model.joint(name).qposadr[0]] = position
        for name, pose in objects.items():
            address = self.model.joint(name).qposadr[0]
            self.data.qpos[address : address + 7] = pose
            self.data.qpos[address : address + 3] += self.task.shift_m
        self.command(posture)
        mujoco.mj_forward(self.model, self.data)
        self._physics_steps = 0
        self.task.begin(self.model, self.data)

    def command(self, slots: np.ndarray) -> None:
        """Set the servos' targets (S,) in slot units; they hold until the next command."""
        self.data.ctrl[self._actuators] = self._offset + self._scale * slots

    def command_slots(self, indices: np.ndarray, values: np.ndarray) -> None:
        """Set some servos' targets: `values` (K,) in slot units for the slots `indices` (K,)."""
        self.data.ctrl[self._actuators[indices]] = self._offset[indices] + self._scale[indices] * values

    def step(self, physics_steps: int) -> None:
        """Advance physics; one step lasts `model.opt.timestep` seconds."""
        mujoco.mj_step(self.model, self.data, physics_steps)
        self._physics_steps += physics_steps
        # Positions that belong to this instant, for images, status and experts alike.
        mujoco.mj_forward(self.model, self.data)

    def advance_to(self, time_s: float) -> None:
        """Advance physics to a time since reset (to within half a physics step)."""
        missing = round(time_s / self.model.opt.timestep) - self._physics_steps
        if missing > 0:
            self.step(missing)

    def measured(self) -> np.ndarray:
        """(S,) measured slots: the joints' true positions, in slot units."""
        return (self.data.qpos[self._qpos] - self._offset) / self._scale

    def status(self) -> TaskStatus:
        """The task's verdict at this instant; call it at a steady rate, since success must last a while."""
        return self.task.status(self.model, self.data, self.time_s)

    def cameras(self, sizes: Mapping[str, tuple[int, int]]) -> CameraRenderer:
        """A renderer of the robot's cameras; `sizes` gives (height, width) by camera name."""
        return CameraRenderer(self.model, sizes, self.perturbations)

    def _vary(self, seed: int, layout: Layout) -> dict[str, np.ndarray]:
        """Let the perturbations change a trial's scene, from the scene as it was made; returns all free objects."""
        for array, made in self._looks:
            array[:] = made
        draws = [np.random.default_rng([*perturbation.name.encode(), seed]) for perturbation in self.perturbations]
        drawn = list(zip(self.perturbations, draws, strict=True))
        self.task.shift_m[:] = sum((perturbation.shift_m(rng) for perturbation, rng in drawn), np.zeros(3))
        for body in self.task.furniture:
            self.model.body(body).pos[:] += self.task.shift_m
        self.instruction = self.task.instructions[0]
        for perturbation, rng in drawn:
            perturbation.prepare(self.model, self.task, rng)
            self.instruction = perturbation.instruction(self.task, layout, rng) or self.instruction
        more = [perturbation.objects(layout) for perturbation in self.perturbations]
        return {name: pose for objects in (layout.objects, *more) for name, pose in objects.items()}


def _looks(model: mujoco.MjModel) -> list[tuple[np.ndarray, np.ndarray]]:
    """The model's arrays that perturbations may change, each with what it holds now."""
    arrays = [
        model.body_pos,
        model.body_quat,
        model.geom_rgba,
        model.geom_matid,
        model.light_pos,
        model.light_dir,
        model.light_diffuse,
        model.vis.headlight.ambient,
        model.vis.headlight.diffuse,
    ]
    return [(array, array.copy()) for array in arrays]
