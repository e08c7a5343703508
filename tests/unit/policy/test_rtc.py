"""What a chunk goes on from, and how much of it is decided."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from activemimic_description.chunk import Chunk
from activemimic_policy.rtc import DELAYS, UNKNOWN_DELAY_STEPS, RealTimeChunking, RtcError
from hypothesis import given
from hypothesis import strategies as st

MS = 1_000_000
STEP = 100 * MS
T0 = 10**15
LIMITS = np.array([1.0, 3.0, 2.5])


def rtc(rtc_mode: str = "auto", trained: int = 4) -> RealTimeChunking:
    spec = SimpleNamespace(
        slots=("neck", "arm", "grip"), absolute_slots=("grip",), step_ns=STEP, max_delay_steps=trained
    )
    return RealTimeChunking(spec, LIMITS, rtc_mode)


def ramp(stamp_ns: int = T0, speed: float = 1.0, points: int = 16) -> Chunk:
    """Every slot moves at `speed` per second from 0 at the stamp."""
    due_s = 0.1 * np.arange(1, points + 1)
    return Chunk(stamp_ns, STEP, np.repeat(speed * due_s[:, None], 3, axis=1))


def at(time_s: float) -> np.ndarray:
    return np.full(3, time_s)


def warm(it: RealTimeChunking, *delays_ms: float) -> RealTimeChunking:
    """With a cold start and then these delays measured; the ramp is in flight."""
    for k, delay_ms in enumerate((5000.0, *delays_ms)):
        chunk = ramp(T0 - (len(delays_ms) - k) * STEP)
        it.sent(chunk, chunk.stamp_ns + round(delay_ms * MS))
    return it


def test_the_targets_are_on_the_grid_of_the_new_observation() -> None:
    it = warm(rtc(), 60)
    for offset_ms in (400, 433, 467):
        stamp_ns = T0 + offset_ms * MS
        in_flight = it.in_flight(stamp_ns, at(offset_ms / 1e3))
        assert in_flight is not None
        due_s = offset_ms / 1e3 + 0.1 * np.arange(1, len(in_flight.targets) + 1)
        assert due_s[-1] <= 1.6 < due_s[-1] + 0.1
        np.testing.assert_allclose(in_flight.targets, np.repeat(due_s[:, None], 3, axis=1), atol=1e-9)


@pytest.mark.parametrize(("delay_ms", "steps"), [(0, 0), (1, 1), (60, 1), (100, 1), (101, 2), (399, 4)])
def test_a_delay_is_counted_from_the_stamp_in_steps_that_have_begun(delay_ms: float, steps: int) -> None:
    it = warm(rtc(), delay_ms)
    assert it.delay_steps == steps
    in_flight = it.in_flight(T0 + 300 * MS, at(0.3))
    assert in_flight is not None
    assert in_flight.delay == steps


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40))
def test_the_longest_of_the_last_delays_is_expected_and_never_the_cold_first_one(delays_ms: list[int]) -> None:
    it = warm(rtc(), *delays_ms)
    assert it.delay_steps == max(-(-ms // 100) for ms in delays_ms[-DELAYS:])


def test_before_anything_is_measured_the_longest_delay_is_expected() -> None:
    assert warm(rtc()).delay_steps == 4
    assert warm(rtc("rtc_guided", trained=0)).delay_steps == UNKNOWN_DELAY_STEPS


def test_after_a_restart_the_next_inference_is_a_cold_one_again() -> None:
    it = warm(rtc(), 60)
    it.restart()
    assert it.in_flight(T0 + STEP, at(0.1)) is None
    it.sent(ramp(T0 + STEP), T0 + 40 * STEP)
    assert it.delay_steps == 1


def test_a_delay_beyond_what_was_trained_is_clamped_and_counted() -> None:
    it = warm(rtc(trained=2), 390)
    in_flight = it.in_flight(T0 + STEP, at(0.1))
    assert in_flight is not None
    assert in_flight.delay == 2
    assert it.counters == {"clamped": 1, "continued": 1}
    guided = warm(rtc("rtc_guided", trained=2), 390).in_flight(T0 + STEP, at(0.1))
    assert guided is not None
    assert guided.delay == 4


def test_no_more_is_decided_than_the_chunk_in_flight_still_has() -> None:
    it = warm(rtc(), 390)
    in_flight = it.in_flight(T0 + 1350 * MS, at(1.35))
    assert in_flight is not None
    assert (len(in_flight.targets), in_flight.delay) == (2, 2)


def test_a_chunk_that_has_ended_is_not_gone_on_from() -> None:
    it = warm(rtc(), 60)
    assert it.in_flight(T0 + 1550 * MS, at(1.55)) is None
    assert it.in_flight(T0 + 5000 * MS, at(1.6)) is None
    assert it.counters == {"ended": 2}


def test_a_chunk_that_the_robot_does_not_execute_is_not_gone_on_from() -> None:
    """Slots may be 0.3 s late, and off by what is 0.1 s at their full speed; grippers may do as they like."""
    it = warm(rtc(), 60)
    now_ns = T0 + 1000 * MS
    for state, goes_on in (
        ([1.0, 1.0, 1.0], True),
        ([0.75, 0.7, 0.0], True),
        ([1.05, 1.2, 1.0], True),
        ([0.0, 1.0, 1.0], False),
        ([1.15, 1.0, 1.0], False),
        ([1.0, 1.4, 1.0], False),
    ):
        assert (it.in_flight(now_ns, np.array(state)) is not None) == goes_on, state
    assert it.counters == {"continued": 3, "strayed": 3}


def test_auto_takes_what_the_policy_was_trained_for() -> None:
    assert rtc("auto", trained=4).rtc_mode == "rtc_trained"
    assert rtc("auto", trained=0).rtc_mode == "replace"
    assert warm(rtc("replace")).in_flight(T0 + STEP, at(0.1)) is None


def test_what_the_policy_cannot_do_is_refused() -> None:
    with pytest.raises(RtcError, match=r"policy\.max_delay_steps"):
        rtc("rtc_trained", trained=0)
    with pytest.raises(RtcError, match="expected one of auto, replace"):
        rtc("mean")
