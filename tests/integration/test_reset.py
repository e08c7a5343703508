"""After a scene was reset and the robot stood still for a while, two words are enough and the policy moves it again."""

from __future__ import annotations

import time
from typing import Any

import pytest
from activemimic_bringup.launching.graph import GRAPHS
from activemimic_bringup.launching.processes import RunningGraph
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from .conftest import World, wait_until

STILL_S = 1.5  # longer than a repeated frame takes to be one


@pytest.mark.parametrize("task", ["finding", "reaching"])
def test_after_hold_and_reset_of_controller_and_scene_the_policy_moves_the_robot_again(world: World, task: str) -> None:
    chunks: list[float] = []
    lines: list[str] = []
    agent = ""

    def on_chunk(message: JointTrajectory) -> None:
        chunks.append(time.monotonic())

    def on_control(message: DiagnosticStatus) -> None:
        nonlocal agent
        agent = {entry.key: entry.value for entry in message.values}.get("source", agent)

    def say(service: str) -> Any:
        return world.call(Trigger, service)

    listeners = [
        world.node.create_subscription(JointTrajectory, "/activemimic/chunk", on_chunk, 10),
        world.node.create_subscription(DiagnosticStatus, "/activemimic/control", on_control, 100),
    ]
    specs = GRAPHS["sim"].specs({"checkpoint": task, "task": task, "operator_key_file": "off"})
    environment = {"ROS_DOMAIN_ID": str(world.domain)}
    with RunningGraph(specs, lambda node, line: lines.append(f"{node}: {line}"), environment):
        wait_until(lambda: agent == "policy", "the policy to move the robot", found=lambda: f"\n{lines[-5:]}")
        time.sleep(2.0)  # away from where the scene begins
        for _ in range(2):
            say("/controller/hold")
            wait_until(lambda: say("/controller/reset").success, "the robot to rest")
            assert say("/sim/reset").success
            time.sleep(STILL_S)
            wait_until(lambda: say("/controller/arm").success, "the controller to arm")
            assert say("/controller/run").success
            chunks.clear()
            wait_until(lambda: bool(chunks), "a chunk", 10.0, lambda: f"\n{lines[-5:]}")
            wait_until(lambda: agent == "policy", "the policy to move the robot", 10.0, lambda: f"\n{lines[-5:]}")
    for listener in listeners:
        world.node.destroy_subscription(listener)
