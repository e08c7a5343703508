"""The policy node beside a fake robot: when it speaks, when it is silent, and what it refuses."""

from __future__ import annotations

import copy
import signal
import time
from pathlib import Path

import pytest
from activemimic_description.contract import load_contract
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from trajectory_msgs.msg import JointTrajectory

from .checkpoints import untrained_checkpoint
from .conftest import World, wait_until
from .fake_robot import FakeRobot

CONTRACT = load_contract("g1_sim")


class Scene:
    def __init__(self, world: World, checkpoint: Path) -> None:
        self.world = world
        self.checkpoint = checkpoint
        self.robot = FakeRobot(world.node, CONTRACT)
        self.chunks: list[JointTrajectory] = []
        self.inferences: list[DiagnosticStatus] = []
        world.node.create_subscription(JointTrajectory, "/activemimic/chunk", self.chunks.append, 10)
        self.heartbeats: list[DiagnosticStatus] = []
        world.node.create_subscription(DiagnosticStatus, "/activemimic/inference", self.inferences.append, 10)
        world.node.create_subscription(DiagnosticStatus, "/activemimic/heartbeat", self.heartbeats.append, 10)
        roots = str(checkpoint.parents[1])  # below which pytest puts all folders of this run
        self.policy = world.start("policy", checkpoint=str(checkpoint), checkpoint_roots=roots)

    def wait_for_chunks(self, count: int = 3) -> None:
        wanted = len(self.chunks) + count
        wait_until(lambda: len(self.chunks) >= wanted, f"{count} more chunks\n{self.policy.text}")


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(world, untrained_checkpoint(tmp_path_factory.mktemp("policy") / "checkpoint", CONTRACT))


def test_a_chunk_carries_the_stamp_of_its_observation_and_its_inference_is_reported(scene: Scene) -> None:
    scene.wait_for_chunks()
    chunk = scene.chunks[-1]
    assert tuple(chunk.joint_names) == CONTRACT.slots
    assert len(chunk.points) == 16
    assert chunk.points[0].time_from_start.nanosec == 100_000_000
    stamp_ns = chunk.header.stamp.sec * 10**9 + chunk.header.stamp.nanosec
    assert 0 < scene.world.now_ns() - stamp_ns < 2e9
    wait_until(lambda: len(scene.inferences) >= len(scene.chunks) - 1, "the reports of the inferences")
    values = {entry.key: entry.value for entry in scene.inferences[-1].values}
    assert float(values["inference_ms"]) > 0
    assert float(values["observation_age_ms"]) < 500
    assert int(values["stamp"]) in {
        chunk.header.stamp.sec * 10**9 + chunk.header.stamp.nanosec for chunk in scene.chunks[-3:]
    }


def wait_for_heartbeat(scene: Scene, level: bytes, words: str) -> DiagnosticStatus:
    """The next heartbeat of that level with those words."""
    begin = len(scene.heartbeats)

    def found() -> list[DiagnosticStatus]:
        return [beat for beat in scene.heartbeats[begin:] if beat.level == level and words in beat.message]

    wait_until(lambda: bool(found()), f"a heartbeat of level {level!r} with {words!r}")
    return found()[0]


def test_its_heart_beats_whether_it_is_active_or_not_and_says_what_it_cannot_see(scene: Scene) -> None:
    scene.wait_for_chunks(1)
    beat = wait_for_heartbeat(scene, DiagnosticStatus.OK, "it can infer")
    values = {entry.key: entry.value for entry in beat.values}
    assert (beat.name, values["state"]) == ("policy", "active")
    assert abs(scene.world.now_ns() - int(values["stamp"])) < 5e9
    assert float(values["chunk_period_s"]) == 0.2
    assert float(values["inferring_s"]) >= 0.0
    topic = CONTRACT.cameras["head"].topic
    for topics, words in (
        (scene.robot.stopped_topics, f"camera head ({topic}): no newer message for"),
        (scene.robot.resized_topics, f"camera head ({topic}): expected 224x224 pixels, found 112x112"),
    ):
        topics.add(topic)
        wait_for_heartbeat(scene, DiagnosticStatus.ERROR, words)
        topics.clear()
        wait_for_heartbeat(scene, DiagnosticStatus.OK, "it can infer")
    assert change_state(scene, "deactivate") == (True, "inactive")
    wait_for_heartbeat(scene, DiagnosticStatus.WARN, "inactive")
    assert change_state(scene, "activate") == (True, "active")
    wait_for_heartbeat(scene, DiagnosticStatus.OK, "it can infer")


def test_while_a_camera_is_silent_no_chunk_is_published_and_the_camera_is_named(scene: Scene) -> None:
    scene.wait_for_chunks(1)
    topic = CONTRACT.cameras["left_wrist"].topic
    scene.robot.stopped_topics.add(topic)
    try:
        wait_until(lambda: topic in scene.robot.report("policy")[0], "diagnostics that name the camera")
        scene.policy.wait_for(f"nothing is published: camera left_wrist ({topic})")
        time.sleep(0.5)  # what was under way has arrived
        silent_since = len(scene.chunks)
        wait_until(lambda: int(scene.robot.report("policy")[1]["refusals"]) > 20, "refusals")
        assert len(scene.chunks) == silent_since
    finally:
        scene.robot.stopped_topics.clear()
    scene.wait_for_chunks(2)
    scene.policy.wait_for("chunks are published")


def test_the_instruction_can_be_changed_while_it_runs(scene: Scene) -> None:
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="pick up the cube")
    answer = scene.world.call(
        SetParameters, "/policy/set_parameters", parameters=[Parameter(name="instruction", value=text)]
    )
    assert answer.results[0].successful
    wait_until(lambda: scene.robot.report("policy")[1].get("instruction") == "pick up the cube", "the new instruction")
    scene.wait_for_chunks()


def test_another_checkpoint_takes_over_while_it_runs_and_a_bad_one_does_not(scene: Scene, tmp_path: Path) -> None:
    other = untrained_checkpoint(tmp_path / "other", CONTRACT)
    broken = untrained_checkpoint(tmp_path / "broken", CONTRACT)
    (broken / "model.safetensors").write_bytes(b"half")

    assert "expected a checkpoint's folder" in set_checkpoint(scene, tmp_path / "nowhere").reason
    assert "/etc: expected it below" in set_checkpoint(scene, Path("/etc")).reason
    assert set_checkpoint(scene, broken).successful
    scene.policy.wait_for("not a whole safetensors file")
    assert str(broken) in scene.robot.report("policy")[1].get("load_error", "") or "goes on" in scene.policy.text
    scene.wait_for_chunks()
    assert set_checkpoint(scene, other).successful
    scene.policy.wait_for(f"{other} infers from now on")
    scene.wait_for_chunks()
    wait_until(lambda: scene.robot.report("policy")[1].get("checkpoint") == str(other), "diagnostics to name it")


def set_checkpoint(scene: Scene, folder: Path):
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(folder))
    answer = scene.world.call(
        SetParameters, "/policy/set_parameters", parameters=[Parameter(name="checkpoint", value=value)]
    )
    return answer.results[0]


def change_state(scene: Scene, transition: str) -> tuple[bool, str]:
    """Whether it was done, and the state after it."""
    answer = scene.world.call(ChangeState, "/policy/change_state", transition=Transition(label=transition))
    state = scene.world.call(GetState, "/policy/get_state")
    return answer.success, state.current_state.label


def test_it_goes_through_the_managed_life_cycle(scene: Scene, tmp_path: Path) -> None:
    scene.wait_for_chunks()
    assert change_state(scene, "deactivate") == (True, "inactive")
    time.sleep(0.3)  # what was under way
    silent_since = len(scene.chunks)
    time.sleep(1.0)
    assert len(scene.chunks) == silent_since
    assert change_state(scene, "activate") == (True, "active")
    scene.wait_for_chunks()


def test_a_transition_that_the_state_does_not_have_is_refused_and_it_lives_on(scene: Scene) -> None:
    assert change_state(scene, "activate") == (False, "active")
    scene.policy.wait_for("activate: not while it is active; possible: deactivate, shutdown")
    assert change_state(scene, "fly") == (False, "active")
    scene.wait_for_chunks()


def test_a_bad_checkpoint_leaves_it_unconfigured_until_a_good_one_is_named(scene: Scene, tmp_path: Path) -> None:
    assert change_state(scene, "deactivate") == (True, "inactive")
    assert change_state(scene, "cleanup") == (True, "unconfigured")
    assert "/etc: expected it below" in set_checkpoint(scene, Path("/etc")).reason
    assert set_checkpoint(scene, tmp_path / "nowhere").successful
    assert change_state(scene, "configure") == (False, "unconfigured")
    scene.policy.wait_for(f"configure failed: checkpoint {tmp_path / 'nowhere'}")
    assert set_checkpoint(scene, untrained_checkpoint(tmp_path / "good", CONTRACT)).successful
    assert change_state(scene, "configure") == (True, "inactive")
    assert change_state(scene, "activate") == (True, "active")
    scene.wait_for_chunks()


def test_it_ends_with_0_in_the_middle_of_its_work(scene: Scene) -> None:
    scene.wait_for_chunks(1)
    assert scene.policy.end(signal.SIGTERM) == 0
    assert "Traceback" not in scene.policy.text


def test_a_camera_that_the_policy_is_not_shown_may_fall_silent(scene: Scene) -> None:
    checkpoint = scene.checkpoint
    topic = CONTRACT.cameras["left_wrist"].topic
    scene.robot.stopped_topics.add(topic)
    try:
        scene.policy = scene.world.start("policy", checkpoint=str(checkpoint), ablated_cameras="left_wrist")
        scene.wait_for_chunks()
        wait_for_heartbeat(scene, DiagnosticStatus.OK, "it can infer")
    finally:
        scene.robot.stopped_topics.clear()
        scene.policy.end()


def test_a_checkpoint_of_another_robot_is_refused_naming_every_difference(world: World, tmp_path: Path) -> None:
    other = copy.deepcopy(CONTRACT.interface())
    other["cameras"]["head"]["width"] = 640
    other["slots"][3]["name"] = "waist_height"
    checkpoint = untrained_checkpoint(tmp_path / "checkpoint", CONTRACT, other)
    policy = world.launch("policy", checkpoint=str(checkpoint))
    assert policy.ended() == 2
    assert "camera head: width 640 in the checkpoint, 224 in the contract" in policy.text
    assert "waist_height" in policy.text
    assert "Traceback" not in policy.text


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"checkpoint": ""}, "parameter checkpoint: give the folder"),
        ({"checkpoint": "nowhere", "contract": "g7"}, "no contract 'g7'"),
        ({"checkpoint": "nowhere", "threads": 0}, "threads"),
    ],
)
def test_a_wrong_parameter_ends_it_with_one_line(world: World, parameters: dict[str, object], words: str) -> None:
    policy = world.launch("policy", **parameters)
    assert policy.ended() == 2
    assert words in policy.text
    assert "Traceback" not in policy.text
