"""The recorder node beside a fake robot: whole episodes, nothing lost, and clear refusals."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activemimic_data.bags import EpisodeReader, find_episodes, load_episode_info, recover
from activemimic_data.dataset import build_dataset
from activemimic_description.codec import encode_command
from activemimic_description.common.durable import RESERVE_BYTES
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, ros_class
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_srvs.srv import SetBool, Trigger

from .conftest import Process, World, wait_until
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

    def start_recorder(self, out: Path, **parameters: Any) -> Process:
        about = {"task": "reaching", "instruction": "pick", "seed": 7, **parameters}
        recorder = self.world.start("recorder", out=str(out), **about)
        return recorder

    def restart_recorder(self, out: Path, **parameters: Any) -> Process:
        self.recorder.end()
        self.recorder = self.start_recorder(out, **parameters)
        return self.recorder

    def start(self) -> Path:
        """Once messages of every topic come to it; on a machine that stalls they are late."""

        def started() -> bool:
            nonlocal answer
            answer = self.world.call(Trigger, "/recorder/start")
            late = ("no message has arrived", "the last message arrived")
            return answer.success or not any(words in answer.message for words in late)

        answer: Any = None
        wait_until(started, "the recorder to hear every topic")
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


def test_a_task_that_is_a_path_and_an_instruction_of_several_lines_are_refused(scene: Scene) -> None:
    def set_to(name: str, text: str) -> Any:
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        parameters = [Parameter(name=name, value=value)]
        return scene.world.call(SetParameters, "/recorder/set_parameters", parameters=parameters).results[0]

    for task in ("../../elsewhere", "/tmp/elsewhere", "", ".", "a/b", "Upper", "a" * 65, "a\n"):
        refused = set_to("task", task)
        assert (refused.successful, "parameter task: expected a name of at most 64" in refused.reason) == (False, True)
    for instruction in ("two\nlines", "a" * 1001, "\x1b[2J"):
        assert "parameter instruction: expected at most 1000" in set_to("instruction", instruction).reason
    assert set_to("instruction", "pick").successful
    assert scene.start().parent == scene.out
    assert scene.world.call(Trigger, "/recorder/discard").success


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
    recorder = scene.restart_recorder(tmp_path)
    folder = scene.start()
    time.sleep(0.5)
    assert recorder.end(signal.SIGTERM) == 0
    assert load_episode_info(folder).outcome == "unknown"


def test_keys_in_a_terminal_record_and_redo_an_episode(scene: Scene, tmp_path: Path) -> None:
    recorder = scene.restart_recorder(tmp_path)
    terminal = Terminal(["record", "--manual", "--first-seed", "40"], scene.world.domain)
    terminal.wait_for("idle")
    for key, seen in (
        ("s", "recording "),
        ("r", "R E C O R D I N G"),
        ("q", "press y, n or d first"),
        ("y", "success, "),
        ("q", ""),
    ):
        terminal.type(key)
        terminal.wait_for(seen)
    assert terminal.ended() == 0
    (folder,) = find_episodes([tmp_path])
    info = load_episode_info(folder)
    assert (folder.name, info.outcome, info.seed) == ("reaching_000000", "success", 40)
    assert recorder.end() == 0


def test_a_full_disk_ends_the_episode_and_the_node_goes_on_when_there_is_space(scene: Scene, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={RESERVE_BYTES + 8_000_000}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a tmpfs")
    try:
        recorder = scene.restart_recorder(disk, min_free_gb=0.0)
        folder = scene.start()
        recorder.wait_for("the disk is full; reaching_000000 was ended after")
        info = load_episode_info(folder)
        assert (info.outcome, info.messages_lost) == ("unknown", 0)
        assert sum(1 for _ in EpisodeReader(folder).raw_messages()) == sum(info.messages.values()) > 50
        refused = scene.world.call(Trigger, "/recorder/start")
        assert (refused.success, "No space left on device" in refused.message) == (False, True)
        shutil.rmtree(folder)
        scene.start()
        assert scene.world.call(Trigger, "/recorder/discard").success
        assert recorder.end() == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# The last one: a process that is killed can leave shared memory in which others hang (eProsima/Fast-DDS#6484).
def test_what_a_killed_recorder_left_lacks_a_second_at_most_and_becomes_part_of_a_dataset(
    scene: Scene, tmp_path: Path
) -> None:
    recorder = scene.restart_recorder(tmp_path)
    folder = scene.start()
    time.sleep(3.3)
    recorder.kill()
    killed_ns = scene.world.now_ns()
    assert not folder.exists()
    (recovered,) = (recover(path) for path in find_episodes([tmp_path]))
    assert recovered is not None
    assert (recovered.folder, recovered.info.outcome, recovered.info.recovered) == (folder, "unknown", True)
    assert (killed_ns - recovered.info.stop_ns) / 1e9 < 1.0
    assert recovered.info.duration_s > 2.2
    assert recovered.info.messages_lost == 0
    built = build_dataset([folder], tmp_path / "dataset", workers=1, only_success=False)
    assert built.frames > 60


class Terminal:
    """A command of ours in a terminal."""

    def __init__(self, words: list[str], domain: int) -> None:
        ours, theirs = pty.openpty()
        self._fd = ours
        self._text = ""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "activemimic_bringup.cli.main", *words],
            env={
                **os.environ,
                "ROS_DOMAIN_ID": str(domain),
                "PYTHONFAULTHANDLER": "1",  # a crash shows where
                **{"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
            },
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def type(self, key: str) -> None:
        self._text = ""
        os.write(self._fd, key.encode())

    def wait_for(self, words: str) -> None:
        def shown() -> bool:
            return words in self._read()

        wait_until(lambda: shown() or self._child.poll() is not None, f"the terminal to show {words!r}")
        assert shown() or not words, f"the command ended with {self._child.poll()}, the terminal shows {self._text!r}"

    def ended(self) -> int:
        wait_until(lambda: self._read() is not None and self._child.poll() is not None, "the command to end")
        os.close(self._fd)
        return self._child.wait()

    def _read(self) -> str:
        with contextlib.suppress(OSError):  # it ended
            while select.select([self._fd], [], [], 0.0)[0]:
                if not (data := os.read(self._fd, 65536)):
                    break
                self._text += data.decode(errors="replace")
        return self._text
