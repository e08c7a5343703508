"""The operator's words: what leads from mode to mode, and what is commanded in each."""

from __future__ import annotations

import numpy as np
import pytest
from controller_rig import (
    ELBOW,
    ROBOT,
    Rig,
    assert_within_limits,
    moved,
)


def test_nothing_is_commanded_until_it_is_armed_and_nothing_moves_until_it_runs() -> None:
    rig = Rig()
    command = rig.tick(3)
    assert (command.positions, command.mode) == (None, "idle")
    rig.measured = moved(ROBOT.home, ELBOW, 0.1)
    rig.tick(30)
    assert rig.controller.arm(rig.now_ns) == ""
    command = rig.tick(5)
    assert command.mode == "armed"
    np.testing.assert_allclose(command.positions, moved(ROBOT.home, ELBOW, 0.1))
    verdict = rig.play(moved(rig.measured, ELBOW, 0.1))
    assert not verdict.accepted
    assert "the controller is armed" in verdict.reason
    np.testing.assert_allclose(rig.tick(10).positions, moved(ROBOT.home, ELBOW, 0.1))


def test_without_a_joint_state_it_cannot_be_armed() -> None:
    rig = Rig()
    assert rig.controller.arm(rig.now_ns) == "no joint state has arrived"
    rig.standing().tick()
    rig.now_ns += 1_000_000_000
    assert "1.00 s old" in rig.controller.arm(rig.now_ns)
    rig.measured[3] = np.nan
    rig.tick(5)
    assert rig.controller.counters["state_invalid"] == 5
    assert "old" in rig.controller.arm(rig.now_ns)


@pytest.mark.parametrize(
    ("words", "refusal", "mode"),
    [
        (["run"], "it is idle; arm it first", "idle"),
        (["arm", "arm"], "it is armed; reset it first", "armed"),
        (["arm", "run", "arm"], "it is running; reset it first", "running"),
        (["arm", "run", "stop", "run"], "it is stopped; reset it first", "stopped"),
        (["arm", "stop", "arm"], "it is stopped; reset it first", "stopped"),
        (["arm", "run", "stop", "reset"], "", "idle"),
        (["stop", "reset", "arm", "run"], "", "running"),
        (["arm", "run", "hold", "run"], "", "running"),
        (["hold"], "", "idle"),
        (["arm", "hold", "reset"], "", "idle"),
    ],
)
def test_words_lead_from_mode_to_mode_or_are_refused_with_what_to_say_first(words, refusal, mode) -> None:
    rig = Rig().standing()
    for word in words:
        rig.tick()
        act = getattr(rig.controller, word)
        answer = act(rig.now_ns) if word in ("arm", "run") else act()
    assert answer == refusal
    assert rig.controller.mode == mode


@pytest.mark.parametrize("word", ["hold", "stop"])
def test_a_moving_robot_brakes_within_its_limits_and_is_released_only_at_rest(word: str) -> None:
    rig = Rig().running()
    rig.play(moved(rig.measured, ELBOW, 0.8))
    rig.tick(15)
    assert getattr(rig.controller, word)() == ""
    rig.tick()
    assert rig.controller.reset() == "the robot is still braking"
    rig.tick(60)
    np.testing.assert_allclose(rig.commands[-1], rig.commands[-10])
    assert_within_limits(rig.commands)
    assert rig.controller.reset() == ""
    assert rig.tick().positions is None


def test_what_was_asked_before_a_hold_is_not_played_after_it() -> None:
    rig = Rig().running()
    rig.play(moved(rig.measured, ELBOW, 0.3))
    rig.tick(10)
    rig.controller.hold()
    rig.tick(40)
    held = rig.measured.copy()
    old = rig.chunk(moved(rig.measured, ELBOW, 0.2))
    rig.tick()
    assert rig.controller.run(rig.now_ns) == ""
    np.testing.assert_allclose(rig.tick(20).positions, held)
    verdict = rig.controller.on_chunk(old, "policy", rig.now_ns)
    assert not verdict.accepted
    assert "older than the word to run" in verdict.reason


def test_idle_works_out_as_a_shadow_what_it_would_command() -> None:
    rig = Rig()
    rig.tick()
    target = moved(rig.measured, ELBOW, 0.1)
    assert rig.play(target).accepted
    shadows = [rig.tick() for _ in range(40)]
    assert all(command.shadow and command.mode == "idle" for command in shadows)
    np.testing.assert_allclose(shadows[-1].positions, target, atol=1e-6)
    assert rig.commands == []
    assert rig.tick(300).positions is None  # the chunk has ended
