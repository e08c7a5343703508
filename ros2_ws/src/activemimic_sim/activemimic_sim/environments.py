"""The tasks as gymnasium environments: `activemimic/Restocking-v0`, `activemimic/Reaching-v0` and so on.

In: robot commands at the control rate. Out: the robot's own observation, and the task's verdict in `info`. Importing
this module registers them; `gymnasium.make("activemimic_sim.environments:activemimic/Reaching-v0")` does both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from activemimic_description.robot import load_robot
from gymnasium import spaces

from activemimic_sim.tasks import TASKS, TaskStatus, make_task
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation

CONTROL_HZ = 30
IMAGE_PX = 224


class TaskEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One task. A step lasts 1/30 s.

    Action: (S,) float32, where the robot shall go, in slot units (rad, m, gripper 0 open .. 1 closed). It goes to the
    servos as it is: limits of speed are the controller's on the robot, and the caller's here.

    Observation: `pixels`, an (H, W, 3) uint8 RGB image by camera, and `agent_pos` (S,) float32, the measured slots.

    Info, after reset and every step: `is_success`, `points`, `stage`, `failure`, `instruction`.

    Reset: `seed` fixes the layout; without one it is drawn. `options={"cell": k}` chooses the cell of a trial plan.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}  # noqa: RUF012 - as gymnasium declares it

    def __init__(
        self,
        task: str,
        perturbations: Sequence[str] = (),
        cameras: Sequence[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """
        Args:
            cameras: those in `pixels`; all if None.

        Raises:
            SceneError: there is no such task or perturbation.
            ValueError: there is no such camera.
        """
        self.render_mode = render_mode
        self.simulation = Simulation(load_robot("g1"), make_task(task), perturbations)
        robot = self.simulation.robot
        chosen = tuple(robot.cameras) if cameras is None else tuple(cameras)
        unknown = [name for name in chosen if name not in robot.cameras]
        if unknown:
            raise ValueError(f"there is no camera {', '.join(unknown)}: expected {', '.join(robot.cameras)}")
        self.task = task
        self.task_description = self.simulation.task.instructions[0]
        self._max_episode_steps = round(self.simulation.task.time_limit_s * CONTROL_HZ)
        self._sizes = dict.fromkeys(chosen, (IMAGE_PX, IMAGE_PX))
        # An OpenGL context belongs to the process that uses it: made at the first image, not here.
        self._renderer: CameraRenderer | None = None
        self._steps = 0
        image = spaces.Box(0, 255, (IMAGE_PX, IMAGE_PX, 3), np.uint8)
        limits = spaces.Box(robot.lower.astype(np.float32), robot.upper.astype(np.float32), dtype=np.float32)
        self.action_space = limits
        # Contacts push joints a little beyond what may be commanded.
        anywhere = spaces.Box(-np.inf, np.inf, (len(robot.slots),), np.float32)
        self.observation_space = spaces.Dict(
            {"pixels": spaces.Dict(dict.fromkeys(chosen, image)), "agent_pos": anywhere}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        layout_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self.simulation.reset(layout_seed, (options or {}).get("cell"))
        self._steps = 0
        return self._observation(), self._info(self.simulation.status())

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Reward is 1 on success and 0 before; a failed task is terminated, a time that is up truncated."""
        robot = self.simulation.robot
        self.simulation.command(np.clip(action, robot.lower, robot.upper))
        self._steps += 1
        self.simulation.advance_to(self._steps / CONTROL_HZ)
        status = self.simulation.status()
        late = self._steps >= self._max_episode_steps
        over = status.success or (bool(status.failure) and not late)
        return self._observation(), float(status.success), over, late and not over, self._info(status)

    def render(self) -> np.ndarray | None:
        """The cameras side by side, (H, C*W, 3) uint8 RGB, with render_mode "rgb_array"."""
        if self.render_mode is None:
            return None
        return np.hstack(list(self._pixels().values()))

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _pixels(self) -> dict[str, np.ndarray]:
        if self._renderer is None:
            self._renderer = self.simulation.cameras(self._sizes)
        return self._renderer.render(self.simulation.data)

    def _observation(self) -> dict[str, Any]:
        return {"pixels": self._pixels(), "agent_pos": self.simulation.measured().astype(np.float32)}

    def _info(self, status: TaskStatus) -> dict[str, Any]:
        return {
            "is_success": status.success,
            "points": status.points,
            "stage": status.stage,
            "failure": status.failure,
            "instruction": self.simulation.instruction,
        }


for _task in TASKS:
    gymnasium.register(f"activemimic/{_task.capitalize()}-v0", f"{__name__}:TaskEnv", kwargs={"task": _task})
