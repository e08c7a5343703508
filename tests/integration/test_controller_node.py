"""The controller node beside a fake robot: what it does with chunks that must not move anything."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from activemimic_bringup.control.chunk_fields import write_trajectory
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages
from activemimic_policy.execution.chunk import Chunk
from std_srvs.srv import SetBool
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
def enabled(scene: Scene) -> Iterator[Scene]:
    scene.robot.forget_commands()
    assert scene.world.call(SetBool, "/controller/enable", data=True).success
    wait_until(lambda: len(scene.robot.commands) > 3, "commands")
    yield scene
    assert scene.world.call(SetBool, "/controller/enable", data=False).success


def test_a_disabled_controller_sends_nothing(scene: Scene) -> None:
    scene.robot.forget_commands()
    _, values = scene.status()
    assert values["mode"] == "disabled"
    assert scene.robot.commands == []


def test_a_good_chunk_moves_the_robot(enabled: Scene) -> None:
    target = enabled.robot.positions[ELBOW] + 0.05
    enabled.chunks.publish(enabled.trajectory(by=0.05))
    wait_until(lambda: abs(enabled.robot.positions[ELBOW] - target) < 1e-6, "the elbow to arrive", 3.0)


def test_without_chunks_it_holds_and_says_so(enabled: Scene) -> None:
    message, values = enabled.status()
    assert values["mode"] == "holding"
    assert "no chunk accepted" in message


@pytest.mark.parametrize("fault", ["not_finite", "slot_names", "stale"])
def test_it_holds_its_position_and_says_why_it_refused(enabled: Scene, fault: str) -> None:
    trajectory = enabled.trajectory(by=0.2, age_s=5.0 if fault == "stale" else 0.0)
    if fault == "not_finite":
        trajectory.points[7].positions[3] = float("nan")
    if fault == "slot_names":
        trajectory.joint_names[0] = "tail"
    held = enabled.robot.positions.copy()
    refused_before = int(enabled.status()[1].get(f"rejected_{fault}", 0))
    enabled.robot.forget_commands()
    enabled.chunks.publish(trajectory)
    wait_until(lambda: int(enabled.status()[1].get(f"rejected_{fault}", 0)) > refused_before, "the refusal")
    assert len(enabled.robot.commands) > 10
    np.testing.assert_allclose(np.array(enabled.robot.commands), np.tile(held, (len(enabled.robot.commands), 1)))
    assert enabled.status()[1]["mode"] == "holding"
    enabled.controller.wait_for("policy chunk rejected")


def test_with_joint_states_gone_it_holds_and_says_so(enabled: Scene) -> None:
    (source,) = enabled.contract.state
    enabled.robot.stopped_topics.add(source.topic)
    try:
        wait_until(lambda: "joint state is" in enabled.status()[0], "the old state to be noticed")
    finally:
        enabled.robot.stopped_topics.clear()


def test_commands_come_at_30_hz(enabled: Scene) -> None:
    enabled.robot.forget_commands()
    started = time.monotonic()
    wait_until(lambda: len(enabled.robot.commands) >= 60, "60 commands")
    assert 60 / (time.monotonic() - started) == pytest.approx(30, abs=1.5)
