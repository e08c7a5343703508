"""Chunks are played on the controller's clock, without jumps, with grippers that do not flutter."""

import numpy as np
import pytest
from activemimic_control.gripper_latch import GripperLatch
from activemimic_control.player import ChunkPlayer
from activemimic_description.chunk import Chunk, ChunkError

MS = 1_000_000
STEP = 100 * MS
SLOTS = ("joint", "gripper")


def chunk(joint, gripper=None, stamp_ns=0, step_ns=STEP):
    gripper = np.zeros(len(joint)) if gripper is None else gripper
    return Chunk(stamp_ns, step_ns, np.stack([joint, gripper], axis=1).astype(np.float64))


def player(**options):
    return ChunkPlayer(SLOTS, ("gripper",), **options)


def played(it, times_ms):
    """Joint and gripper at the times; a time without a command is left out."""
    samples = [it.sample(t * MS) for t in times_ms]
    return np.array([x.position for x in samples if x is not None])


def test_nothing_is_commanded_before_a_chunk_and_after_its_last_point():
    it = player()
    assert it.sample(0) is None
    it.accept(chunk([1, 2, 3]))
    assert it.sample(300 * MS) is not None
    assert it.sample(301 * MS) is None


def test_point_k_is_commanded_k_plus_one_steps_after_the_stamp_and_between_points_smoothly():
    it = player()
    it.accept(chunk([1, 2, 4], stamp_ns=1000 * MS))
    joint = played(it, [1100, 1150, 1200, 1250, 1300])[:, 0]
    assert joint[::2] == pytest.approx([1, 2, 4])
    # The parabola through the three: an eighth of the second difference below the straight lines.
    assert joint[1::2] == pytest.approx([1.5 - 1 / 8, 3 - 1 / 8])
    it = player()
    it.accept(chunk([1, 2, 3], stamp_ns=2000 * MS))
    assert played(it, [2250, 2275])[:, 0] == pytest.approx([2.5, 2.75])


def test_the_first_chunk_after_a_reset_starts_from_the_given_pose():
    it = player()
    it.reset([[10.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    it.accept(chunk([20, 30]))
    joint = played(it, range(0, 201, 10))[:, 0]
    assert joint[[0, 10, 15, 20]] == pytest.approx([10, 20, 25, 30])
    assert joint[1] - joint[0] < 0.2 < joint[10] - joint[9]  # it sets out from rest
    assert np.all(np.diff(joint) > -0.2)


def test_a_new_chunk_starts_from_the_last_command_and_joins_its_own_points():
    it = player()
    it.accept(chunk([0, 0, 0, 0, 0]))
    played(it, range(0, 201, 20))
    it.accept(chunk([9, 9, 1, 1, 1], stamp_ns=0))  # late by two points; it has two steps to join
    joint = played(it, range(220, 501, 20))[:, 0]
    assert np.all(np.diff(joint) >= -1e-9)
    assert joint[4] == pytest.approx(0.5)  # the way of least jerk, from 0 at 200 ms to 1 at 400 ms
    assert joint[9:] == pytest.approx([1, 1, 1, 1, 1, 1])


def test_a_disagreement_is_spread_over_at_least_half_a_step():
    it = player()
    it.accept(chunk([0, 0, 0, 0, 0]))
    played(it, range(0, 96, 5))
    it.accept(chunk([1, 1, 1, 1, 1]))  # its first point is due 5 ms after the last command
    joint = np.concatenate([[0], played(it, range(100, 301, 5))[:, 0]])
    assert np.diff(joint).max() <= 5 / 50
    assert joint[-1] == 1


@pytest.mark.parametrize("delay_ms", [0, 30, 60, 90, 120, 250])
def test_no_delay_of_the_policy_makes_a_jump(delay_ms):
    it = player(latch_grippers=False)
    random = np.random.default_rng(0)
    commands = []
    for t in range(0, 2000, 10):
        if t >= delay_ms and (t - delay_ms) % 300 == 0:
            stamp = t - delay_ms
            it.accept(chunk(0.1 * random.normal(size=8), stamp_ns=stamp * MS))
        command = it.sample(t * MS)
        if command is not None:
            commands.append(command.position[0])
    # Points differ by at most about 0.5, in at least 50 ms, seen every 10 ms.
    assert np.abs(np.diff(commands)).max() < 0.5 * 10 / 50


def test_a_chunk_after_a_pause_starts_from_the_last_command_too():
    it = player()
    it.accept(chunk([5, 5]))
    for t in range(0, 1000, 10):  # exhausted at 200 ms; the controller holds and keeps asking
        it.sample(t * MS)
    it.accept(chunk([7, 8], stamp_ns=1000 * MS))
    joint = played(it, [1000, 1050, 1100])[:, 0]
    assert joint[0] == pytest.approx(5, abs=0.02)
    assert 5.5 < joint[1] < 6.5
    assert joint[2] == pytest.approx(7)


def test_an_unsound_chunk_is_refused_and_the_running_one_goes_on():
    it = player()
    it.accept(chunk([1, 1]))
    for bad, complaint in [
        (chunk([1, np.nan]), "found nan for joint at point 1"),
        (chunk([1, 2], step_ns=0), "positive step"),
        (Chunk(0, STEP, np.zeros((2, 3))), "expected 2 slots, found 3"),
        (Chunk(0, STEP, np.zeros((0, 2))), "shape"),
        (Chunk(0, STEP, np.zeros(2)), "shape"),
    ]:
        with pytest.raises(ChunkError, match=complaint):
            it.accept(bad)
    assert it.sample(150 * MS).position[0] == 1


def test_changing_a_command_does_not_change_what_is_played():
    it = player()
    it.accept(chunk([1, 2]))
    wanted = it.sample(100 * MS)
    wanted.position[0] = wanted.velocity[0] = 99
    assert it.sample(150 * MS).position[0] == pytest.approx(1.5)


def test_the_latch_closes_at_one_half_and_reopens_at_the_eighth_open_step_in_a_row():
    latch = GripperLatch()
    assert [latch.update(x) for x in (0.0, 0.49, 0.5)] == [0, 0, 1]
    assert [latch.update(0.0) for _ in range(7)] == [1] * 7
    assert latch.update(0.9) == 1
    assert [latch.update(0.1) for _ in range(9)] == [1] * 7 + [0, 0]


def test_the_latch_reopens_at_once_when_the_open_steps_are_ahead():
    latch = GripperLatch()
    latch.update(1.0)
    assert [latch.update(0.0, ahead) for ahead in (6, 5)] == [1, 1]  # two open steps, then closed again
    assert latch.update(1.0) == 1
    assert latch.update(0.0, 7) == 0


def test_a_hand_opens_before_the_arm_withdraws_but_not_for_a_draw_that_wavers():
    it = player()
    it.accept(chunk(np.zeros(16), [1, 1, 1] + [0] * 13))
    times = np.arange(10, 1600, 10)
    gripper = played(it, times)[:, 1]
    assert times[np.flatnonzero(gripper == 1)[-1]] == pytest.approx(300, abs=20)
    it = player()
    it.accept(chunk(np.zeros(16), [1, 1, 1] + [0] * 7 + [1] * 6))
    assert set(played(it, times)[10:, 1]) == {1.0}


def test_a_latched_gripper_is_open_or_closed_and_counts_the_chunks_steps_not_control_ticks():
    it = player()
    it.accept(chunk(np.zeros(9), [0, 0.6] + [0] * 7))
    times = np.arange(10, 900, 10)
    gripper = played(it, times)[:, 1]
    assert set(gripper) == {0.0, 1.0}
    closed = times[gripper == 1]
    assert closed[0] == pytest.approx(100, abs=20)  # as soon as the point that closes is headed for
    assert closed[-1] == times[-1]  # seven steps are too few, however many ticks they last


def test_chunks_that_replace_each_other_quickly_do_not_count_a_step_twice():
    it = player()
    it.reset([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    opened = None
    for t in range(0, 2000, 10):
        if t % 50 == 0:
            it.accept(chunk(np.zeros(4), stamp_ns=t * MS))
        if it.sample(t * MS).position[1] == 0 and opened is None:
            opened = t
    assert opened == pytest.approx(400, abs=60)  # the fifth step, with three ahead, begins after four


def test_a_closing_point_that_falls_between_two_slow_ticks_is_not_missed():
    it = player()
    it.accept(chunk(np.zeros(10), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]))
    assert played(it, [10, 150, 450])[:, 1].tolist() == [0, 0, 1]


def test_without_the_latch_a_gripper_follows_like_any_slot():
    it = player(latch_grippers=False)
    it.accept(chunk([0, 0], [0.2, 0.4]))
    assert played(it, [100, 150])[:, 1] == pytest.approx([0.2, 0.3])


def test_a_reset_with_a_closed_gripper_keeps_it_closed():
    it = player()
    it.reset([[0.0, 0.8], [0.0, 0.0], [0.0, 0.0]])
    it.accept(chunk(np.zeros(4)))
    assert played(it, [10, 50])[:, 1].tolist() == [1, 1]
