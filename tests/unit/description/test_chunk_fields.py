"""A chunk survives its journey as a message, and the state comes together from its topics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import TRAJECTORY, check_fields, read_trajectory, write_trajectory
from activemimic_description.codec import CodecError
from activemimic_description.common.rates import PeriodMonitor
from activemimic_description.contract import JointSource, load_contract
from activemimic_description.measured_state import MeasuredState
from activemimic_description.messages import BagMessages
from activemimic_description.robot import load_robot

HAL = load_contract("g1_hal")
HOME = load_robot("g1").home


@pytest.mark.parametrize("fps", [10, 15, 30, 60])
def test_a_chunk_is_the_same_after_being_sent(fps: int) -> None:
    messages = BagMessages()
    sent = Chunk(1_700_000_000_123_456_789, round(1e9 / fps), np.random.default_rng(0).normal(size=(50, len(HOME))))
    wire = messages.serialize(write_trajectory(sent, HAL.slots, messages), TRAJECTORY)
    received = check_fields(read_trajectory(messages.store.deserialize_cdr(wire, TRAJECTORY)), HAL.slots)
    assert (received.stamp_ns, received.step_ns) == (sent.stamp_ns, sent.step_ns)
    np.testing.assert_array_equal(received.positions, sent.positions)


def message(source: JointSource, value: float, stamp_s: int) -> Any:
    """A message of any type in which every field of `source` reads `value`, raw."""
    stamp = SimpleNamespace(sec=stamp_s, nanosec=0)
    raw = SimpleNamespace(position=value)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp),
        name=[field.name for field in source.fields],
        position=[value] * len(source.fields),
        motor_states=[raw] * 8,
        end_state=[raw] * 8,
    )


def test_the_state_is_whole_once_every_topic_has_spoken_and_as_old_as_the_oldest() -> None:
    measured = MeasuredState(HAL)
    sources = list(HAL.state)
    assert len(sources) > 1
    for k, source in enumerate(sources[:-1]):
        assert measured.add(source.topic, message(source, 0.1, 100 + k), 200 * 10**9) is None
    whole = measured.add(sources[-1].topic, message(sources[-1], 0.1, 99), 200 * 10**9)
    assert whole is not None
    slots, stamp_ns = whole
    assert np.all(np.isfinite(slots))
    assert stamp_ns == 99 * 10**9
    newer = measured.add(sources[-1].topic, message(sources[-1], 0.1, 200), 200 * 10**9)
    assert newer is not None
    assert newer[1] == 100 * 10**9


def test_a_topic_stamped_ahead_or_out_of_order_does_not_count() -> None:
    measured, source, now_ns = MeasuredState(HAL), HAL.state[0], 200 * 10**9
    with pytest.raises(CodecError, match=r"stamped 3600.000 s ahead: do the clocks agree\?"):
        measured.add(source.topic, message(source, 0.1, 3800), now_ns)
    measured.add(source.topic, message(source, 0.1, 200), now_ns)
    late = message(source, 0.1, 200)
    late.header.stamp.sec, late.header.stamp.nanosec = 199, 900_000_000
    with pytest.raises(CodecError, match=r"stamped 0\.100 s before the message that came before it"):
        measured.add(source.topic, late, now_ns)


def test_a_late_period_shows_in_the_maximum_and_not_in_the_median() -> None:
    monitor = PeriodMonitor()
    assert monitor.summary().rate_hz == 0.0
    times_ns = np.cumsum([33_000_000] * 100 + [66_000_000] + [33_000_000] * 100)
    for time_ns in times_ns:
        monitor.add(int(time_ns))
    summary = monitor.summary()
    assert summary.period_p50_ms == pytest.approx(33.0)
    assert summary.period_max_ms == pytest.approx(66.0)
    assert summary.rate_hz == pytest.approx(200 / (times_ns[-1] - times_ns[0]) * 1e9)
