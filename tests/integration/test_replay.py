"""`activemimic bag play`: recorded bytes in recorded timing, and never a command that nobody asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from activemimic_bringup.nodes.bag_replay import shifted
from activemimic_bringup.nodes.node import qos_profile
from activemimic_data.bags import EpisodeReader
from activemimic_description.codec import stamp_ns
from activemimic_description.contract import load_contract
from activemimic_description.messages import BagMessages, header, ros_class
from rclpy.serialization import deserialize_message
from synthetic import write_episode

from .conftest import World, wait_until

CONTRACT = load_contract("g1_sim")
(STATE,), (COMMAND,) = CONTRACT.state, CONTRACT.commands
HEAD = CONTRACT.cameras["head"]


class Listener:
    """Serialised messages by topic, with the time of their arrival."""

    def __init__(self, world: World) -> None:
        self.heard: dict[str, list[tuple[float, bytes]]] = {}
        for topic, entry in CONTRACT.topics().items():
            self.heard[topic] = []
            self._listen(world, topic, entry)

    def _listen(self, world: World, topic: str, entry: Any) -> None:
        def on_message(data: bytes) -> None:
            self.heard[topic].append((time.monotonic(), data))

        kind = ros_class(entry.type)
        world.node.create_subscription(kind, topic, on_message, qos_profile(entry.qos), raw=True)

    def bytes(self, topic: str) -> list[bytes]:
        return [data for _, data in self.heard[topic]]


def play(world: World, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "activemimic_bringup.cli.main", "bag", "play", *map(str, words)],
        env={**os.environ, "ROS_DOMAIN_ID": str(world.domain)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episode(tmp_path_factory.mktemp("recorded") / "one", frames=30)


def test_what_a_policy_subscribes_to_is_played_as_it_was_recorded(world: World, episode: Path) -> None:
    listener = Listener(world)
    result = play(world, episode)
    assert result.returncode == 0, result.stderr
    for topic in (HEAD.topic, STATE.topic):
        wait_until(lambda topic=topic: len(listener.heard[topic]) == 30, f"all messages of {topic}")
        recorded = [message.data for message in EpisodeReader(episode).raw_messages([topic])]
        # On the wire a message is filled up to a multiple of four bytes.
        assert [data[: len(sent)] for data, sent in zip(listener.bytes(topic), recorded, strict=True)] == recorded
        times_s = [time_s for time_s, _ in listener.heard[topic]]
        assert times_s[-1] - times_s[0] == pytest.approx(29 / 30, abs=0.15)
    assert listener.heard[COMMAND.topic] == []


def test_named_topics_stamps_shifted_to_now_twice_as_fast(world: World, episode: Path) -> None:
    listener = Listener(world)
    before_ns = world.now_ns()
    result = play(world, episode, "--topics", COMMAND.topic, "--now", "--rate", 2)
    after_ns = world.now_ns()
    assert result.returncode == 0, result.stderr
    wait_until(lambda: len(listener.heard[COMMAND.topic]) == 30, "all commands")
    stamps = [stamp_ns(deserialize_message(data, ros_class(COMMAND.type))) for data in listener.bytes(COMMAND.topic)]
    assert before_ns < stamps[0] < stamps[-1] < after_ns
    assert (stamps[-1] - stamps[0]) / 1e9 == pytest.approx(29 / 60, abs=0.01)
    assert listener.heard[HEAD.topic] == []


def test_it_does_not_speak_where_a_robot_speaks(world: World, episode: Path) -> None:
    publisher = world.node.create_publisher(ros_class(STATE.type), STATE.topic, 10)
    result = play(world, episode)
    world.node.destroy_publisher(publisher)
    assert result.returncode == 2
    assert f"{STATE.topic} is published already, by test" in result.stderr


def test_a_topic_that_was_not_recorded_is_named(world: World, episode: Path) -> None:
    result = play(world, episode, "--topics", "/nowhere")
    assert result.returncode == 2
    assert "has no topic /nowhere; it has /camera/head_color/compressed" in result.stderr


@pytest.mark.parametrize("by_ns", [1, -1, 3_500_000_000, -3_500_000_000])
def test_a_shift_moves_the_stamp_and_nothing_else(by_ns: int) -> None:
    kind, messages = "sensor_msgs/msg/JointState", BagMessages()
    at_ns = 1_700_000_000_999_999_999

    def message(stamp: int) -> bytes:
        return messages.serialize(messages.make(kind, header=header(stamp), name=["a"], position=[0.5]), kind)

    assert shifted(message(at_ns), by_ns) == message(at_ns + by_ns)
