"""How regularly something happens, over a sliding window."""

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
