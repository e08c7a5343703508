"""Measurements that are wrong, robots that are pushed, others who command: nothing of it moves the robot unduly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import fields_of
from controller_fuzz import RATES_HZ, fuzz
from controller_rig import (
    ELBOW,
    NAMES,
    PERIOD_NS,
    ROBOT,
    STEP_NS,
    Rig,
    S,
    assert_within_limits,
    moved,
)

LIFT = NAMES.index("waist_lift")
RIVAL = "2 publishers on /joint_command: controller, other"


@pytest.mark.parametrize("first_seed", [0, 100, 200])
def test_no_command_violates_a_limit_whatever_is_measured_asked_and_said(first_seed: int) -> None:
    """Held against finite differences alone; `controller_fuzz.py` does a million of them."""
    worst = fuzz(2500, first_seed)
    assert worst.commands >= 2500
    assert all(ratio <= 1.0 + 1e-6 for ratio in worst.ratios.values()), worst.ratios
    assert worst.counters["holding_limiter"] == 0
    assert len(RATES_HZ) == 3  # one after the other, by the seed


def waving(rig: Rig) -> Callable[[], None]:
    """Ask for an elbow that swings, three times a second."""

    def ask() -> None:
        due_s = (rig.now_ns + STEP_NS * np.arange(1, 31)) / 1e9
        path = np.tile(ROBOT.home, (30, 1))
        path[:, ELBOW] += 0.3 * np.sin(4.0 * due_s)
        rig.controller.on_chunk(Chunk(rig.now_ns, STEP_NS, path), "policy", rig.now_ns)

    return ask


@pytest.mark.parametrize("bad", ["outlier", "zeros", "NaN", "an old one", "another robot's", "from the future"])
def test_a_bad_measurement_changes_no_command(bad: str) -> None:
    def commands(disturbed: bool) -> np.ndarray:
        rig = Rig().running()
        ask = waving(rig)
        for tick in range(200):
            if tick % 30 == 0:
                ask()
            if disturbed and tick % 17 == 8:
                wrong = {
                    "outlier": moved(rig.measured, ELBOW, 0.9),
                    "zeros": np.zeros(S),
                    "NaN": moved(rig.measured, 3, np.nan),
                    "another robot's": ROBOT.home[::-1].copy(),
                }.get(bad, moved(rig.measured, ELBOW, 0.12))
                shift = {"an old one": -30_000_000, "from the future": 500_000_000}.get(bad, 1)
                rig.controller.on_state(wrong, rig.now_ns + shift, rig.now_ns)
            rig.tick()
        assert rig.controller.mode == "running"
        return np.array(rig.commands)

    np.testing.assert_array_equal(commands(disturbed=True), commands(disturbed=False))


def test_zeros_that_last_are_a_driver_that_knows_nothing() -> None:
    rig = Rig().running()
    rig.follows = False
    rig.measured = np.zeros(S)
    command = rig.tick(200)
    assert command.mode == "holding"
    assert "newer ones are refused" in command.reason
    np.testing.assert_array_equal(command.positions, ROBOT.home)


def test_the_arms_at_zero_are_a_driver_that_knows_nothing_either() -> None:
    """Of several topics one alone says zeros."""
    rig = Rig().running()
    rig.controller.hold()
    rig.follows = False
    rig.measured = ROBOT.home.copy()
    rig.measured[4:18] = 0.0
    np.testing.assert_array_equal(rig.tick(200).positions, ROBOT.home)


def test_a_wrong_value_that_many_messages_repeat_for_a_moment_is_not_where_it_is_armed() -> None:
    """As one of a slow topic is repeated with every message of a quick one."""
    rig = Rig()
    rig.tick(5)
    for _ in range(8):
        rig.now_ns += 2_000_000
        rig.controller.on_state(moved(rig.measured, 1, -0.4), rig.now_ns, rig.now_ns)
        assert "not believed" in rig.controller.arm(rig.now_ns)
    rig.tick(30)
    assert rig.controller.arm(rig.now_ns) == ""
    np.testing.assert_array_equal(rig.tick().positions, ROBOT.home)


def test_a_robot_that_follows_another_commander_is_not_followed() -> None:
    rig = Rig().running()
    rig.controller.hold()
    rig.follows = False
    rig.controller.on_conflict("", rival=RIVAL)
    for push in np.linspace(0.0, 1.0, 80):
        rig.measured = moved(ROBOT.home, ELBOW, push)
        rig.tick()
    assert len(rig.commands) < 10
    assert rig.controller.mode == "idle"


def test_shadows_do_not_stop_the_clock_of_the_deadmans_switch() -> None:
    rig = Rig(deadman_s=0.2)
    rig.tick(5)
    rig.controller.on_deadman(True, rig.now_ns)
    for _ in range(50):
        rig.play()
        rig.tick()
    assert rig.controller.arm(rig.now_ns) == "the deadman's switch is not pressed"


@pytest.mark.parametrize("value", [1e3, 1e200, 1.7e308])
def test_a_grippers_number_that_is_no_decision_is_refused(value: float) -> None:
    rig = Rig().running()
    points = np.tile(rig.measured, (50, 1))
    points[::2, -2:] = value
    for source in ("policy", "teleop"):
        verdict = rig.controller.on_chunk(rig.fields(points=points), source, rig.now_ns)  # type: ignore[arg-type]
        assert "left_gripper is" in verdict.reason
    assert rig.tick(10).mode == "running"


@pytest.mark.parametrize(("period_s", "inference_s"), [(1.6, 0.8), (0.5, 0.8), (0.2, 0.65), (0.1, 0.6), (1.0, 0.9)])
def test_a_slow_policy_that_lives_is_not_missed(period_s: float, inference_s: float) -> None:
    rig = Rig().running()
    due, answers = 0, []
    for tick in range(1500):
        if tick % 5 == 0:
            rig.controller.on_heartbeat("", period_s)
        if tick >= due:
            answers.append((tick + round(100 * inference_s), rig.chunk(points=50)))
            due = tick + round(100 * max(period_s, inference_s))
        while answers and answers[0][0] <= tick:
            assert rig.controller.on_chunk(answers.pop(0)[1], "policy", rig.now_ns).accepted
        assert rig.tick().mode == "running", rig.controller.reason


def test_states_that_are_stamped_ahead_are_old_once_they_stop() -> None:
    rig = Rig()
    for ahead_ns in (70_000_000, 80_000_000, 90_000_000):
        rig.controller.on_state(ROBOT.home, rig.now_ns + ahead_ns, rig.now_ns)
    rig.tick(1, state=False)
    assert rig.controller.arm(rig.now_ns) == ""
    command = rig.tick(40, state=False)
    assert command.mode == "holding"
    assert "the joint state is 0.2" in command.reason
    for _ in range(40):
        rig.now_ns += PERIOD_NS
        rig.controller.on_state(ROBOT.home, rig.now_ns + 2_000_000_000, rig.now_ns)
        rig.controller.update(rig.now_ns, rig.now_ns)
    assert "stamped 2.00 s ahead" in rig.controller.run(rig.now_ns)


def test_a_computer_that_stalls_does_not_take_its_own_pause_for_the_robots_silence() -> None:
    rig = Rig(max_period_s=1.0).running()
    for _ in range(10):
        rig.now_ns += 200_000_000  # a state comes after each pause
        rig.tick(3)
    assert rig.controller.mode == "running"


@pytest.mark.parametrize("push", ["suddenly", "bit by bit"])
def test_a_joint_that_is_pushed_away_while_it_holds_does_not_snap_back(push: str) -> None:
    rig = Rig().running()
    rig.controller.hold()
    rig.follows = False
    start = rig.measured.copy()
    for share in np.linspace(0.0, 1.0, 100) if push == "bit by bit" else np.ones(100):
        rig.measured = moved(start, ELBOW, 0.8 * share)
        rig.tick()
    rig.tick(60)
    assert_within_limits(rig.commands)
    np.testing.assert_allclose(rig.commands[-1], rig.measured, atol=0.03)
    rig.follows = True  # let go
    let_go = len(rig.commands)
    rig.tick(50)
    assert np.abs(np.array(rig.commands[let_go:]) - rig.commands[let_go]).max() < 0.03
    assert rig.controller.counters["limited_lead"] > 0


@pytest.mark.parametrize(("slot", "by"), [(LIFT, 0.2), (ELBOW, 0.8), (0, 0.8), (2, 0.6)])
def test_a_joint_that_jams_is_noticed_whatever_it_is(slot: int, by: float) -> None:
    rig = Rig().running()
    ramp = np.linspace(rig.measured, moved(rig.measured, slot, by), 60)
    jammed_at = rig.measured[slot]
    chunk = Chunk(rig.now_ns, STEP_NS, np.concatenate([ramp, np.tile(ramp[-1], (60, 1))]))
    assert rig.controller.on_chunk(chunk, "policy", rig.now_ns).accepted
    for _ in range(300):
        rig.tick()
        rig.measured[slot] = jammed_at
    assert rig.controller.counters["holding_not_following"] == 1
    unit = "m" if slot == LIFT else "rad"
    assert f"{NAMES[slot]} is 0." in rig.controller.reason
    assert f"{unit} from its command" in rig.controller.reason
    assert_within_limits(rig.commands)
    assert abs(rig.commands[-1][slot] - jammed_at) < 0.03  # it does not go on pressing


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda rig: rig.controller.on_conflict("", rival=RIVAL), "2 publishers on /joint_command"),
        (lambda rig: rig.controller.on_conflict("2 publishers on /joint_states: a, b"), "on /joint_states"),
        (lambda rig: rig.controller.on_deadman(False, rig.now_ns), "the deadman's switch is not pressed"),
        (lambda rig: rig.tick(40, state=False), "s old (limit 0.25 s)"),
        (lambda rig: outside(rig), "head_pitch is measured at 0.624, outside its limits (-0.349 to 0.524)"),
        (lambda rig: at_zero(rig), "left_arm_7, right_arm_1, "),
        (lambda rig: moves(rig), "left_arm_4 moves (0.1"),
        (lambda rig: jumps(rig), "the newest joint state is not believed: left_arm_4 is 1.000"),
    ],
)
def test_whatever_would_make_it_hold_refuses_to_arm(wrong: Callable[[Rig], object], words: str) -> None:
    rig = Rig(deadman_s=100.0)
    rig.controller.on_deadman(True, rig.now_ns)
    rig.tick(3)
    wrong(rig)
    assert words in rig.controller.arm(rig.now_ns)
    assert rig.controller.mode == "idle"
    assert rig.tick().positions is None


def test_one_joint_state_is_not_enough_to_arm() -> None:
    rig = Rig()
    rig.tick(2)
    assert rig.controller.arm(rig.now_ns) == "fewer than 3 joint states have arrived"
    rig.tick()
    assert rig.controller.arm(rig.now_ns) == ""


def at_zero(rig: Rig) -> None:
    """The arms' driver knows nothing, before anything is commanded."""
    rig.measured = ROBOT.home.copy()
    rig.measured[4:18] = 0.0
    rig.tick(60)


def moves(rig: Rig) -> None:
    for _ in range(30):
        rig.measured = moved(rig.measured, ELBOW, 0.005)
        rig.tick()


def outside(rig: Rig) -> None:
    rig.measured = moved(ROBOT.home, 1, ROBOT.upper[1] + 0.1 - ROBOT.home[1])
    rig.tick(10)


def jumps(rig: Rig) -> None:
    rig.controller.on_state(moved(rig.measured, ELBOW, 1.0), rig.now_ns + 1, rig.now_ns)


@pytest.mark.parametrize("mode", ["running", "armed", "holding", "stopped"])
def test_where_another_one_commands_it_brakes_and_then_sends_nothing_more(mode: str) -> None:
    rig = Rig().standing()
    rig.tick()
    rig.controller.arm(rig.now_ns)
    rig.tick(3)
    if mode != "armed":
        rig.controller.run(rig.now_ns)
        rig.play(moved(rig.measured, ELBOW, 0.8))
        rig.tick(15)
    if mode in ("holding", "stopped"):
        getattr(rig.controller, "hold" if mode == "holding" else "stop")()
    rig.controller.on_conflict("", rival=RIVAL)
    command = rig.tick(60)
    assert command.positions is None
    assert command.mode == ("stopped" if mode == "stopped" else "idle")
    assert RIVAL in command.reason
    assert_within_limits(rig.commands)
    np.testing.assert_array_equal(rig.commands[-1], rig.commands[-2])
    rig.controller.on_conflict("")
    assert rig.tick(30).positions is None
    assert rig.controller.reset() == ""
    assert rig.controller.arm(rig.now_ns) == ""


@pytest.mark.parametrize("ticks", [0, 3])
def test_idle_commands_nothing_whatever_is_said(ticks: int) -> None:
    rig = Rig()
    if ticks:
        rig.tick(ticks)
    for word in ("hold", "reset", "stop", "hold", "stop"):
        assert getattr(rig.controller, word)() == ""
        assert rig.tick(3, state=False).positions is None
    assert rig.controller.mode == "stopped"
    assert "reset it first" in rig.controller.arm(rig.now_ns)
    assert rig.controller.reset() == ""
    rig.tick(3)
    assert rig.controller.arm(rig.now_ns) == ""


@pytest.mark.parametrize(
    ("points", "step_ns", "kind"), [(2000, STEP_NS, "lengths"), (129, 10_000_000, "lengths"), (10, 60 * 10**9, "times")]
)
def test_a_chunk_without_bounds_is_refused_before_anything_is_computed(points: int, step_ns: int, kind: str) -> None:
    rig = Rig().running()
    fields = fields_of(Chunk(rig.now_ns, step_ns, np.tile(rig.measured, (points, 1))), NAMES)
    for source in ("policy", "teleop"):
        verdict = rig.controller.on_chunk(fields, source, rig.now_ns)  # type: ignore[arg-type]
        assert not verdict.accepted
        assert "expected at most" in verdict.reason
    assert rig.controller.counters[f"rejected_{kind}"] == 2


def asks_every(rig: Rig, ticks: int, period: int, beat: str | None = None) -> None:
    for tick in range(ticks):
        if tick % period == 0:
            rig.play(points=40)
        if beat is not None and tick % 5 == 0:
            rig.controller.on_heartbeat(beat, period / 100)
        rig.tick()


def test_a_policy_without_a_heartbeat_is_missed_by_its_rhythm() -> None:
    rig = Rig().running()
    asks_every(rig, 200, 20)
    assert rig.controller.mode == "running"
    command = rig.tick(27)  # the next chunk is missed from now on
    assert command.mode == "holding"
    assert "the policy has been silent: no chunk for 0.4" in command.reason
    assert "one comes every 0.20 s" in command.reason


def test_a_policy_with_a_heartbeat_is_missed_by_it_and_may_infer_slowly() -> None:
    rig = Rig().running()
    asks_every(rig, 200, 20, beat="")
    for tick in range(30):  # late, but alive
        if tick % 5 == 0:
            rig.controller.on_heartbeat("", 0.2)
        assert rig.tick().mode == "running", tick
        if tick == 22:
            rig.play(points=40)
    rig.controller.on_heartbeat("", 0.2)
    command = rig.tick(32)
    assert command.mode == "holding"
    assert "the policy has been silent: no heartbeat for 0.31 s" in command.reason


def test_what_the_policy_cannot_do_it_says_and_the_robot_holds_at_once() -> None:
    rig = Rig().running()
    asks_every(rig, 100, 20, beat="")
    rig.tick(6)
    rig.controller.on_heartbeat("camera head: newest message is 240 ms old, limit 200 ms", 0.2)
    command = rig.tick()
    assert command.mode == "holding"
    assert command.reason.startswith("the policy does not infer: camera head")
    assert rig.controller.counters["holding_policy"] == 1


def test_a_complaint_from_before_the_first_chunk_does_not_count() -> None:
    """As of a policy that has just been activated: nothing had been inferred yet."""
    rig = Rig().running()
    for order in ((0, 1), (1, 0)):
        rig.controller.hold()
        rig.tick(60)
        assert rig.controller.run(rig.now_ns) == ""
        rig.tick()
        words = (lambda: rig.controller.on_heartbeat("nothing has been inferred", 0.2), lambda: rig.play(points=40))
        for index in order:
            words[index]()
        assert rig.tick(4).mode == "running"
        asks_every(rig, 40, 20, beat="")
        assert rig.controller.mode == "running"


def test_a_chunk_is_not_played_on_an_observation_that_is_too_old() -> None:
    """Of a policy that lives and whose chunks are all refused."""
    rig = Rig().running()
    asks_every(rig, 40, 20, beat="")
    long_ago = rig.now_ns
    rig.play(points=120)
    for tick in range(150):
        if tick % 5 == 0:
            rig.controller.on_heartbeat("", 0.2)
        if tick % 20 == 0:
            rig.controller.on_chunk(rig.fields(points=[[np.nan] * S] * 50), "policy", rig.now_ns)
        if rig.tick().mode == "holding":
            break
    assert "an observation that is 1.4" in rig.controller.reason
    assert (rig.now_ns - long_ago) / 1e9 < 1.5


def test_a_teleoperator_needs_no_heartbeat() -> None:
    rig = Rig().running()
    asks_every(rig, 100, 20, beat="")
    rig.play(moved(rig.measured, ELBOW, 0.1), "teleop", points=20)
    assert rig.tick(300).mode == "running"
