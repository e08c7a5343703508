"""Whether the cameras and joint states that a policy needs are there now, by a clock that nobody can set.

Stamps say what belongs together; they do not say that a source still speaks: one that runs ahead would go on for as
long after it fell silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from activemimic_description.codec import CodecError, check_image_header, stamp_ns
from activemimic_description.contract import CameraSource, JointSource
from activemimic_description.measured_state import SET_BACK_NS

BEAT_S = 0.05
BEAT_NS = round(BEAT_S * 1e9)


class LivedTime:
    """How long this process has run, in ns: what passes between two beats beyond `longest_ns`, it stood still.

    Whoever stands still hears nobody, and others' silence during that time is not theirs.
    """

    def __init__(self, longest_ns: int = BEAT_NS) -> None:
        self.ns = 0
        self._longest_ns = longest_ns
        self._last_ns: int | None = None

    def beat(self, steady_ns: int) -> None:
        """Call it at every beat with the time of a clock that only runs forward."""
        if self._last_ns is not None:
            self.ns += max(0, min(steady_ns - self._last_ns, self._longest_ns))
        self._last_ns = steady_ns


@dataclass
class _Newest:
    """The message with the newest stamp, and how long after that it came; `timely_ns` is of the last that came in time.

    One alone that comes late proves nothing: it may have waited here while this process stood still.
    """

    stamp_ns: int
    lag_ns: int
    timely_ns: int  # lived time


class Arrivals:
    """What came last from each of some sources."""

    def __init__(self, sources: Sequence[CameraSource | JointSource]) -> None:
        self._sources = {source.topic: source for source in sources}
        self._newest: dict[str, _Newest] = {}
        self._wrong: dict[str, str] = {}  # by topic, until a good one comes

    def set_back(self, topic: str, stamp_ns: int) -> bool:
        """Whether a message of this stamp says that its source's clock was set back."""
        newest = self._newest.get(topic)
        return newest is not None and stamp_ns < newest.stamp_ns - SET_BACK_NS

    def clear(self) -> None:
        """Forget everything."""
        self._newest.clear()
        self._wrong.clear()

    def add(self, topic: str, message: Any, received_ns: int, lived_ns: int) -> bool:
        """Take a message received at `received_ns` of the clock of the stamps; whether its stamp is the newest."""
        source, stamp = self._sources[topic], stamp_ns(message)
        if isinstance(source, CameraSource):
            try:
                check_image_header(source, message)
                self._wrong.pop(topic, None)
            except CodecError as error:
                self._wrong[topic] = str(error)
        newest = self._newest.get(topic)
        if newest is not None and stamp <= newest.stamp_ns:
            return False
        lag_ns = received_ns - stamp
        timely_ns = newest.timely_ns if newest and lag_ns > 1e6 * source.max_age_ms else lived_ns
        self._newest[topic] = _Newest(stamp, lag_ns, timely_ns)
        return True

    def problems(self, lived_ns: int) -> list[str]:
        """A sentence for each source that is missing, late, or not what the contract says."""
        found = [problem for topic in self._sources if (problem := self._late(topic, lived_ns))]
        return found + list(self._wrong.values())

    def _late(self, topic: str, lived_ns: int) -> str:
        source, newest = self._sources[topic], self._newest.get(topic)
        what = f"camera {source.name} ({topic})" if isinstance(source, CameraSource) else f"state {topic}"
        if newest is None:
            return f"{what}: no message yet"
        limit_ms, silent_ms, lag_ms = source.max_age_ms, (lived_ns - newest.timely_ns) / 1e6, newest.lag_ns / 1e6
        if silent_ms <= limit_ms:
            return ""
        if lag_ms > limit_ms:
            return f"{what}: comes {lag_ms:.0f} ms after its stamp, limit {limit_ms:.0f} ms"
        return f"{what}: no newer message for {silent_ms:.0f} ms, limit {limit_ms:.0f} ms"
