"""How regularly something happens, over a sliding window, and how late and how completely messages come."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PeriodSummary:
    """Rate and spread of the periods in a window; zeros while fewer than two events were seen."""

    rate_hz: float
    period_p50_ms: float
    period_p99_ms: float
    period_max_ms: float


class PeriodMonitor:
    """Remembers the times of the last `size` events."""

    def __init__(self, size: int = 300) -> None:
        self._times_ns: deque[int] = deque(maxlen=size)

    def add(self, now_ns: int) -> None:
        self._times_ns.append(now_ns)

    def reset(self) -> None:
        self._times_ns.clear()

    def summary(self) -> PeriodSummary:
        periods_ms = np.diff(np.array(self._times_ns, dtype=np.int64)) / 1e6
        if not len(periods_ms):
            return PeriodSummary(0.0, 0.0, 0.0, 0.0)
        return PeriodSummary(
            rate_hz=float(1e3 / periods_ms.mean()),
            period_p50_ms=float(np.percentile(periods_ms, 50)),
            period_p99_ms=float(np.percentile(periods_ms, 99)),
            period_max_ms=float(periods_ms.max()),
        )


class StreamMonitor:
    """What a stream of stamped messages loses on its way. `rate_hz` is what it should have."""

    def __init__(self, rate_hz: float) -> None:
        self.drops = 0  # messages that the gaps between stamps have room for, since the start
        self.lag_ms = 0.0  # of the newest message, from its stamp to its arrival
        self._period_ns = 1e9 / rate_hz
        self._stamp_ns: int | None = None
        self._stamps = PeriodMonitor(size=max(2, round(3 * rate_hz)))

    @property
    def rate_hz(self) -> float:
        """Of the stamps of the last three seconds' worth of messages."""
        return self._stamps.summary().rate_hz

    def add(self, stamp_ns: int, received_ns: int) -> None:
        self.lag_ms = (received_ns - stamp_ns) / 1e6
        if self._stamp_ns is not None:
            if stamp_ns <= self._stamp_ns:
                return  # the same again, or out of order: no gap ends here
            self.drops += max(0, round((stamp_ns - self._stamp_ns) / self._period_ns) - 1)
        self._stamp_ns = stamp_ns
        self._stamps.add(stamp_ns)
