"""Chunks in lock-step that come as late as on the robot."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_description.chunk import Chunk
from activemimic_rollout.agents.latency import LateChunks, Latencies

MS = 1_000_000


def played(latencies: Latencies, seed: int = 0, period_ms: int = 400, ticks: int = 100) -> tuple[list, list, list]:
    """Stamps (ms) inferred, arrived and sent, with their times: a tick every 10 ms."""
    late = LateChunks(latencies.replay(seed))
    inferred, arrived, sent = [], [], []
    for now_ms in range(0, 10 * ticks, 10):

        def infer(now_ms: int = now_ms) -> Chunk:
            inferred.append(now_ms)
            return Chunk(now_ms * MS, 100 * MS, np.zeros((16, 1)))

        chunk = late.due(now_ms * MS, period_ms * MS, infer, lambda c, t: sent.append((c.stamp_ns // MS, t // MS)))
        if chunk is not None:
            arrived.append((chunk.stamp_ns // MS, now_ms))
    return inferred, arrived, sent


def test_a_chunk_bears_the_time_it_was_asked_for_and_comes_later() -> None:
    inferred, arrived, sent = played(Latencies([125.0]))
    assert inferred == [0, 400, 800]
    assert arrived == [(0, 130), (400, 530), (800, 930)]
    assert sent == arrived


def test_without_latency_a_chunk_is_there_at_once() -> None:
    _, arrived, _ = played(Latencies([0.0]))
    assert arrived == [(0, 0), (400, 400), (800, 800)]


def test_who_takes_longer_than_the_period_is_asked_again_when_done() -> None:
    inferred, arrived, _ = played(Latencies([600.0]))
    assert inferred == [0, 600]
    assert arrived == [(0, 600)]


def test_a_cold_start_is_late_once() -> None:
    _, arrived, _ = played(Latencies([50.0], first_ms=700.0))
    assert arrived == [(0, 700), (700, 750)]


def test_a_lost_chunk_does_not_arrive_and_its_sender_does_not_know() -> None:
    _, arrived, sent = played(Latencies([50.0, None]))
    assert len(sent) == 3
    assert len(arrived) == (2 if arrived[0][0] == 0 else 1)
    assert set(arrived) < set(sent)


def test_latencies_are_replayed_in_order_from_a_place_that_the_seed_draws() -> None:
    recorded = [10.0 * k for k in range(1, 31)]
    orders = {seed: Latencies(recorded).replay(seed).draw() for seed in range(20)}
    assert len(set(orders.values())) > 5
    replay = Latencies(recorded).replay(3)
    drawn = [replay.draw()[0] // (10 * MS) for _ in range(60)]
    assert set(np.diff(drawn)) == {1, -29}
    assert [Latencies(recorded).replay(3).draw()] == [orders[3]]


@pytest.mark.parametrize("recorded", [[], [-1.0], [float("nan")]])
def test_latencies_that_make_no_sense_are_refused(recorded: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least one, finite and not negative"):
        Latencies(recorded)
