"""A controller beside a fake robot and a policy that can be killed: faults are injected, and what it does is watched.

With FAULT_TABLE=FILE the tests that use this append what was seen to a table there.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from activemimic_bringup.nodes.node import qos_profile
from activemimic_description.codec import decode_slots
from activemimic_description.contract import load_contract
from activemimic_description.messages import ros_class
from activemimic_description.robot import load_robot
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from .conftest import World, wait_until
from .fake_robot import FakeRobot

CONTRACT = load_contract("g1_sim")
ROBOT = load_robot("g1")
PERIOD_S = 0.01
STILL = 1e-9  # slot units between two commands: it rests


class Row(NamedTuple):
    """A line of the fault table."""

    fault: str
    held_after_s: float
    at_rest_after_s: float
    said: str


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
    """A robot that waves, as the scripted policy says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows: list[Row] = []
        self.robot = self.start_robot()
        self.watched = Watched()
        (sink,) = CONTRACT.commands
        world.node.create_subscription(ros_class(sink.type), sink.topic, self._on_command, qos_profile(sink.qos))
        world.node.create_subscription(DiagnosticStatus, "/activemimic/control", self._on_control, 100)
        # One for all bad chunks: beside the policy's own topic, so that there is one publisher on each.
        self.teleop = world.node.create_publisher(JointTrajectory, "/activemimic/teleop", 10)
        self.controller = self.start_controller()
        self.policy = self.start_policy()

    def start_robot(self) -> Any:
        return FakeRobot(self.world.node, CONTRACT)

    def start_controller(self) -> Any:
        return self.world.start("controller")

    def start_policy(self) -> Any:
        policy = self.load_policy()
        self.begin_policy(policy)
        return policy

    def load_policy(self) -> Any:
        """A policy that is not in the graph yet. Loading keeps two cores busy, which a controller need not bear."""
        script = Path(__file__).with_name("scripted_policy.py")
        environment = {**os.environ, "ROS_DOMAIN_ID": str(self.world.domain)}
        policy = subprocess.Popen(
            [sys.executable, str(script)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert policy.stdout is not None
        assert policy.stdout.readline().strip() == "loaded"
        return policy

    def begin_policy(self, policy: Any) -> None:
        print(file=policy.stdin, flush=True)
        assert policy.stdout.readline().strip() == "ready"

    def say(self, word: str) -> Any:
        return self.world.call(Trigger, f"/controller/{word}")

    def run(self) -> None:
        """From wherever it is to a robot that waves."""
        self.wait_for_one_policy()
        wait_until(lambda: (self.say("hold"), self.say("reset"))[1].success, "the robot to rest")
        wait_until(lambda: self.say("arm").success, "the controller to arm")
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
        """Until it waves. On a machine that stalls it may hold meanwhile: then the operator says run again."""
        self.watched.commands.clear()

        def waves() -> bool:
            if len(self.watched.commands) > 60 and speed(self.watched.commands[-10:]) > 0.1:
                return True
            self.say("run")  # one that runs already refuses
            time.sleep(0.1)
            return False

        try:
            wait_until(waves, "it to wave")
        except AssertionError as error:
            told = "\n".join([why for _, _, why in self.watched.control[-5:]] + self.controller.lines[-5:])
            raise AssertionError(f"{error}; {len(self.watched.commands)} commands came; told:\n{told}") from None

    def holds(self, since_s: float) -> tuple[float, str] | None:
        """When, and why, the controller said that it holds."""
        said = [(t, why) for t, values, why in self.watched.control if t > since_s and values.get("mode") == "holding"]
        return said[0] if said else None

    def close(self) -> None:
        """End the policy, and append what was seen to the fault table."""
        self.policy.kill()
        if target := os.environ.get("FAULT_TABLE"):
            table = Path(target)
            if not table.exists():
                table.write_text("| fault | held after | at rest after | it said |\n| --- | --- | --- | --- |\n")
            with table.open("a") as file:
                for name, held_s, rest_s, said in self.rows:
                    file.write(f"| {name} | {1e3 * held_s:.0f} ms | {1e3 * rest_s:.0f} ms | {said} |\n")

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


def injected(
    scene: Scene, name: str, fault: Callable[[], object], within_s: float, words: str, longest_rest_s: float = 0.6
) -> None:
    """Inject a fault into a waving robot: it has to hold `within_s` later, rest soon after and say `words`.

    The arms stop from full speed in 0.2 s; a command that goes back to a jammed joint takes longer.
    """
    scene.run()
    begin = time.monotonic()
    fault()
    wait_until(lambda: scene.holds(begin) is not None, f"the controller to hold after: {name}", within_s + 5.0)
    held = scene.holds(begin)
    assert held is not None
    at_s, why = held
    assert words in why, f"{name}: held because {why!r}"
    assert at_s - begin < within_s, f"{name}: held only after {at_s - begin:.2f} s"
    time.sleep(max(0.7, longest_rest_s))
    rest_s = _came_to_rest(scene, begin, at_s)
    assert rest_s < longest_rest_s
    scene.rows.append(Row(name, at_s - begin, rest_s, why.removeprefix("holding: ")))


def left_to_another(scene: Scene, name: str, rival: Callable[[], object], within_s: float, words: str) -> None:
    """Let another one command a waving robot: the controller has to brake, say `words`, and send nothing any more."""
    scene.run()
    begin = time.monotonic()
    rival()
    idle: list[tuple[float, str]] = []

    def left() -> bool:
        idle[:] = [(t, why) for t, values, why in scene.watched.control if t > begin and values.get("mode") == "idle"]
        return bool(idle)

    wait_until(left, f"the controller to leave the robot to: {name}", within_s + 5.0)
    held = scene.holds(begin)
    assert held is not None
    assert held[0] - begin < within_s, f"{name}: held only after {held[0] - begin:.2f} s"
    assert words in idle[0][1], f"{name}: idle because {idle[0][1]!r}"
    time.sleep(0.7)
    assert scene.watched.commands[-1].received_s < idle[0][0] + 0.1, "it still commands the robot"
    rest_s = _came_to_rest(scene, begin, held[0])
    assert rest_s < 0.6
    scene.rows.append(Row(name, held[0] - begin, rest_s, idle[0][1]))


def _came_to_rest(scene: Scene, begin: float, at_s: float) -> float:
    """How long after it held it came to rest, within the limits."""
    commands = [entry for entry in scene.watched.commands if entry.received_s > begin - 0.3]
    moving = [b.received_s for a, b in itertools.pairwise(commands) if np.abs(b.slots - a.slots).max() > STILL]
    assert_within_limits(commands)
    assert np.abs(commands[-1].slots - commands[-2].slots).max() <= STILL
    rest_s = max(moving, default=at_s) - at_s
    return max(rest_s, 0.0)


def goes_on_by_word(scene: Scene) -> None:
    """It still holds, and waves again once it is told to run."""
    held = scene.watched.commands[-1].slots
    scene.wait_for_one_policy()
    assert np.abs(scene.watched.commands[-1].slots - held).max() <= STILL
    wait_until(lambda: scene.say("run").success, "the controller to run again")
    scene.wave()
