"""A task at a glance: what the cameras see when the expert reaches each stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from activemimic_description.chunk import Chunk
from activemimic_description.contract import load_contract
from activemimic_description.robot import load_robot
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import make_task
from activemimic_sim.world.simulation import Simulation

from activemimic_rollout.lockstep import LockstepRobot
from activemimic_rollout.reports.figures import draw_views


def draw_sheet(task: str, seed: int, path: Path, perturbations: tuple[str, ...] = (), contract: str = "g1_sim") -> bool:
    """Let the expert do the task once and draw a column of views a stage; returns whether it succeeded.

    Raises SceneError for a task or perturbation that there is not.
    """
    spoken = load_contract(contract)
    simulation = Simulation(load_robot(spoken.robot), make_task(task), perturbations)
    robot = LockstepRobot(simulation, round(spoken.rate_hz))
    sizes = {name: (camera.height, camera.width) for name, camera in spoken.cameras.items()}
    columns: list[tuple[str, dict[str, np.ndarray]]] = []
    with robot.cameras(sizes) as cameras:

        def show(stage: str) -> None:
            images = {name: image.copy() for name, image in cameras.render(simulation.data).items()}
            columns.append((f"{stage}, {simulation.time_s:.1f} s", images))

        robot.reset(seed)
        expert = make_expert(simulation, seed)
        every = round(robot.rate_hz * STEP_S)
        reached: set[str] = set()
        while True:
            if robot.index % every == 0:
                robot.play(Chunk(robot.stamp_ns, round(STEP_S * 1e9), expert.act()[None]), "teleop")
            status = robot.tick().status
            if status.stage not in reached:
                reached.add(status.stage)
                show(status.stage)
            if status.success or status.failure:
                show("success" if status.success else "failure")
                break
    draw_views(columns, path)
    return status.success
