"""Faults: it brakes, says why, and goes on only by word."""

from __future__ import annotations

import numpy as np
import pytest
from controller_rig import (
    ELBOW,
    PERIOD_NS,
    Rig,
    assert_within_limits,
    moved,
)


def faulty(rig: Rig, fault: str) -> None:
    """Make `fault` happen while the robot moves, and let half a second pass."""
    if fault == "state":
        rig.tick(50, state=False)
    elif fault == "clock":
        rig.now_ns += PERIOD_NS
        rig.commands.append(rig.controller.update(rig.now_ns + 5_000_000_000, rig.now_ns).positions)
        rig.tick(50)
    elif fault == "period":
        rig.now_ns += 300_000_000
        rig.tick(50)
    elif fault == "conflict":
        rig.controller.on_conflict("2 publishers on /joint_command: controller, other")
        rig.tick(50)
    elif fault == "deadman":
        rig.controller.on_deadman(False, rig.now_ns)
        rig.tick(50)
    elif fault == "no_chunk":
        rig.tick(250)
    elif fault == "not_following":
        rig.follows = False
        rig.play(moved(rig.measured, ELBOW, 0.8))
        rig.tick(150)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("state", "s old (limit 0.25 s)"),
        ("clock", "the clock jumped by +5.00 s"),
        ("period", "the controller itself stood still for 0.31 s"),
        ("conflict", "2 publishers on /joint_command"),
        ("deadman", "the deadman's switch is not pressed"),
        ("no_chunk", "the policy has been silent"),
        ("not_following", "left_arm_4 is 0."),
    ],
)
def test_a_fault_ends_the_run_until_somebody_says_so(fault: str, words: str) -> None:
    rig = Rig(deadman_s=100.0 if fault == "deadman" else 0.0)
    rig.controller.on_deadman(True, rig.now_ns)
    rig.running()
    rig.play(moved(rig.measured, ELBOW, 0.8))
    rig.tick(15)
    faulty(rig, fault)
    command = rig.tick(1, state=fault != "state")
    assert command.mode == "holding"
    assert words in command.reason
    assert rig.controller.counters[f"holding_{fault}"] == 1
    assert_within_limits(rig.commands)
    np.testing.assert_allclose(rig.commands[-1], rig.commands[-5], atol=1e-9)  # it rests
    rig.controller.on_conflict("")
    rig.controller.on_deadman(True, rig.now_ns)
    rig.follows = True
    assert rig.tick(30).mode == "holding"  # what was wrong is over; nobody has said so
    assert rig.controller.run(rig.now_ns) == ""
    assert rig.tick().mode == "running"


def test_it_does_not_run_while_the_fault_lasts_or_the_robot_is_elsewhere() -> None:
    rig = Rig().running()
    rig.controller.on_conflict("2 publishers on /activemimic/chunk: policy, policy")
    rig.tick(5)
    assert "2 publishers" in rig.controller.run(rig.now_ns)
    rig.controller.on_conflict("")
    rig.follows = False
    rig.measured = moved(rig.measured, ELBOW, 0.5)  # as after a restart of the simulator
    rig.tick()
    assert "not believed: left_arm_4 is 0.500 from where it was measured before" in rig.controller.run(rig.now_ns)
    rig.tick(100)
    answer = rig.controller.run(rig.now_ns)
    assert answer == "left_arm_4 is 0.500 from where it was measured before; reset and arm it"


def test_a_teleoperator_may_pause() -> None:
    rig = Rig().running()
    rig.play(moved(rig.measured, ELBOW, 0.1), "teleop", points=5)
    assert rig.tick(300).mode == "running"
