"""What became of a chunk: its age, its first command, and when the robot was seen to follow."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from activemimic_control.timing import ChunkTimer, ChunkTimes
from activemimic_description.common.rates import StreamMonitor

MS = 1_000_000
T0 = 10**15
SPEED = 0.5  # rad/s


def drive(delay_ms: int, state_ms: int = 33, speed: float = SPEED, source: str = "policy") -> list[ChunkTimes]:
    """A chunk of 50 ms age arrives at 1 s and again at 2 s; a robot that follows its commands `delay_ms` late."""
    timer = ChunkTimer(slots=2)
    told: list[ChunkTimes | None] = []

    def commanded(ms: int) -> np.ndarray:
        return np.array([0.1, speed * max(0, ms - 1004) / 1e3])

    for ms in range(0, 2300):
        if ms % state_ms == 0:
            told.append(timer.on_state(commanded(ms - delay_ms), T0 + ms * MS))
        if ms in (1000, 2000):
            told.append(timer.on_chunk(T0 + (ms - 50) * MS, "policy", T0 + ms * MS))
        if ms % 10 == 4:
            timer.on_command(commanded(ms), source if ms >= 1000 else "", T0 + ms * MS)
    return [times for times in told if times is not None]


@pytest.mark.parametrize("delay_ms", [20, 60, 100])
def test_motion_is_the_delay_with_which_the_robot_follows(delay_ms: int) -> None:
    first, second = drive(delay_ms)
    assert first.stamp_ns == T0 + 950 * MS
    for times in (first, second):
        assert times.chunk_age_ms == pytest.approx(50.0)
        assert times.first_command_ms == pytest.approx(4.0)
    # At first the robot rests: the stretch between two states in which it sets off is no straight line.
    assert first.motion_ms == pytest.approx(delay_ms, abs=20)
    assert second.motion_ms == pytest.approx(delay_ms, abs=0.5)


def test_a_robot_that_is_at_once_where_it_is_told_takes_no_longer_than_a_state() -> None:
    first, _ = drive(0)
    assert 0 <= first.motion_ms < 34


def test_of_a_chunk_that_moves_nothing_no_motion_is_told() -> None:
    (times,) = drive(60, speed=0.01)  # told when the next one comes
    assert times.first_command_ms == pytest.approx(4.0)
    assert math.isnan(times.motion_ms)


def test_commands_on_behalf_of_another_are_not_its_own() -> None:
    (times,) = drive(60, source="teleop")
    assert math.isnan(times.first_command_ms)
    assert math.isnan(times.motion_ms)


def test_gaps_between_stamps_are_drops_and_jitter_of_arrival_is_not() -> None:
    stream = StreamMonitor(rate_hz=20.0)
    late_ms = [5, 40, 0, 12]
    for k in range(100):
        if k not in (30, 60, 61):
            stream.add(T0 + k * 50 * MS, T0 + (k * 50 + late_ms[k % 4]) * MS)
    assert stream.drops == 3
    assert stream.lag_ms == late_ms[99 % 4]
    assert stream.rate_hz == pytest.approx(20.0 * 56 / 59, rel=0.02)


def test_a_stream_whose_stamps_jitter_and_repeat_loses_nothing() -> None:
    stream = StreamMonitor(rate_hz=30.0)
    stamps = [T0 + int(k * 1e9 / 30) + (k % 3) * 8 * MS for k in range(60)]
    assert all(after > before for before, after in pairwise(stamps))
    for stamp in stamps:
        stream.add(stamp, stamp)
        stream.add(stamp, stamp)
    assert stream.drops == 0
