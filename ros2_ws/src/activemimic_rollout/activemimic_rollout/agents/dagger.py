"""Who moves the robot in a demonstration: the expert, with action noise now and then, and a policy in its turns.

In: a robot and the turns. Out: chunks for its controller, and which rows of the dataset shall not be imitated.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from activemimic_description.chunk import Chunk
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.tasks import TaskStatus

from activemimic_rollout.agents.agents import Agent
from activemimic_rollout.agents.intervention_schedule import InterventionSchedule
from activemimic_rollout.lockstep import LockstepRobot

STEP_NS = round(STEP_S * 1e9)


class DaggerAgent:
    """One scene from its start on, moved as the turns say."""

    def __init__(
        self,
        robot: LockstepRobot,
        seed: int,
        action_noise: ActionNoise,
        turns: InterventionSchedule | None = None,
        policy: Agent | None = None,
        cell: int | None = None,
    ) -> None:
        """Args: turns: the policy's; None: the expert moves alone. cell: of the task; None: the seed draws it."""
        robot.reset(seed, cell)
        if policy is not None:
            policy.reset(seed)
        self._robot, self._action_noise, self._turns, self._policy = robot, action_noise, turns, policy
        self._expert = make_expert(robot.simulation, seed)
        self._steps = round(robot.rate_hz * STEP_S)
        self._turn_began: int | None = None
        self._policy_ns: list[list[int]] = []

    @property
    def masked_ns(self) -> list[list[int]]:
        """Ranges [from, to] of the stamps of rows that shall not be imitated."""
        return sorted(self._action_noise.masked_ns + self._policy_ns)

    def advance(self, time_s: float) -> TaskStatus:
        """Go on until `time_s` after the scene's start, or until its trial is over; without action noise."""
        status = self._robot.simulation.status()
        while self._robot.index < ceil(time_s / STEP_S) * self._steps and not (status.success or status.failure):
            self.move(action_noise=False)
            status = self._robot.tick().status
        return status

    def move(self, action_noise: bool = True) -> None:
        """Hand the controller what is due in this control period."""
        robot = self._robot
        if robot.index % self._steps == 0:
            self._step(action_noise)
        if self._turn_began is None or self._policy is None:
            return
        # The controller lets nobody in before the expert's last step is over, which is at the turn's first instant.
        if (robot.index - self._turn_began) % self._policy.period_ticks == 1:
            robot.play(self._policy.chunk(), self._policy.source)

    def _step(self, action_noise: bool) -> None:
        robot, expert = self._robot, self._expert
        if self._turns is not None and self._turns.of_policy(robot.simulation.time_s):
            if self._turn_began is None:
                self._turn_began = robot.index
                # The row before already acts with the turn's first command.
                self._policy_ns.append([robot.stamp_ns - STEP_NS, robot.stamp_ns])
            self._policy_ns[-1][1] = robot.stamp_ns + STEP_NS - 1
            expert.act()  # it watches
            return
        if self._turn_began is not None:
            self._turn_began = None
            expert.take_over()
        target = expert.act()
        if action_noise:
            target = self._action_noise.apply(expert, target, robot.stamp_ns)
        robot.play(Chunk(robot.stamp_ns, STEP_NS, target[None]), "teleop")


class ActionNoise:
    """Now and then displaces an arm for one step, and remembers which rows of the dataset show it."""

    def __init__(self, rate_hz: float, largest_rad: float, rng: np.random.Generator) -> None:
        """Args: largest_rad: standard deviation of the joints in the largest action noise; others down to a tenth."""
        self._probability = rate_hz * STEP_S
        self._largest_rad = largest_rad
        self._rng = rng
        self.masked_ns: list[list[int]] = []

    def apply(self, expert: Expert, target: np.ndarray, stamp_ns: int) -> np.ndarray:
        """(S,) the expert's target for the coming step, or a slip away from it."""
        if self._rng.random() >= self._probability:
            return target
        # The row before this step already sees the first command towards the slip.
        self.masked_ns.append([stamp_ns - STEP_NS, stamp_ns + STEP_NS - 1])
        robot = expert.simulation.robot
        prefixes = tuple(f"{side}_arm" for side in expert.arms)
        arms = np.array([slot.name.startswith(prefixes) for slot in robot.slots])
        spread_rad = self._largest_rad * self._rng.uniform(0.1, 1.0)
        slip = self._rng.normal(0.0, spread_rad, len(robot.slots)) * arms
        return np.clip(target + slip, robot.lower, robot.upper)
