"""Latencies of a policy, replayed: in lock-step a chunk is there at once unless this says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from activemimic_description.chunk import Chunk


@dataclass(frozen=True)
class Latencies:
    """How long each chunk of a trial takes from its observation to the controller.

    Attributes:
        recorded_ms: replayed in this order, over and over, from a place that the trial's seed draws; None: the chunk
            is lost on the way, after as long as the one before took.
        first_ms: of a trial's first chunk, if it differs.
    """

    recorded_ms: Sequence[float | None]
    first_ms: float | None = None

    def __post_init__(self) -> None:
        times = [ms for ms in (*self.recorded_ms, self.first_ms) if ms is not None]
        if not self.recorded_ms or any(not (np.isfinite(ms) and ms >= 0) for ms in times):
            raise ValueError(f"latencies: expected at least one, finite and not negative, found {self.recorded_ms}")

    def replay(self, seed: int) -> LatencyReplay:
        """The latencies of one trial."""
        return LatencyReplay(self, int(np.random.default_rng([seed, 19]).integers(len(self.recorded_ms))))


class LatencyReplay:
    """One trial's latencies, one after the other."""

    def __init__(self, latencies: Latencies, start: int) -> None:
        self._latencies, self._next = latencies, start
        self._first = latencies.first_ms is not None
        known = [ms for ms in latencies.recorded_ms if ms is not None]
        self._before_ms = known[0] if known else 0.0

    def draw(self) -> tuple[int, bool]:
        """Nanoseconds of the next chunk, and whether it arrives."""
        if self._first and self._latencies.first_ms is not None:
            self._first = False
            return round(self._latencies.first_ms * 1e6), True
        ms = self._latencies.recorded_ms[self._next % len(self._latencies.recorded_ms)]
        self._next += 1
        if ms is None:
            return round(self._before_ms * 1e6), False
        self._before_ms = ms
        return round(ms * 1e6), True


class LateChunks:
    """Asks for a chunk when the policy node would, and hands it over when the node's chunk would have arrived."""

    def __init__(self, replay: LatencyReplay) -> None:
        self._replay = replay
        self._ask_ns: int | None = None  # the first chunk is asked for at once
        self._coming: tuple[int, Chunk, bool] | None = None  # when, what, and whether it arrives

    def due(
        self, now_ns: int, period_ns: int, infer: Callable[[], Chunk], sent: Callable[[Chunk, int], None]
    ) -> Chunk | None:
        """The chunk that arrives now, if any. One that is under way lets no other begin.

        `sent` is called with every chunk and the time, also with those that are lost: who sends does not know.
        """
        arrived = self._take(now_ns, sent)
        if self._coming is None and (self._ask_ns is None or now_ns >= self._ask_ns):
            latency_ns, arrives = self._replay.draw()
            self._ask_ns = now_ns + max(period_ns, latency_ns)
            self._coming = (now_ns + latency_ns, infer(), arrives)
            arrived = self._take(now_ns, sent) or arrived
        return arrived

    def _take(self, now_ns: int, sent: Callable[[Chunk, int], None]) -> Chunk | None:
        if self._coming is None or now_ns < self._coming[0]:
            return None
        _, chunk, arrives = self._coming
        self._coming = None
        sent(chunk, now_ns)
        return chunk if arrives else None
