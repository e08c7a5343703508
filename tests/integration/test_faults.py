"""Whatever fails around it, the controller brakes within its limits, holds, says why, and goes on only by word.

Everything runs in processes of its own, over ROS. SOAK_S=1800 lets the soak of random faults last half an hour.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import TRAJECTORY, write_trajectory
from activemimic_description.messages import RosMessages, ros_class

from .conftest import World, wait_until
from .fault_scene import (
    CONTRACT,
    ROBOT,
    Row,
    Scene,
    assert_within_limits,
    goes_on_by_word,
    injected,
    left_to_another,
    speed,
)


@pytest.fixture(scope="module")
def scene(world: World) -> Iterator[Scene]:
    scene = Scene(world)
    yield scene
    scene.close()


def test_a_killed_policy(scene: Scene) -> None:
    injected(scene, "policy without a heartbeat killed", scene.policy.kill, 1.0, "the policy has been silent")
    scene.policy.wait()
    scene.policy = scene.start_policy()
    goes_on_by_word(scene)


def test_a_frozen_policy(scene: Scene) -> None:
    try:
        injected(
            scene,
            "policy without a heartbeat frozen",
            lambda: scene.policy.send_signal(signal.SIGSTOP),
            1.0,
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
    second = scene.load_policy()
    try:
        injected(scene, "a second policy", lambda: scene.begin_policy(second), 4.0, "publishers on /activemimic/chunk")
        assert "publishers on /activemimic/chunk" in scene.say("run").message
    finally:
        second.send_signal(signal.SIGINT)
        second.wait()
    goes_on_by_word(scene)


def test_another_publisher_of_commands(scene: Scene) -> None:
    (sink,) = CONTRACT.commands
    others: list[Any] = []

    def publish_too() -> None:
        others.append(scene.world.node.create_publisher(ros_class(sink.type), sink.topic, 10))

    try:
        left_to_another(scene, "another publisher of commands", publish_too, 1.0, f"2 publishers on {sink.topic}")
        refusal = scene.say("arm")
        assert not refusal.success
        assert f"2 publishers on {sink.topic}" in refusal.message
    finally:
        scene.world.node.destroy_publisher(others[0])
    scene.run()


def test_another_publisher_of_joint_states(scene: Scene) -> None:
    """Its robot stands elsewhere."""
    (source,), node = CONTRACT.state, scene.world.node
    elsewhere = np.clip(ROBOT.home + 0.6, ROBOT.lower, ROBOT.upper)
    others: list[Any] = []
    speaks = threading.Event()

    def say() -> None:
        if speaks.is_set():
            others[0].publish(scene.robot.joint_state(elsewhere, scene.world.now_ns()))

    def measure_too() -> None:
        others.append(node.create_publisher(ros_class(source.type), source.topic, 10))
        speaks.set()

    timer = node.create_timer(1 / 30, say)
    try:
        injected(scene, "another publisher of joint states", measure_too, 1.0, f"2 publishers on {source.topic}")
    finally:
        speaks.clear()
        time.sleep(0.2)  # no callback is on its way any more
        node.destroy_timer(timer)
        node.destroy_publisher(others[0])
    goes_on_by_word(scene)


def test_outliers_among_the_joint_states_are_not_believed(scene: Scene) -> None:
    scene.run()
    count = 0

    def glitch(positions: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        wrong = [positions, positions, np.zeros(len(positions)), positions, positions + 0.5]
        return wrong[count % len(wrong)]

    begin = time.monotonic()
    scene.watched.commands.clear()
    scene.robot.glitch = glitch
    try:
        time.sleep(3.0)
        assert scene.holds(begin) is None
        assert speed(scene.watched.commands[-100:]) > 0.1  # the wave goes on
        assert_within_limits(scene.watched.commands)
    finally:
        scene.robot.glitch = None
    wait_until(
        lambda: int(scene.robot.report("controller")[1].get("state_jump", 0)) > 5, "refused states to be counted"
    )
    refused = scene.robot.report("controller")[1]["state_jump"]
    scene.rows.append(Row("two of five joint states are wrong", 0.0, 0.0, f"{refused} not believed, the wave goes on"))


def test_a_lift_that_jams(scene: Scene) -> None:
    lift = ROBOT.slot_index["waist_lift"]

    def jam_and_rise() -> None:
        scene.robot.jammed.add(lift)
        target = scene.robot.positions.copy()
        target[lift] += 0.15
        path = np.linspace(scene.robot.positions, target, 90)
        stamp_ns = scene.world.now_ns()
        scene.teleop.publish(write_trajectory(Chunk(stamp_ns, 33_333_333, path), CONTRACT.slots, RosMessages()))

    try:
        injected(scene, "lift jammed", jam_and_rise, 4.0, "waist_lift is 0.0", longest_rest_s=1.5)
    finally:
        scene.robot.jammed.clear()
    goes_on_by_word(scene)


@pytest.mark.parametrize(
    ("points", "step_ns", "words"),
    [
        (2000, 2_000_000, "bytes, expected at most"),
        (150, 10_000_000, "150 points"),
        (10, 60 * 10**9, "it lasts 600.0 s"),
    ],
)
def test_a_chunk_without_bounds_delays_no_command(scene: Scene, points: int, step_ns: int, words: str) -> None:
    scene.run()
    chunk = Chunk(scene.world.now_ns(), step_ns, np.tile(scene.robot.positions, (points, 1)))
    message = write_trajectory(chunk, CONTRACT.slots, RosMessages())
    begin = time.monotonic()

    def refused() -> bool:  # what is refused is logged once a second at most
        scene.teleop.publish(message)
        time.sleep(0.3)
        return words in scene.controller.text

    wait_until(refused, "the refusal")
    time.sleep(0.5)
    assert scene.holds(begin) is None
    assert speed(scene.watched.commands[-30:]) > 0.1
    assert_within_limits(scene.watched.commands)
    scene.rows.append(Row(f"chunk of {points} points, {points * step_ns / 1e9:g} s", 0.0, 0.0, f"refused: {words}"))


def test_bytes_that_are_no_message_end_no_controller(scene: Scene) -> None:
    scene.run()
    begin = time.monotonic()
    for junk in (b"", b"junk", b"\x00\x01\x00\x00" + b"\xff" * 40):
        scene.teleop.publish(junk)
        time.sleep(0.2)
    wait_until(lambda: "teleop chunk rejected" in scene.controller.text, "the refusal")
    assert scene.holds(begin) is None
    assert speed(scene.watched.commands[-30:]) > 0.1
    assert_within_limits(scene.watched.commands)


def test_stop_from_idle_commands_nothing(scene: Scene) -> None:
    wait_until(lambda: (scene.say("hold"), scene.say("reset"))[1].success, "the robot to rest")
    time.sleep(0.2)
    scene.watched.commands.clear()
    for word in ("stop", "hold", "reset", "stop"):
        assert scene.say(word).success
        time.sleep(0.2)
    assert scene.watched.commands == []
    assert "reset it first" in scene.say("arm").message


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
    assert "left_arm_2 is 0.500 from where it was measured before" in answer.message
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
    scene.rows.append(Row(f"chunk: {fault}", 0.0, 0.0, why.partition("rejected: ")[2]))


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

    def glitched() -> None:
        scene.robot.glitch = lambda positions: positions + random.normal(0.0, 1.0) * (random.random() < 0.3)
        time.sleep(random.uniform(0.2, 2.0))
        scene.robot.glitch = None

    def jammed() -> None:
        scene.robot.jammed.update(random.choice(len(ROBOT.slots), 6, replace=False).tolist())
        time.sleep(random.uniform(0.5, 2.0))
        scene.robot.jammed.clear()

    def crowded() -> None:
        (sink,) = CONTRACT.commands
        topics = {sink.topic: sink.type, source.topic: source.type, "/activemimic/chunk": TRAJECTORY}
        topic = str(random.choice(list(topics)))
        other = scene.world.node.create_publisher(ros_class(topics[topic]), topic, 10)
        time.sleep(random.uniform(0.2, 1.0))
        scene.world.node.destroy_publisher(other)

    def endless() -> None:
        chunk = Chunk(scene.world.now_ns(), 2_000_000, np.tile(scene.robot.positions, (2000, 1)))
        scene.teleop.publish(write_trajectory(chunk, CONTRACT.slots, RosMessages()))
        time.sleep(0.2)

    def killed() -> None:
        scene.policy.kill()
        scene.policy.wait()
        time.sleep(random.uniform(0.2, 1.0))
        scene.policy = scene.start_policy()

    kinds = [frozen, silent, refused, told, glitched, jammed, crowded, endless, killed]
    scene.run()
    seconds, begin, before_mb, count = float(os.environ.get("SOAK_S", "8")), time.monotonic(), 0.0, 0
    while time.monotonic() - begin < seconds:
        kinds[random.integers(len(kinds))]()
        count += 1
        assert_within_limits(scene.watched.commands)
        answer = scene.say("run")
        if answer.success or "it is running" in answer.message:
            time.sleep(0.5)
            assert_within_limits(scene.watched.commands)
            scene.watched.commands.clear()
        else:
            scene.run()
        if time.monotonic() - begin < min(60.0, seconds / 2):  # what is cached has been by then
            before_mb = scene.controller.memory_mb()
    grown_mb = scene.controller.memory_mb() - before_mb
    assert grown_mb < 8.0, f"{count} faults in {seconds:g} s: the controller's memory grew by {grown_mb:.1f} MB"
    scene.rows.append(
        Row(f"soak: {count} random faults in {seconds:g} s", 0.0, 0.0, f"no limit violated, {grown_mb:+.1f} MB")
    )


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
    sent = commands[-1].number - commands[0].number  # not all of which this process had time to receive
    assert sent > 200
    if held is not None:
        assert any(words in held[1] for words in ("stood still", "joint state is", "silent"))
        scene.rows.append(Row("four busy processes on the cores", held[0] - begin, 0.0, held[1]))
    else:
        pace = f"{sent / 4:.0f} commands a second, no hold"
        scene.rows.append(Row("four busy processes on the cores", 0.0, 0.0, pace))


def test_a_controller_that_is_restarted_does_nothing_until_it_is_told(scene: Scene) -> None:
    scene.run()
    begin = time.monotonic()
    scene.controller.kill()
    time.sleep(0.1)
    scene.watched.commands.clear()
    scene.controller = scene.world.start("controller")
    time.sleep(1.0)
    assert scene.watched.commands == []
    scene.rows.append(
        Row("controller restarted", time.monotonic() - begin, 0.0, "idle: nothing is commanded until it is armed")
    )
    scene.run()
