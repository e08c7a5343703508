"""Chunks: taken whole or rejected whole, and followed."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_control.chunk_validation import NOISE
from activemimic_description.chunk import Chunk
from controller_rig import (
    ELBOW,
    NAMES,
    ROBOT,
    STEP_NS,
    T0,
    Rig,
    S,
    moved,
)


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
