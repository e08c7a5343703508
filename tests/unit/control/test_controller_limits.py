"""Limits: no command violates one, whatever arrives."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_description.chunk import Chunk
from controller_rig import (
    ELBOW,
    LEFT_GRIPPER,
    NAMES,
    ROBOT,
    STEP_NS,
    Rig,
    S,
    assert_within_limits,
    moved,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def test_a_command_is_never_far_before_a_joint_that_is_stuck() -> None:
    rig = Rig().running()
    rig.follows = False
    rig.play(moved(rig.measured, ELBOW, 1.0))
    rig.tick(200)
    lead = np.abs(np.array(rig.commands) - rig.measured)[:, ELBOW]
    assert lead.max() <= 0.2618 + 1e-9
    assert rig.controller.counters["limited_lead"] > 0


@pytest.mark.parametrize("lag", [5, 20, 40])
def test_before_a_robot_that_lags_behind_the_motion_brakes_within_its_limits(lag: int) -> None:
    rig = Rig().running()
    rig.follows = False
    ramp = np.tile(rig.measured, (50, 1))
    step_s = STEP_NS / 1e9
    ramp[:, ELBOW] += np.cumsum(np.minimum(1.5, 5.0 * step_s * np.arange(1, 51))) * step_s
    rig.controller.on_chunk(rig.fields(points=ramp), "policy", rig.now_ns)
    leads = []
    for _ in range(200):
        rig.measured = rig.commands[max(0, len(rig.commands) - lag)]
        rig.tick()
        leads.append(np.abs(rig.commands[-1] - rig.measured).max())
    assert_within_limits(rig.commands)
    assert max(leads) <= 0.2618 + 1e-9
    assert (rig.controller.counters["limited_lead"] > 0) == (lag > 17)  # 0.2618 rad at 1.5 rad/s


def test_a_gripper_that_holds_something_is_no_fault() -> None:
    rig = Rig().running()
    closed = moved(rig.measured, LEFT_GRIPPER, 1.0)
    for _ in range(4):
        rig.play(closed)
        for _ in range(40):
            rig.tick()
            rig.measured[LEFT_GRIPPER] = min(rig.measured[LEFT_GRIPPER], 0.4)
    assert rig.controller.mode == "running"
    assert rig.commands[-1][LEFT_GRIPPER] == pytest.approx(1.0, abs=1e-6)


def test_hands_that_would_touch_are_stopped_before_and_said_so() -> None:
    rig = Rig().running()
    for _ in range(60):
        together = rig.measured.copy()
        together[[NAMES.index("left_arm_1"), NAMES.index("right_arm_1")]] += [-0.1, 0.1]
        together[[NAMES.index("left_arm_2"), NAMES.index("right_arm_2")]] += [0.1, -0.1]
        rig.play(np.clip(together, ROBOT.lower, ROBOT.upper))
        rig.tick(10)
        if rig.controller.counters["limited_collision"]:
            break
    assert rig.controller.counters["limited_collision"] > 0
    assert any(i.kind == "limited_collision" and "(margin 20 mm)" in i.reason for i in rig.controller.limit_events)
    assert_within_limits(rig.commands)


def test_an_intervention_says_what_was_asked_and_what_was_sent() -> None:
    rig = Rig().running()
    beyond = rig.measured.copy()
    beyond[0] = ROBOT.upper[0] + 0.1
    ramp = np.linspace(rig.measured, beyond, 60)
    rig.controller.on_chunk(Chunk(rig.now_ns, STEP_NS, ramp), "policy", rig.now_ns)
    rig.tick(199)
    outside = [i for i in rig.controller.limit_events if i.kind == "limited_position"]
    assert outside[-1].slot == "head_yaw"
    assert outside[-1].asked > ROBOT.upper[0]
    assert outside[-1].sent == ROBOT.upper[0]


targets = st.lists(st.floats(-0.3, 0.3), min_size=S, max_size=S)
events = st.one_of(
    st.tuples(st.just("chunk"), st.sampled_from(["policy", "teleop"]), targets, st.integers(1, 30)),
    st.tuples(st.just("junk"), st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 60)),
    st.tuples(st.sampled_from(["hold", "stop", "reset", "arm", "run", "silence", "late"])),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(events, st.integers(1, 25)), min_size=1, max_size=12))
def test_whatever_arrives_no_command_violates_a_limit(story) -> None:
    rig = Rig().running()
    runs: list[list[np.ndarray]] = []
    for event, ticks in story:
        if event[0] == "chunk":
            _, source, by, points = event
            goal = rig.measured + np.array(by) * (ROBOT.upper - ROBOT.lower)
            ramp = np.linspace(rig.measured, goal, points + 1)[1:]
            rig.controller.on_chunk(Chunk(rig.now_ns - 20_000_000, STEP_NS, ramp), source, rig.now_ns)
        elif event[0] == "junk":
            rig.controller.on_chunk(rig.fields(points=[[event[1]] * S] * 50), "policy", rig.now_ns)
        elif event[0] == "silence":
            rig.tick(ticks, state=False)
        elif event[0] == "late":
            rig.now_ns += 50_000_000
        else:
            act = getattr(rig.controller, event[0])
            act(rig.now_ns) if event[0] in ("arm", "run") else act()
        if rig.controller.mode == "idle":
            runs.append(rig.commands)
            rig.commands = []
        rig.tick(ticks)
    for commands in [*runs, rig.commands]:
        if commands:
            assert_within_limits(commands)
    assert rig.controller.counters["holding_limiter"] == 0
