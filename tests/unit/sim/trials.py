"""The experts' own trials, each run once for all tests that look at it."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from activemimic_description.robot import load_robot
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import TaskStatus, make_task
from activemimic_sim.world.simulation import Simulation


class Trial(NamedTuple):
    """The last verdict, when it fell (simulated s), and the stages on the way to it."""

    verdict: TaskStatus
    time_s: float
    stages: tuple[str, ...]


@cache
def simulation_of(task: str) -> Simulation:
    """One scene for all; every test resets it."""
    return Simulation(load_robot("g1"), make_task(task))


@cache
def expert_trial(task: str, seed: int, cell: int | None = None) -> Trial:
    simulation = simulation_of(task)
    simulation.reset(seed, cell)
    expert = make_expert(simulation, seed)
    verdicts = [simulation.status()]
    while not (verdicts[-1].success or verdicts[-1].failure):
        step(simulation, expert.act())
        verdicts.append(simulation.status())
    return Trial(verdicts[-1], simulation.time_s, tuple(stage for stage, _ in groupby(v.stage for v in verdicts)))


def step(simulation: Simulation, command: np.ndarray) -> None:
    """Send a command and let a step of the expert pass."""
    simulation.command(command)
    simulation.advance_to(simulation.time_s + STEP_S)
