"""The controller's promises, on a clock that the test turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from activemimic_bringup.control.chunk_fields import ChunkFields, fields_of
from activemimic_bringup.control.controller import Controller, ControllerConfig
from activemimic_description.robot import load_robot
from activemimic_policy.execution.chunk import Chunk

ROBOT = load_robot("g1")
NAMES = tuple(slot.name for slot in ROBOT.slots)
S = len(NAMES)
STEP_NS = 33_333_333
T0 = 1_000_000_000_000
ELBOW = NAMES.index("left_arm_4")
LEFT_GRIPPER = NAMES.index("left_gripper")


class Rig:
    """A controller whose robot follows every command at once."""

    def __init__(self, **config: object) -> None:
        self.controller = Controller(ROBOT, ControllerConfig(**config))  # type: ignore[arg-type]
        self.now_ns = T0
        self.measured = ROBOT.home.copy()

    def started(self) -> Rig:
        self.controller.enable(self.now_ns)
        self.tick()
        return self

    def tick(self, count: int = 1, state: bool = True):
        for _ in range(count):
            self.now_ns += STEP_NS
            if state:
                self.controller.on_state(self.measured, self.now_ns, self.now_ns)
            command = self.controller.update(self.now_ns)
            if command.positions is not None:
                self.measured = command.positions.copy()
        return command

    def chunk(self, positions: np.ndarray | None = None, points: int = 50) -> Chunk:
        target = self.measured if positions is None else positions
        return Chunk(stamp_ns=self.now_ns, step_ns=STEP_NS, positions=np.tile(target, (points, 1)))

    def fields(self, **changes: object) -> ChunkFields:
        return replace(fields_of(self.chunk(), NAMES), **changes)  # type: ignore[arg-type]


def moved(slots: np.ndarray, index: int, by: float) -> np.ndarray:
    result = slots.copy()
    result[index] += by
    return result


def test_nothing_is_commanded_before_it_is_enabled() -> None:
    rig = Rig()
    command = rig.tick()
    assert command.positions is None
    assert command.mode == "disabled"


def test_it_waits_for_a_state_newer_than_enabling_and_starts_from_that_pose() -> None:
    rig = Rig()
    rig.tick()
    rig.controller.enable(rig.now_ns + 1)
    command = rig.controller.update(rig.now_ns + 2)
    assert (command.positions, command.mode) == (None, "waiting")
    assert "since the controller was enabled" in command.reason
    rig.measured = moved(ROBOT.home, ELBOW, 0.1)
    command = rig.tick()
    assert command.mode == "holding"
    np.testing.assert_allclose(command.positions, moved(ROBOT.home, ELBOW, 0.1))


def test_a_chunk_point_is_commanded_at_its_time() -> None:
    rig = Rig().started()
    ramp = np.array([moved(rig.measured, ELBOW, 0.01 * (k + 1)) for k in range(10)])
    start_ns = rig.now_ns
    assert rig.controller.on_chunk(Chunk(start_ns, STEP_NS, ramp), "policy", rig.now_ns).accepted
    for k in range(10):
        command = rig.tick()
        assert command.mode == "running"
        assert command.positions[ELBOW] == pytest.approx(ramp[k, ELBOW], abs=1e-6)


def test_when_a_chunk_ends_the_last_command_is_held() -> None:
    rig = Rig().started()
    target = moved(rig.measured, ELBOW, 0.05)
    rig.controller.on_chunk(rig.chunk(target, points=5), "policy", rig.now_ns)
    rig.tick(5)
    command = rig.tick(20)
    assert command.mode == "holding"
    assert "the last chunk ended 0.6 s ago" in command.reason or "ended 0.7 s ago" in command.reason
    np.testing.assert_allclose(command.positions, target)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"points": [[float("nan")] * S] * 50}, "not_finite", "head_yaw is nan at point 0"),
        ({"points": [[float("inf")] * S] * 50}, "not_finite", "inf"),
        ({"slot_names": (*NAMES[:-1], "left_gripper")}, "slot_names", "missing right_gripper; repeated left_gripper"),
        ({"slot_names": (*NAMES[:-1], "tail")}, "slot_names", "missing right_gripper; unknown tail"),
        ({"slot_names": NAMES[:-1]}, "slot_names", "missing right_gripper"),
        ({"points": [[0.0] * S] * 49 + [[0.0] * 19]}, "lengths", "point 49 has 19 positions, expected 20"),
        ({"points": [], "times_ns": ()}, "lengths", "no points"),
        ({"times_ns": (STEP_NS,) * 50}, "times", "point 1"),
        ({"times_ns": tuple(k * STEP_NS for k in range(50))}, "times", "point 0"),
        ({"times_ns": tuple((k + 1) ** 2 * 1_000_000 for k in range(50))}, "times", "evenly spaced"),
        ({"stamp_ns": T0 - 2_000_000_000}, "stale", "old (limit 1.00 s)"),
        ({"stamp_ns": T0 + 1_000_000_000}, "future", "do the clocks agree?"),
        ({"stamp_ns": T0 - 1}, "before_enable", "older than the enabling"),
    ],
)
def test_a_bad_chunk_is_rejected_whole_and_the_one_playing_goes_on(changes, kind, words) -> None:
    rig = Rig().started()
    target = moved(rig.measured, ELBOW, 0.05)
    assert rig.controller.on_chunk(rig.chunk(target), "policy", rig.now_ns).accepted
    rig.tick(5)
    verdict = rig.controller.on_chunk(rig.fields(**changes), "policy", rig.now_ns)
    assert not verdict.accepted
    assert words in verdict.reason
    assert rig.controller.counters[f"rejected_{kind}"] == 1
    command = rig.tick()
    assert command.mode == "running"
    np.testing.assert_allclose(command.positions, target)


def test_a_chunk_whose_last_point_is_past_is_rejected() -> None:
    rig = Rig().started()
    late = Chunk(rig.now_ns, STEP_NS, np.tile(rig.measured, (2, 1)))
    rig.tick(5)
    verdict = rig.controller.on_chunk(late, "policy", rig.now_ns)
    assert not verdict.accepted
    assert "last point was due" in verdict.reason


def test_joint_names_may_come_in_any_order() -> None:
    rig = Rig().started()
    target = moved(rig.measured, ELBOW, 0.02)
    order = np.random.default_rng(0).permutation(S)
    shuffled = rig.fields(slot_names=tuple(NAMES[i] for i in order), points=np.tile(target[order], (50, 1)))
    assert rig.controller.on_chunk(shuffled, "policy", rig.now_ns).accepted
    np.testing.assert_allclose(rig.tick(3).positions, target)


def test_with_an_old_state_the_position_is_held_and_the_reason_given() -> None:
    rig = Rig(max_state_age_s=0.2).started()
    ramp = np.array([moved(rig.measured, ELBOW, 0.002 * (k + 1)) for k in range(50)])
    rig.controller.on_chunk(Chunk(rig.now_ns, STEP_NS, ramp), "policy", rig.now_ns)
    rig.tick(3)
    before = rig.tick(6, state=False)
    held = rig.tick(3, state=False)
    assert before.mode == "running"
    assert held.mode == "holding"
    assert "s old (limit 0.20 s)" in held.reason
    np.testing.assert_allclose(held.positions, before.positions)
    assert rig.tick().mode == "running"


def test_a_state_that_is_not_finite_does_not_count_as_a_state() -> None:
    rig = Rig()
    rig.controller.enable(rig.now_ns)
    rig.measured[3] = np.nan
    assert rig.tick(5).mode == "waiting"
    assert rig.controller.counters["state_invalid"] == 5


def test_teleoperation_takes_over_and_keeps_the_policy_out_until_it_ends() -> None:
    rig = Rig().started()
    rig.controller.on_chunk(rig.chunk(moved(rig.measured, ELBOW, 0.1)), "policy", rig.now_ns)
    teleop_target = moved(rig.measured, ELBOW, -0.02)
    assert rig.controller.on_chunk(rig.chunk(teleop_target, points=4), "teleop", rig.now_ns).accepted
    command = rig.tick()
    np.testing.assert_allclose(command.positions, teleop_target)
    verdict = rig.controller.on_chunk(rig.chunk(), "policy", rig.now_ns)
    assert not verdict.accepted
    assert "teleoperation" in verdict.reason
    command = rig.tick(6)
    assert command.mode == "holding"  # the policy's older chunk does not resume by itself
    np.testing.assert_allclose(command.positions, teleop_target)
    target = moved(rig.measured, ELBOW, 0.03)
    assert rig.controller.on_chunk(rig.chunk(target), "policy", rig.now_ns).accepted
    steps = np.diff([rig.measured[ELBOW], *(rig.tick().positions[ELBOW] for _ in range(5))])
    assert np.all(steps >= -1e-9)  # it goes on from where teleoperation has left the robot
    np.testing.assert_allclose(rig.measured, target)


def test_no_command_leaves_the_position_limits() -> None:
    rig = Rig().started()
    rig.controller.on_chunk(rig.chunk(np.full(S, 100.0)), "teleop", rig.now_ns)
    for _ in range(49):
        positions = rig.tick().positions
        assert np.all(positions >= ROBOT.lower)
        assert np.all(positions <= ROBOT.upper)
    assert rig.controller.counters["limited_position"] == 49


def test_no_command_moves_faster_than_the_velocity_limits() -> None:
    rig = Rig().started()
    rig.controller.on_chunk(rig.chunk(ROBOT.lower), "teleop", rig.now_ns)
    last = rig.measured.copy()
    for k in range(100):
        if k == 20:
            rig.controller.on_chunk(rig.chunk(ROBOT.upper), "teleop", rig.now_ns)
        positions = rig.tick().positions
        assert np.all(np.abs(positions - last) <= ROBOT.velocity * rig.controller.config.period_s + 1e-12)
        last = positions
    assert rig.controller.counters["limited_velocity"] > 10


def test_a_policy_gripper_stays_closed_through_a_short_opening_and_a_teleoperated_one_does_not() -> None:
    for source, stays_closed in (("policy", True), ("teleop", False)):
        rig = Rig().started()
        closed, opened = rig.measured.copy(), rig.measured.copy()
        closed[LEFT_GRIPPER], opened[LEFT_GRIPPER] = 1.0, 0.0
        rig.controller.on_chunk(rig.chunk(closed), source, rig.now_ns)
        rig.tick(45)
        grip = rig.measured[LEFT_GRIPPER]
        assert grip > 0.9
        rig.controller.on_chunk(rig.chunk(opened, points=3), source, rig.now_ns)
        rig.tick(3)
        assert (rig.measured[LEFT_GRIPPER] > 0.9) == stays_closed


def test_disabling_sends_nothing_and_enabling_again_forgets_the_old_chunk() -> None:
    rig = Rig().started()
    rig.controller.on_chunk(rig.chunk(moved(rig.measured, ELBOW, 0.1)), "policy", rig.now_ns)
    rig.controller.disable()
    assert rig.tick().positions is None
    assert not rig.controller.on_chunk(rig.chunk(), "policy", rig.now_ns).accepted
    pose = rig.measured.copy()
    rig.controller.enable(rig.now_ns)
    command = rig.tick(3)
    assert command.mode == "holding"
    np.testing.assert_allclose(command.positions, pose)
