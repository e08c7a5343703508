"""A checkpoint in lock-step whose chunks come late, as on the robot, or at once, as ever."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from activemimic_description.contract import load_contract
from activemimic_description.robot import load_robot
from activemimic_policy.inference import InFlight
from activemimic_rollout.agents.agents import CheckpointPolicy, Serving, make_agent
from activemimic_rollout.agents.latency import Latencies
from activemimic_rollout.lockstep import LockstepRobot
from activemimic_rollout.synchronous.trials_in_simulation import LockstepPlan
from activemimic_rollout.trials.trial_plan import seed_series
from activemimic_sim.tasks import make_task
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation

CONTRACT = load_contract("g1_sim")
MS = 1_000_000


class FakePolicy:
    """Stays where the robot is; remembers what it was given."""

    def __init__(self) -> None:
        self.spec = SimpleNamespace(
            slots=CONTRACT.slots,
            absolute_slots=("left_gripper", "right_gripper"),
            fps=10,
            step_ns=100 * MS,
            horizon=16,
            execution_horizon=8,
            max_delay_steps=4,
            draw_noise=lambda random: random.standard_normal((16, len(CONTRACT.slots))),
        )
        self.in_flight: list[InFlight | None] = []
        self.told: list[str] = []

    def infer(self, images, state, instruction, noise=None, in_flight=None, guided=False):
        self.in_flight.append(in_flight)
        self.told.append(instruction)
        return np.tile(state, (16, 1))


@pytest.fixture(scope="module")
def cameras_of() -> Iterator[tuple[LockstepRobot, CameraRenderer]]:
    robot = LockstepRobot(Simulation(load_robot("g1"), make_task("reaching")), rate_hz=30)
    with robot.cameras({name: (camera.height, camera.width) for name, camera in CONTRACT.cameras.items()}) as cameras:
        yield robot, cameras


def handed_over(
    monkeypatch: pytest.MonkeyPatch,
    cameras_of: tuple[LockstepRobot, CameraRenderer],
    latencies: Latencies | None,
    rtc_mode: str,
) -> tuple[list[tuple[int, float]], list[InFlight | None]]:
    """(control period, age of its observation in ms) of every chunk in two seconds, and what was gone on from."""
    policy, (robot, cameras) = FakePolicy(), cameras_of
    monkeypatch.setattr("activemimic_policy.checked_policy.load_checked_policy", lambda *_, **__: policy)
    agent = CheckpointPolicy(robot, cameras, CONTRACT, "fake", Serving(latencies, rtc_mode))
    robot.reset(0)
    agent.reset(0)
    chunks = []
    for index in range(60):
        if (chunk := agent.chunk_due()) is not None:
            chunks.append((index, round((robot.stamp_ns - chunk.stamp_ns) / MS)))
            assert robot.play(chunk, "policy").accepted
        robot.tick()
    return chunks, policy.in_flight


def test_by_default_a_chunk_is_there_at_once(monkeypatch, cameras_of) -> None:
    chunks, in_flight = handed_over(monkeypatch, cameras_of, None, "replace")
    assert chunks == [(0, 0), (24, 0), (48, 0)]
    assert in_flight == [None] * 3


def test_cameras_that_shall_be_black_are_told_to_the_policy_and_kept_with_the_results(monkeypatch, cameras_of) -> None:
    plan = LockstepPlan(seed_series("reaching", 0, 1), "fake", ablated_cameras=("head",))
    told: list[tuple[str, ...]] = []

    def load(checkpoint: str, contract: object, ablated_cameras: tuple[str, ...]) -> FakePolicy:
        told.append(ablated_cameras)
        return FakePolicy()

    monkeypatch.setattr("activemimic_policy.checked_policy.load_checked_policy", load)
    make_agent(plan.policy, *cameras_of, CONTRACT, plan.serving())
    assert told == [("head",)]
    assert plan.protocol().ablated_cameras == ["head"]


def test_other_words_than_the_scenes_own_are_told_to_the_policy_and_kept_with_the_results(
    monkeypatch, cameras_of
) -> None:
    policy, (robot, cameras) = FakePolicy(), cameras_of
    monkeypatch.setattr("activemimic_policy.checked_policy.load_checked_policy", lambda *_, **__: policy)
    robot.reset(0)
    for words in ("", "go home"):
        plan = LockstepPlan(seed_series("reaching", 0, 1), "fake", instruction=words)
        make_agent(plan.policy, robot, cameras, CONTRACT, plan.serving()).chunk()
        assert plan.protocol().instruction == words
    assert policy.told == [robot.simulation.instruction, "go home"]


def test_with_latency_it_is_handed_over_late_and_the_next_is_asked_for_on_time(monkeypatch, cameras_of) -> None:
    chunks, in_flight = handed_over(monkeypatch, cameras_of, Latencies([150.0]), "rtc_trained")
    assert chunks == [(5, 167), (29, 167), (53, 167)]
    first, second, third = in_flight
    assert first is None
    assert second is not None
    assert third is not None
    assert third.delay == 2
    assert third.targets.shape == (8, 20)
