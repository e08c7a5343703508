"""The controller's promises, on a clock that the test turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from activemimic_bringup.control.chunk_fields import ChunkFields, fields_of
from activemimic_bringup.control.controller import Controller, ControllerConfig
from activemimic_bringup.control.feasible import NOISE
from activemimic_description.robot import load_robot
from activemimic_policy.execution.chunk import Chunk
from hypothesis import given, settings
from hypothesis import strategies as st

ROBOT = load_robot("g1")
NAMES = tuple(slot.name for slot in ROBOT.slots)
S = len(NAMES)
PERIOD_NS = 10_000_000
STEP_NS = 33_333_333
T0 = 1_000_000_000_000
ELBOW = NAMES.index("left_arm_4")
LEFT_GRIPPER = NAMES.index("left_gripper")


class Rig:
    """A controller whose robot is where it was commanded to be one cycle ago."""

    def __init__(self, **config: object) -> None:
        self.controller = Controller(ROBOT, ControllerConfig(**config))  # type: ignore[arg-type]
        self.now_ns = T0
        self.measured = ROBOT.home.copy()
        self.commands: list[np.ndarray] = []
        self.follows = True

    def running(self) -> Rig:
        self.tick()
        assert self.controller.arm(self.now_ns) == ""
        assert self.controller.run(self.now_ns) == ""
        self.tick()
        return self

    def tick(self, count: int = 1, state: bool = True):
        for _ in range(count):
            self.now_ns += PERIOD_NS
            if state:
                self.controller.on_state(self.measured, self.now_ns, self.now_ns)
            command = self.controller.update(self.now_ns, self.now_ns)
            if command.positions is not None and not command.shadow:
                self.commands.append(command.positions)
                if self.follows:
                    self.measured = command.positions.copy()
        return command

    def chunk(self, positions: np.ndarray | None = None, points: int = 50) -> Chunk:
        target = self.measured if positions is None else positions
        return Chunk(stamp_ns=self.now_ns, step_ns=STEP_NS, positions=np.tile(target, (points, 1)))

    def fields(self, **changes: object) -> ChunkFields:
        return replace(fields_of(self.chunk(), NAMES), **changes)  # type: ignore[arg-type]

    def play(self, positions: np.ndarray | None = None, source: str = "policy", points: int = 50):
        return self.controller.on_chunk(self.chunk(positions, points), source, self.now_ns)


def moved(slots: np.ndarray, index: int, by: float) -> np.ndarray:
    result = slots.copy()
    result[index] += by
    return result


def assert_within_limits(commands: list[np.ndarray], orders: int = 3) -> None:
    path, dt = np.array(commands), PERIOD_NS / 1e9
    assert (path >= ROBOT.lower - 1e-12).all()
    assert (path <= ROBOT.upper + 1e-12).all()
    for order, limit in ((1, ROBOT.velocity), (2, ROBOT.acceleration), (3, ROBOT.jerk))[:orders]:
        assert (np.abs(np.diff(path, order, axis=0)) <= limit * dt**order * (1 + 1e-6) + 1e-9).all(), order


# Modes and words.


def test_nothing_is_commanded_until_it_is_armed_and_nothing_moves_until_it_runs() -> None:
    rig = Rig()
    command = rig.tick(3)
    assert (command.positions, command.mode) == (None, "idle")
    rig.measured = moved(ROBOT.home, ELBOW, 0.1)
    rig.tick()
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
    rig.tick()
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
    rig = Rig()
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


# Chunks.


def test_a_chunk_is_followed_and_its_end_held() -> None:
    rig = Rig().running()
    start = rig.measured.copy()
    ramp = np.array([moved(start, ELBOW, 0.01 * (k + 1)) for k in range(30)])
    start_ns = rig.now_ns
    assert rig.controller.on_chunk(Chunk(start_ns, STEP_NS, ramp), "policy", rig.now_ns).accepted
    for _ in range(95):
        command = rig.tick()
        assert command.mode == "running"
        assert command.source == "policy"
        due = start[ELBOW] + 0.3 * (rig.now_ns - start_ns) / 1e9
        assert command.positions[ELBOW] == pytest.approx(due, abs=0.02)
    command = rig.tick(40)
    assert command.mode == "running"
    assert "waits for a chunk" in command.reason
    assert command.positions[ELBOW] == pytest.approx(ramp[-1, ELBOW], abs=0.02)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"points": [[float("nan")] * S] * 50}, "not_finite", "head_yaw is nan at point 0"),
        ({"points": [[float("inf")] * S] * 50}, "not_finite", "inf"),
        ({"points": [[100.0] * S] * 50}, "position", "head_yaw is 100.000 at point 0, far outside its limits"),
        ({"points": [ROBOT.home, moved(ROBOT.home, 0, 1.0)] * 25}, "speed", "head_yaw would move at 30.00 a second"),
        ({"points": np.tile(moved(ROBOT.home, 3, 0.2), (50, 1))}, "start", "waist_lift would start at 0.500"),
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
        ({"stamp_ns": T0 - 1}, "before_run", "older than the word to run"),
    ],
)
def test_a_bad_chunk_is_rejected_whole_and_the_one_playing_goes_on(changes, kind, words) -> None:
    rig = Rig().running()
    target = moved(rig.measured, ELBOW, 0.05)
    assert rig.play(target).accepted
    rig.tick(30)
    verdict = rig.controller.on_chunk(rig.fields(**changes), "policy", rig.now_ns)
    assert not verdict.accepted
    assert words in verdict.reason
    assert rig.controller.counters[f"rejected_{kind}"] == 1
    command = rig.tick()
    assert command.mode == "running"
    np.testing.assert_allclose(command.positions, target, atol=1e-6)


@pytest.mark.parametrize("share", [0.15, 0.25])
@pytest.mark.parametrize(
    "slot", [1, 3]
)  # head pitch at its limit and the slow lift: where a network's noise shows most
def test_noise_around_what_is_meant_passes_the_feasibility_check_and_more_does_not(slot: int, share: float) -> None:
    rig = Rig()
    rig.measured = moved(ROBOT.home, 1, ROBOT.upper[1] - ROBOT.home[1])
    rig.running()
    noise = np.zeros((50, S))
    noise[5, slot] = share * (ROBOT.upper - ROBOT.lower)[slot]
    verdict = rig.controller.on_chunk(rig.fields(points=rig.measured + noise), "policy", rig.now_ns)
    assert verdict.accepted == (share < NOISE), verdict.reason
    for _ in range(60):
        command = rig.tick()
        assert np.all(command.positions <= ROBOT.upper + 1e-9)


def test_a_chunk_whose_last_point_is_past_is_rejected() -> None:
    rig = Rig().running()
    late = Chunk(rig.now_ns, STEP_NS, np.tile(rig.measured, (2, 1)))
    rig.tick(20)
    verdict = rig.controller.on_chunk(late, "policy", rig.now_ns)
    assert not verdict.accepted
    assert "last point was due" in verdict.reason


def test_joint_names_may_come_in_any_order() -> None:
    rig = Rig().running()
    target = moved(rig.measured, ELBOW, 0.02)
    order = np.random.default_rng(0).permutation(S)
    shuffled = rig.fields(slot_names=tuple(NAMES[i] for i in order), points=np.tile(target[order], (50, 1)))
    assert rig.controller.on_chunk(shuffled, "policy", rig.now_ns).accepted
    np.testing.assert_allclose(rig.tick(50).positions, target, atol=1e-6)


# Faults: it brakes, says why, and goes on only by word.


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
        ("state", "s old (limit 0.30 s)"),
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
    # Before a joint that does not move the command stops dead: the joint has no part in it.
    assert_within_limits(rig.commands, orders=1 if fault == "not_following" else 3)
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
    assert rig.controller.run(rig.now_ns) == (
        "left_arm_4 is 0.500 rad from its command (limit 0.2618); reset and arm it"
    )


def test_a_teleoperator_may_pause() -> None:
    rig = Rig().running()
    rig.play(moved(rig.measured, ELBOW, 0.1), "teleop", points=5)
    assert rig.tick(300).mode == "running"


# Limits.


def test_a_command_is_never_far_before_a_joint_that_is_stuck() -> None:
    rig = Rig().running()
    rig.follows = False
    rig.play(moved(rig.measured, ELBOW, 1.0))
    rig.tick(200)
    lead = np.abs(np.array(rig.commands) - rig.measured)[:, ELBOW]
    assert lead.max() <= 0.2618 + 1e-9
    assert rig.controller.counters["limited_lead"] > 0


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
    assert any(i.kind == "limited_collision" and "(margin 20 mm)" in i.reason for i in rig.controller.interventions)
    assert_within_limits(rig.commands)


def test_an_intervention_says_what_was_asked_and_what_was_sent() -> None:
    rig = Rig().running()
    beyond = rig.measured.copy()
    beyond[0] = ROBOT.upper[0] + 0.1
    ramp = np.linspace(rig.measured, beyond, 60)
    rig.controller.on_chunk(Chunk(rig.now_ns, STEP_NS, ramp), "policy", rig.now_ns)
    rig.tick(199)
    outside = [i for i in rig.controller.interventions if i.kind == "limited_position"]
    assert outside[-1].slot == "head_yaw"
    assert outside[-1].asked > ROBOT.upper[0]
    assert outside[-1].sent == ROBOT.upper[0]


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


targets = st.lists(st.floats(-0.3, 0.3), min_size=S, max_size=S)
events = st.one_of(
    st.tuples(st.just("chunk"), st.sampled_from(["policy", "teleop"]), targets, st.integers(1, 30)),
    st.tuples(st.just("junk"), st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 60)),
    st.tuples(st.sampled_from(["hold", "stop", "reset", "arm", "run", "silence", "late"])),
)


@settings(max_examples=60, deadline=None)
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
