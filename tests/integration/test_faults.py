"""Whatever fails around it, the controller brakes within its limits, holds, says why, and goes on only by word.

Everything runs in processes of its own, over ROS. With FAULT_TABLE=FILE the table of what was seen is written there;
SOAK_S=1800 lets the soak of random faults last half an hour.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from activemimic_bringup.control.chunk_fields import write_trajectory
from activemimic_bringup.nodes.node import qos_profile
from activemimic_description.codec import decode_slots
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, ros_class
from activemimic_description.robot import load_robot
from activemimic_policy.execution.chunk import Chunk
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from .conftest import World, wait_until
from .fake_robot import FakeRobot

CONTRACT = load_contract("g1_sim")
ROBOT = load_robot("g1")
PERIOD_S = 0.01
STILL = 1e-9  # slot units between two commands: it rests
ROWS: list[tuple[str, float, float, str]] = []


class Command(NamedTuple):
    received_s: float
    number: int  # by the publisher: where one is missing, it was sent but not received
    slots: np.ndarray


@dataclass
class Watched:
    """What went over the wire, with the time (s) at which it came."""

    commands: list[Command] = field(default_factory=list)
    control: list[tuple[float, dict[str, str], str]] = field(default_factory=list)


class Scene:
    def __init__(self, world: World) -> None:
        self.world = world
        self.robot = FakeRobot(world.node, CONTRACT)
        self.watched = Watched()
        (sink,) = CONTRACT.commands
        world.node.create_subscription(ros_class(sink.type), sink.topic, self._on_command, qos_profile(sink.qos))
        world.node.create_subscription(DiagnosticStatus, "/activemimic/control", self._on_control, 100)
        # One for all bad chunks: beside the policy's own topic, so that there is one publisher on each.
        self.teleop = world.node.create_publisher(JointTrajectory, "/activemimic/teleop", 10)
        self.controller = world.start("controller")
        self.policy = self.start_policy()

    def start_policy(self) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("scripted_policy.py")
        environment = {**os.environ, "ROS_DOMAIN_ID": str(self.world.domain)}
        policy = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
        assert policy.stdout is not None
        assert policy.stdout.readline().strip() == "ready"
        return policy

    def say(self, word: str) -> Any:
        return self.world.call(Trigger, f"/controller/{word}")

    def run(self) -> None:
        """From wherever it is to a robot that waves."""
        self.wait_for_one_policy()
        wait_until(lambda: (self.say("hold"), self.say("reset"))[1].success, "the robot to rest")
        wait_until(lambda: self.say("arm").success, "the controller to arm")
        wait_until(lambda: self.say("run").success, "the controller to run")
        self.wave()

    def wait_for_one_policy(self) -> None:
        """One that was killed stays in the graph until its lease ends, and one that started may not be there yet."""
        since = time.monotonic()

        def alone_for_a_while() -> bool:
            nonlocal since
            if self.world.node.count_publishers("/activemimic/chunk") != 1:
                since = time.monotonic()
            return time.monotonic() - since > 1.0

        wait_until(alone_for_a_while, "the policy to be alone")

    def wave(self) -> None:
        self.watched.commands.clear()
        wait_until(lambda: len(self.watched.commands) > 60 and speed(self.watched.commands[-10:]) > 0.1, "it to wave")

    def holds(self, since_s: float) -> tuple[float, str] | None:
        """When, and why, the controller said that it holds."""
        said = [(t, why) for t, values, why in self.watched.control if t > since_s and values.get("mode") == "holding"]
        return said[0] if said else None

    def _on_command(self, message: Any, info: Any) -> None:
        indices, values = decode_slots(CONTRACT.commands[0], message)
        slots = np.empty(len(ROBOT.slots))
        slots[indices] = values
        self.watched.commands.append(Command(time.monotonic(), info["publication_sequence_number"], slots))

    def _on_control(self, message: DiagnosticStatus) -> None:
        values = {entry.key: entry.value for entry in message.values}
        self.watched.control.append((time.monotonic(), values, message.message))


def motions(commands: list[Command]) -> list[np.ndarray]:
    """The commands (N, S) that followed one another without a gap."""
    runs: list[list[np.ndarray]] = [[]]
    for before, command in itertools.pairwise([*commands[:1], *commands]):
        if command.number not in (before.number, before.number + 1):
            runs.append([])
        runs[-1].append(command.slots)
    return [np.array(run) for run in runs if len(run) > 4]


def speed(commands: list[Command]) -> float:
    """The fastest slot, in slot units a second."""
    return max((float(np.abs(np.diff(path, axis=0)).max()) / PERIOD_S for path in motions(commands)), default=0.0)


def assert_within_limits(commands: list[Command]) -> None:
    for path in motions(commands):
        for order, limit in ((1, ROBOT.velocity), (2, ROBOT.acceleration), (3, ROBOT.jerk)):
            most = limit * PERIOD_S**order * (1 + 1e-6) + 1e-9
            assert (np.abs(np.diff(path, order, axis=0)) <= most).all(), f"derivative {order}"


@pytest.fixture(scope="module")
def scene(world: World) -> Iterator[Scene]:
    scene = Scene(world)
    yield scene
    scene.policy.kill()
    if target := os.environ.get("FAULT_TABLE"):
        lines = [f"| {name} | {1e3 * d:.0f} ms | {1e3 * s:.0f} ms | {why} |\n" for name, d, s, why in ROWS]
        head = "| fault | held after | at rest after | it said |\n| --- | --- | --- | --- |\n"
        Path(target).write_text(head + "".join(lines))


def injected(scene: Scene, name: str, fault: Callable[[], object], within_s: float, words: str) -> None:
    """Inject a fault into a waving robot: it has to hold `within_s` later, rest soon after and say `words`."""
    scene.run()
    begin = time.monotonic()
    fault()
    wait_until(lambda: scene.holds(begin) is not None, f"the controller to hold after: {name}", within_s + 5.0)
    held = scene.holds(begin)
    assert held is not None
    at_s, why = held
    assert words in why
    assert at_s - begin < within_s, f"{name}: held only after {at_s - begin:.2f} s"
    time.sleep(0.7)
    commands = [entry for entry in scene.watched.commands if entry.received_s > begin - 0.3]
    moving = [b.received_s for a, b in itertools.pairwise(commands) if np.abs(b.slots - a.slots).max() > STILL]
    assert_within_limits(commands)
    assert speed(commands[-20:]) <= STILL / PERIOD_S
    rest_s = max(moving, default=at_s) - at_s
    assert rest_s < 0.6, "the arms stop from full speed in 0.2 s"
    ROWS.append((name, at_s - begin, max(rest_s, 0.0), why.removeprefix("holding: ")))


def goes_on_by_word(scene: Scene) -> None:
    """It still holds, and waves again once it is told to run."""
    held = scene.watched.commands[-1].slots
    scene.wait_for_one_policy()
    assert np.abs(scene.watched.commands[-1].slots - held).max() <= STILL
    wait_until(lambda: scene.say("run").success, "the controller to run again")
    scene.wave()


def test_a_killed_policy(scene: Scene) -> None:
    injected(scene, "policy killed (SIGKILL)", scene.policy.kill, 2.0, "the policy has been silent")
    scene.policy.wait()
    scene.policy = scene.start_policy()
    goes_on_by_word(scene)


def test_a_frozen_policy(scene: Scene) -> None:
    try:
        injected(
            scene,
            "policy frozen (SIGSTOP)",
            lambda: scene.policy.send_signal(signal.SIGSTOP),
            2.0,
            "the policy has been silent",
        )
    finally:
        scene.policy.send_signal(signal.SIGCONT)
    goes_on_by_word(scene)


def test_joint_states_that_stop(scene: Scene) -> None:
    (source,) = CONTRACT.state
    try:
        injected(
            scene, "joint states stop", lambda: scene.robot.stopped_topics.add(source.topic), 0.5, "joint state is"
        )
    finally:
        scene.robot.stopped_topics.clear()
    goes_on_by_word(scene)


def test_two_policies_at_once(scene: Scene) -> None:
    second: list[subprocess.Popen[str]] = []
    try:
        injected(
            scene,
            "a second policy",
            lambda: second.append(scene.start_policy()),
            4.0,
            "publishers on /activemimic/chunk",
        )
        assert "publishers on /activemimic/chunk" in scene.say("run").message
    finally:
        second[0].send_signal(signal.SIGINT)
        second[0].wait()
    goes_on_by_word(scene)


def test_another_publisher_of_commands(scene: Scene) -> None:
    (sink,) = CONTRACT.commands
    others: list[Any] = []

    def publish_too() -> None:
        others.append(scene.world.node.create_publisher(ros_class(sink.type), sink.topic, 10))

    try:
        injected(scene, "another publisher of commands", publish_too, 2.0, f"2 publishers on {sink.topic}")
    finally:
        scene.world.node.destroy_publisher(others[0])
    goes_on_by_word(scene)


def test_a_simulator_that_is_restarted(scene: Scene) -> None:
    """Its joints fall silent, and stand elsewhere when they speak again."""
    (source,) = CONTRACT.state
    injected(scene, "simulator restarted", lambda: scene.robot.stopped_topics.add(source.topic), 0.5, "joint state is")
    scene.robot.forget_commands()
    scene.robot.follows = False
    scene.robot.positions = ROBOT.home.copy()
    scene.robot.positions[ROBOT.slot_index["left_arm_2"]] -= 0.5
    scene.robot.stopped_topics.clear()
    time.sleep(0.5)
    answer = scene.say("run")
    assert not answer.success
    assert "left_arm_2 is" in answer.message
    assert "reset and arm it" in answer.message
    scene.robot.positions = ROBOT.home.copy()
    scene.robot.follows = True
    scene.policy.kill()  # it waves about where it was
    scene.policy.wait()
    scene.policy = scene.start_policy()
    scene.run()


@pytest.mark.parametrize(
    "fault", ["NaN", "infinite", "huge", "wrong name", "wrong length", "from the past", "from the future"]
)
def test_a_bad_chunk_moves_nothing_and_the_policys_own_goes_on(scene: Scene, fault: str) -> None:
    scene.run()
    positions = np.tile(scene.robot.positions, (30, 1))
    ages_s = {"from the past": 3.0, "from the future": -2.0}
    stamp_ns = scene.world.now_ns() - int(1e9 * ages_s.get(fault, 0.0))
    message = write_trajectory(Chunk(stamp_ns, 33_333_333, positions), CONTRACT.slots, RosMessages())
    values = {"NaN": float("nan"), "infinite": float("inf"), "huge": 1e6}
    if fault in values:
        message.points[7].positions[3] = values[fault]
    if fault == "wrong name":
        message.joint_names[0] = "tail"
    if fault == "wrong length":
        message.points[7].positions = message.points[7].positions[:-1]
    before = len(scene.watched.commands)
    refused = scene.controller.text.count("teleop chunk rejected")
    deadline = time.monotonic() + 10.0
    while scene.controller.text.count("teleop chunk rejected") == refused:  # refusals are logged once a second at most
        assert time.monotonic() < deadline, "the bad chunk was not refused"
        scene.teleop.publish(message)
        time.sleep(0.3)
    time.sleep(0.3)
    after = scene.watched.commands[before:]
    assert speed(after) > 0.1  # the wave goes on
    assert_within_limits(scene.watched.commands)
    why = [line for line in scene.controller.lines if "teleop chunk rejected" in line][-1]
    ROWS.append((f"chunk: {fault}", 0.0, 0.0, why.partition("rejected: ")[2]))


def test_a_soak_of_random_faults_violates_no_limit_and_grows_no_memory(scene: Scene) -> None:
    random, (source,) = np.random.default_rng(0), CONTRACT.state
    bad = write_trajectory(Chunk(1, 1, np.full((2, len(ROBOT.slots)), np.nan)), CONTRACT.slots, RosMessages())

    def frozen() -> None:
        scene.policy.send_signal(signal.SIGSTOP)
        time.sleep(random.uniform(0.2, 2.0))
        scene.policy.send_signal(signal.SIGCONT)

    def silent() -> None:
        scene.robot.stopped_topics.add(source.topic)
        time.sleep(random.uniform(0.1, 1.0))
        scene.robot.stopped_topics.clear()

    def refused() -> None:
        scene.teleop.publish(bad)
        time.sleep(0.2)

    def told() -> None:
        scene.say(str(random.choice(["hold", "stop"])))
        time.sleep(random.uniform(0.1, 0.5))

    scene.run()
    seconds, begin, before_mb, count = float(os.environ.get("SOAK_S", "8")), time.monotonic(), 0.0, 0
    while time.monotonic() - begin < seconds:
        random.choice([frozen, silent, refused, told])()  # type: ignore[operator]
        count += 1
        assert_within_limits(scene.watched.commands)
        answer = scene.say("run")
        if answer.success or "it is running" in answer.message:
            time.sleep(0.5)
            assert_within_limits(scene.watched.commands)
            scene.watched.commands.clear()
        else:
            scene.run()
        if count == 3:
            before_mb = scene.controller.memory_mb()
    grown_mb = scene.controller.memory_mb() - before_mb
    assert grown_mb < 8.0, f"{count} faults in {seconds:g} s: the controller's memory grew by {grown_mb:.1f} MB"
    ROWS.append((f"soak: {count} random faults in {seconds:g} s", 0.0, 0.0, f"no limit violated, {grown_mb:+.1f} MB"))


def test_an_overloaded_computer(scene: Scene) -> None:
    """More work than cores: the commands keep their limits and their pace, or the robot holds and says so."""
    scene.run()
    begin = time.monotonic()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        time.sleep(4.0)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    held = scene.holds(begin)
    commands = [entry for entry in scene.watched.commands if entry.received_s > begin]
    assert_within_limits(commands)
    assert len(commands) > 200
    if held is not None:
        assert any(words in held[1] for words in ("stood still", "joint state is", "silent"))
        ROWS.append(("four busy processes on the cores", held[0] - begin, 0.0, held[1]))
    else:
        ROWS.append(
            ("four busy processes on the cores", 0.0, 0.0, f"{len(commands) / 4:.0f} commands a second, no hold")
        )


def test_a_controller_that_is_restarted_does_nothing_until_it_is_told(scene: Scene) -> None:
    scene.run()
    begin = time.monotonic()
    scene.controller.kill()
    time.sleep(0.1)
    scene.watched.commands.clear()
    scene.controller = scene.world.start("controller")
    time.sleep(1.0)
    assert scene.watched.commands == []
    ROWS.append(("controller restarted", time.monotonic() - begin, 0.0, "idle: nothing is commanded until it is armed"))
    scene.run()
