"""The controller node beside a fake robot: what it does with chunks that must not move anything."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import write_trajectory
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from .conftest import World, wait_until
from .fake_robot import FakeRobot

ELBOW = 7


class Scene:
    def __init__(self, world: World) -> None:
        self.world = world
        self.contract = load_contract("g1_sim")
        self.robot = FakeRobot(world.node, self.contract)
        self.chunks = world.node.create_publisher(JointTrajectory, "/activemimic/chunk", 10)
        self.controller = world.start("controller")
        wait_until(lambda: self.chunks.get_subscription_count() > 0, "the controller to subscribe chunks")

    def trajectory(self, by: float = 0.0, age_s: float = 0.0) -> JointTrajectory:
        positions = np.tile(self.robot.positions, (30, 1))
        positions[:, ELBOW] += by
        stamp_ns = self.world.now_ns() - int(age_s * 1e9)
        return write_trajectory(Chunk(stamp_ns, 33_333_333, positions), self.contract.slots, RosMessages())

    def status(self) -> tuple[str, dict[str, str]]:
        """The first diagnostics that come after this call."""
        self.robot.diagnostics.pop("controller", None)
        wait_until(lambda: "controller" in self.robot.diagnostics, "diagnostics of the controller")
        return self.robot.diagnostics["controller"]


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    return Scene(world)


@pytest.fixture
def running(scene: Scene) -> Iterator[Scene]:
    scene.robot.forget_commands()
    for word in ("arm", "run"):  # on a machine that stalls the joint state is old for a moment
        wait_until(lambda word=word: scene.world.call(Trigger, f"/controller/{word}").success, f"the word {word}")
    wait_until(lambda: len(scene.robot.commands) > 3, "commands")
    yield scene
    assert scene.world.call(Trigger, "/controller/hold").success
    wait_until(lambda: scene.world.call(Trigger, "/controller/reset").success, "the robot to rest")


def test_an_idle_controller_sends_nothing(scene: Scene) -> None:
    scene.robot.forget_commands()
    _, values = scene.status()
    assert values["mode"] == "idle"
    assert scene.robot.commands == []


def test_a_good_chunk_moves_the_robot(running: Scene) -> None:
    target = running.robot.positions[ELBOW] + 0.05
    running.chunks.publish(running.trajectory(by=0.05))
    wait_until(lambda: abs(running.robot.positions[ELBOW] - target) < 1e-6, "the elbow to arrive", 3.0)


def test_without_chunks_it_stays_and_says_so(running: Scene) -> None:
    message, values = running.status()
    assert values["mode"] == "running"
    assert "waits for a first chunk" in message


@pytest.mark.parametrize("fault", ["not_finite", "slot_names", "stale"])
def test_it_holds_its_position_and_says_why_it_refused(running: Scene, fault: str) -> None:
    trajectory = running.trajectory(by=0.2, age_s=5.0 if fault == "stale" else 0.0)
    if fault == "not_finite":
        trajectory.points[7].positions[3] = float("nan")
    if fault == "slot_names":
        trajectory.joint_names[0] = "tail"
    held = running.robot.positions.copy()
    refused_before = int(running.status()[1].get(f"rejected_{fault}", 0))
    running.robot.forget_commands()
    running.chunks.publish(trajectory)
    wait_until(lambda: int(running.status()[1].get(f"rejected_{fault}", 0)) > refused_before, "the refusal")
    assert len(running.robot.commands) > 10
    np.testing.assert_allclose(np.array(running.robot.commands), np.tile(held, (len(running.robot.commands), 1)))
    assert running.status()[1]["mode"] == "running"
    running.controller.wait_for("policy chunk rejected")


def test_with_joint_states_gone_it_holds_and_says_so(running: Scene) -> None:
    (source,) = running.contract.state
    running.robot.stopped_topics.add(source.topic)
    try:
        wait_until(lambda: "joint state is" in running.status()[0], "the old state to be noticed")
        assert running.status()[1]["mode"] == "holding"
    finally:
        running.robot.stopped_topics.clear()


def test_commands_come_at_100_hz(running: Scene) -> None:
    running.robot.forget_commands()
    started = time.monotonic()
    wait_until(lambda: len(running.robot.commands) >= 200, "200 commands")
    assert 200 / (time.monotonic() - started) == pytest.approx(100, abs=5)
