"""Who may arm and run a controller that asks for the operator's key, and what others can do to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from activemimic_bringup.launching.parameters import CONTROLLER
from activemimic_bringup.nodes.operator_key import VALID_S, answer, read_key
from activemimic_bringup.nodes.ros_client import RosClient
from activemimic_description.contract import load_contract
from activemimic_rollout.trials.trial_series import TrialError
from rcl_interfaces.msg import Log, ParameterEvent
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from .conftest import World, wait_until
from .fake_robot import FakeRobot


class Scene:
    """A robot, its controller with the user's own key, and everything that is said in public."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.robot = FakeRobot(world.node, load_contract("g1_sim"))
        self.heard: list[str] = []
        for kind, topic in ((ParameterEvent, "/parameter_events"), (Log, "/rosout")):
            world.node.create_subscription(kind, topic, lambda message: self.heard.append(str(message)), 100)
        self.controller = world.start("controller", operator_key_file="", deadman_s=0.0)
        self.key = read_key("")
        self.client = RosClient(world.node, 10.0)
        wait_until(lambda: self.mode() == "idle", "the controller's diagnostics")

    def mode(self) -> str:
        return self.robot.report("controller")[1].get("mode", "")

    def call(self, word: str) -> Any:
        return self.world.call(Trigger, f"/controller/{word}")

    def challenge(self) -> str:
        answered = self.call("challenge")
        assert answered.success
        return answered.message

    def set(self, name: str, value: Any) -> Any:
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        return self.world.call(SetParameters, "/controller/set_parameters", parameters=parameters).results[0]

    def reset(self) -> None:
        assert self.call("hold") is not None
        wait_until(lambda: self.call("reset").success, "the robot to rest")


@pytest.fixture(scope="module")
def module_scene(world: World) -> Scene:
    return Scene(world)


@pytest.fixture
def scene(module_scene: Scene) -> Scene:
    module_scene.reset()
    return module_scene


def test_without_the_key_nobody_arms_or_runs_but_everybody_lessens_motion(scene: Scene) -> None:
    for word in ("arm", "run"):
        refused = scene.call(word)
        assert (refused.success, refused.message) == (False, f"the operator key is asked for: activemimic robot {word}")
    assert "idle" in scene.call("reset").message
    scene.client.operate("arm")
    scene.client.operate("run")
    for word in ("hold", "stop", "reset"):
        wait_until(lambda word=word: scene.call(word).success, f"the word {word}")


def test_a_refusal_of_the_controller_comes_back_in_words(scene: Scene) -> None:
    with pytest.raises(TrialError, match="/controller/run: "):
        scene.client.operate("run")


def test_a_wrong_key_does_not_arm(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "key"
    other.write_text("0" * 64)
    other.chmod(0o600)
    with pytest.raises(TrialError, match="/controller/arm: wrong operator key"):
        RosClient(scene.world.node, 10.0, str(other)).operate("arm")
    assert scene.set("operator", "arm").reason.startswith("not an answer")
    assert scene.call("reset").message == "idle"


def test_what_was_heard_on_the_way_is_of_no_use(scene: Scene) -> None:
    said = answer(scene.key, "arm", scene.challenge())
    assert scene.set("operator", said).successful
    scene.reset()
    assert "is used up" in scene.set("operator", said).reason
    stored = scene.world.call(GetParameters, "/controller/get_parameters", names=["operator"]).values[0].string_value
    assert "is used up" in scene.set("operator", stored).reason
    for_run = answer(scene.key, "run", scene.challenge())
    assert scene.set("operator", for_run.replace("run", "arm", 1)).reason == "wrong operator key"
    late = answer(scene.key, "arm", scene.challenge())
    time.sleep(VALID_S + 0.2)
    assert "older than 10 s" in scene.set("operator", late).reason


def test_a_word_among_other_parameters_is_not_done(scene: Scene) -> None:
    said = Parameter("operator", value=answer(scene.key, "arm", scene.challenge())).to_parameter_msg()
    for name, value in (("use_sim_time", True), ("rate_hz", 30.0)):
        parameters = [said, Parameter(name, value=value).to_parameter_msg()]
        answered = scene.world.call(
            SetParametersAtomically, "/controller/set_parameters_atomically", parameters=parameters
        )
        assert not answered.result.successful
    assert scene.set("rate_hz", 30.0).reason == "Trying to set a read-only parameter: rate_hz."
    assert scene.call("run").success is False
    assert scene.call("reset").message == "idle"


def test_the_command_line_says_what_came_of_it_in_one_line(scene: Scene, tmp_path: Path) -> None:
    def robot(*words: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "activemimic_bringup.cli.main", "robot", *words],
            env={**os.environ, "ROS_DOMAIN_ID": str(scene.world.domain), **environment},
            capture_output=True,
            text=True,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    assert robot("arm") == (0, "armed: it commands the measured posture")
    code, said = robot("arm")
    assert (code, "\n" in said, said.startswith("error: /controller/arm: ")) == (1, False, True)
    assert robot("hold")[0] == 0
    code, said = robot("run", "--key-file", str(tmp_path / "none"))
    assert (code, "No such file or directory" in said) == (1, True)
    code, said = robot("hold", ROS_DOMAIN_ID="101")
    assert (code, "no controller found within 5 s" in said, "ROS_DOMAIN_ID=101" in said) == (1, True, True)


def test_the_key_is_never_said(scene: Scene) -> None:
    scene.client.operate("arm")
    names = [parameter.name for parameter in CONTROLLER]
    values = scene.world.call(GetParameters, "/controller/get_parameters", names=names).values
    wait_until(lambda: any("operator" in text for text in scene.heard), "the parameter's event")
    key = scene.key.decode()
    for text in (str(values), *scene.heard, scene.controller.text, str(scene.robot.diagnostics)):
        assert key not in text


def test_the_clock_cannot_be_switched_and_what_is_old_is_found_old(scene: Scene) -> None:
    refused = scene.set("use_sim_time", True)
    assert (refused.successful, refused.reason) == (False, "Trying to set a read-only parameter: use_sim_time.")
    clock = scene.world.node.create_publisher(Clock, "/clock", 10)
    clock.publish(Clock())
    scene.client.operate("arm")
    (source,) = scene.robot.contract.state
    scene.robot.stopped_topics.add(source.topic)
    try:
        wait_until(lambda: scene.mode() == "holding", "the silence to be noticed", 10.0)
    finally:
        scene.robot.stopped_topics.clear()
        scene.world.node.destroy_publisher(clock)


def test_a_key_that_others_may_read_ends_the_controller_with_one_line(world: World, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("0" * 64)
    path.chmod(0o644)
    controller = world.launch("controller", operator_key_file=str(path))
    assert controller.ended() == 2
    assert f"error: operator key {path}: expected mode 0600, found 0644" in controller.text
    assert "Traceback" not in controller.text


def test_a_key_that_is_off_is_warned_of(world: World) -> None:
    controller = world.start("controller")
    controller.wait_for("the operator key is off: anyone in this ROS domain may arm and run the robot")
    controller.end()
