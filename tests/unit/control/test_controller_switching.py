"""Who moves the robot: the policy and a teleoperator take turns without a bump."""

from __future__ import annotations

import numpy as np
from activemimic_description.chunk import Chunk
from controller_rig import (
    ELBOW,
    LEFT_GRIPPER,
    NAMES,
    PERIOD_NS,
    ROBOT,
    STEP_NS,
    T0,
    Rig,
    S,
    assert_within_limits,
    moved,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def test_teleoperation_takes_over_and_keeps_the_policy_out_until_it_ends() -> None:
    rig = Rig().running()
    rig.play(moved(rig.measured, ELBOW, 0.1))
    rig.tick(10)
    teleop_target = moved(rig.measured, ELBOW, -0.02)
    assert rig.play(teleop_target, "teleop", points=12).accepted
    command = rig.tick(30)
    assert command.source == "teleop"
    np.testing.assert_allclose(command.positions, teleop_target, atol=2e-3)
    verdict = rig.play()
    assert not verdict.accepted
    assert "teleoperation" in verdict.reason
    command = rig.tick(20)
    assert command.source == ""  # the policy's older chunk does not resume by itself
    np.testing.assert_allclose(command.positions, teleop_target, atol=2e-3)
    target = moved(rig.measured, ELBOW, 0.03)
    assert rig.play(target).accepted
    rig.tick(60)
    np.testing.assert_allclose(rig.measured, target, atol=1e-5)
    assert_within_limits(rig.commands)


def test_a_policy_gripper_stays_closed_through_a_short_opening_and_a_teleoperated_one_does_not() -> None:
    for source, stays_closed in (("policy", True), ("teleop", False)):
        rig = Rig().running()
        closed, opened = rig.measured.copy(), rig.measured.copy()
        closed[LEFT_GRIPPER], opened[LEFT_GRIPPER] = 1.0, 0.0
        rig.play(closed, source)
        rig.tick(150)
        assert rig.measured[LEFT_GRIPPER] > 0.9
        rig.play(opened, source, points=3)
        rig.tick(10)
        assert (rig.measured[LEFT_GRIPPER] > 0.9) == stays_closed


def path(t_ns: np.ndarray, shift_s: float = 0.0) -> np.ndarray:
    """(T, S) an elbow, the head and a wrist that swing, slowly enough for every limit."""
    swing = np.zeros(S)
    swing[[ELBOW, NAMES.index("head_yaw"), NAMES.index("right_arm_7")]] = 0.15
    return ROBOT.home + np.sin(2.0 * ((t_ns - T0) / 1e9 + shift_s))[:, None] * swing


def asks(rig: Rig, source: str, points: int, shift_s: float = 0.0) -> bool:
    """A chunk along the path that answers the present."""
    due_ns = rig.now_ns + STEP_NS * np.arange(1, points + 1)
    return rig.controller.on_chunk(Chunk(rig.now_ns, STEP_NS, path(due_ns, shift_s)), source, rig.now_ns).accepted


def swings(moment: int, shift_s: float) -> np.ndarray:
    """Commands (N, S): the policy swings, from tick `moment` on the teleoperator, and after him the policy again."""
    rig = Rig().running()
    for tick in range(moment + 320):
        by_hand = moment <= tick < moment + 100
        if by_hand and tick % 3 == 0:
            asks(rig, "teleop", 4, shift_s)
        if tick % 40 == 0:
            asks(rig, "policy", 30)
        rig.tick()
    assert_within_limits(rig.commands)
    assert rig.controller.mode == "running"
    return np.array(rig.commands)


@settings(max_examples=12)
@given(st.integers(60, 320))
def test_at_any_moment_a_teleoperator_who_goes_on_as_the_policy_does_is_not_noticed(moment: int) -> None:
    commands = swings(moment, shift_s=0.0)[moment : moment + 100]
    due_ns = T0 + PERIOD_NS * np.arange(moment + 2, moment + 102)
    assert np.abs(commands - path(due_ns)).max() < 1e-4


@settings(max_examples=12)
@given(st.integers(60, 320), st.floats(-0.4, 0.4))
def test_at_any_moment_another_motion_takes_over_and_hands_back_without_a_jump(moment: int, shift_s: float) -> None:
    """`swings` holds every command to the limits; and the robot does come to do what the one in charge wants."""
    commands = swings(moment, shift_s)
    for begin, shift in ((moment + 60, shift_s), (moment + 240, 0.0)):
        due_ns = T0 + PERIOD_NS * np.arange(begin + 2, begin + 32)
        assert np.abs(commands[begin : begin + 30] - path(due_ns, shift)).max() < 0.005
