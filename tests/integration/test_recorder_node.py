"""The recorder node beside a fake robot: whole episodes, nothing lost, and clear refusals."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from activemimic_description.codec import encode_command
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, ros_class
from activemimic_training.bags import EpisodeReader, load_episode_info
from std_srvs.srv import SetBool, Trigger

from .conftest import World, wait_until
from .fake_robot import FakeRobot

CONTRACT = load_contract("g1_sim")


class Scene:
    def __init__(self, world: World, out: Path) -> None:
        self.world = world
        self.out = out
        self.robot = FakeRobot(world.node, CONTRACT)
        (self.sink,) = CONTRACT.commands
        self.commands = world.node.create_publisher(ros_class(self.sink.type), self.sink.topic, 10)
        world.node.create_timer(1 / 30, self._command)
        self.recorder = self.start_recorder(out)

    def start_recorder(self, out: Path):
        recorder = self.world.start("recorder", out=str(out), task="reaching", instruction="pick", seed=7)
        topics = [camera.topic for camera in CONTRACT.cameras.values()]
        wait_until(
            lambda: all(self.world.node.count_subscribers(topic) for topic in topics), "the recorder to subscribe"
        )
        time.sleep(0.3)  # the first frames
        return recorder

    def start(self) -> Path:
        answer = self.world.call(Trigger, "/recorder/start")
        assert answer.success, answer.message
        return Path(answer.message)

    def _command(self) -> None:
        slots = np.full(len(CONTRACT.slots), 0.1)
        for _, message in encode_command(CONTRACT, slots, self.world.now_ns(), RosMessages()):
            self.commands.publish(message)


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(world, tmp_path_factory.mktemp("episodes"))


def test_an_episode_holds_every_message_of_every_topic(scene: Scene) -> None:
    folder = scene.start()
    time.sleep(3.0)
    answer = scene.world.call(SetBool, "/recorder/stop", data=True)
    assert answer.success, answer.message
    info = load_episode_info(folder)
    assert (info.outcome, info.task, info.instruction, info.seed) == ("success", "reaching", "pick", 7)
    assert info.messages_lost == 0
    for topic in CONTRACT.topics():
        assert info.lost[topic] == 0, topic  # no gap in the publisher's numbers
        assert info.messages[topic] > 60, topic
    assert sum(1 for _ in EpisodeReader(folder).raw_messages()) == sum(info.messages.values())


def test_a_discarded_episode_leaves_nothing(scene: Scene) -> None:
    before = sorted(path.name for path in scene.out.iterdir())
    folder = scene.start()
    assert scene.world.call(Trigger, "/recorder/discard").success
    assert sorted(path.name for path in scene.out.iterdir()) == before
    assert not folder.exists()


def test_starting_twice_and_stopping_without_a_start_are_refused(scene: Scene) -> None:
    scene.start()
    again = scene.world.call(Trigger, "/recorder/start")
    assert (again.success, "already recording" in again.message) == (False, True)
    assert scene.world.call(Trigger, "/recorder/discard").success
    nothing = scene.world.call(SetBool, "/recorder/stop", data=True)
    assert (nothing.success, nothing.message) == (False, "not recording: call ~/start first")


def test_it_does_not_start_without_a_camera(scene: Scene) -> None:
    camera = CONTRACT.cameras["head"]
    scene.robot.stopped_topics.add(camera.topic)
    time.sleep(1.2)
    refused = scene.world.call(Trigger, "/recorder/start")
    scene.robot.stopped_topics.clear()
    assert not refused.success
    assert f"camera head ({camera.topic}): the last message arrived 1." in refused.message
    time.sleep(0.2)


def test_a_signal_in_the_middle_of_an_episode_keeps_it_with_unknown_outcome(scene: Scene, tmp_path: Path) -> None:
    scene.recorder.end()
    recorder = scene.start_recorder(tmp_path)
    folder = scene.start()
    time.sleep(0.5)
    assert recorder.end(signal.SIGTERM) == 0
    assert load_episode_info(folder).outcome == "unknown"


def test_a_killed_recorder_leaves_a_folder_that_says_so(scene: Scene, tmp_path: Path) -> None:
    recorder = scene.start_recorder(tmp_path)
    folder = scene.start()
    time.sleep(1.5)
    recorder.kill()
    assert not folder.exists()
    assert list(folder.with_name(folder.name + ".recording").glob("*.mcap"))
