"""The newest messages of every source, and the observation they make at one instant.

The policy node and the dataset converter both look through this buffer, so that live and offline observations are
chosen by the same rule: of every source the newest message whose stamp is not after the tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from activemimic_description.codec import decode_image, decode_slots, stamp_ns
from activemimic_description.contract import CameraSource, Contract, JointSource

# Beyond this between a message's stamp and its arrival, two clocks disagree rather than a network delays.
_CLOCK_GAP_NS = 500_000_000


class ObservationNotReady(RuntimeError):  # noqa: N818 - a state to wait for, not a mistake
    """There is no observation at the tick: names every missing or late source with its topic, age and limit."""


@dataclass(frozen=True)
class Observation:
    """What the robot saw and felt at `stamp_ns`."""

    stamp_ns: int
    images: dict[str, np.ndarray]  # camera name -> (H, W, 3) uint8 RGB
    state: np.ndarray  # (S,) float64, slot units
    ages_ns: dict[str, int]  # source (camera name, or state topic) -> age of its message at `stamp_ns`
    received_ns: int  # when the last of its messages arrived


class ObservationBuffer:
    """The last `history_s` seconds of every state source and camera, or of `cameras`. One thread adds and takes."""

    def __init__(self, contract: Contract, history_s: float = 1.0, cameras: Collection[str] | None = None) -> None:
        self._slots = len(contract.slots)
        self._history_ns = int(history_s * 1e9)
        self._sources = [
            _Source(name, camera, decode_image)
            for name, camera in contract.cameras.items()
            if cameras is None or name in cameras
        ]
        self._sources += [_Source(state.topic, state, decode_slots) for state in contract.state]
        self._by_topic = {source.spec.topic: source for source in self._sources}

    @property
    def topics(self) -> list[str]:
        """The topics to feed to `add`."""
        return list(self._by_topic)

    @property
    def sources(self) -> list[str]:
        """The keys of `Observation.ages_ns`: camera names, then state topics."""
        return [source.name for source in self._sources]

    def add(self, topic: str, msg: Any, received_ns: int) -> None:
        """Keep a message. It is decoded only if an observation needs it. Raises KeyError for a foreign topic."""
        self._by_topic[topic].add(_Entry(stamp_ns(msg), received_ns, msg), self._history_ns)

    def clear(self) -> None:
        """Forget everything, as after a reset of the simulation."""
        for source in self._sources:
            source.entries.clear()

    def newest_common_stamp_ns(self) -> int | None:
        """The latest instant up to which every source has spoken; None while one has not."""
        if any(not source.entries for source in self._sources):
            return None
        return min(source.entries[-1].stamp_ns for source in self._sources)

    def problems(self, tick_ns: int) -> list[str]:
        """Why there is no observation at `tick_ns`: a sentence for each missing or late source, empty if there is one.

        With the current time as tick it tells whether a source has stopped. Decodes nothing.
        """
        return [problem for source in self._sources if (problem := source.problem(tick_ns))]

    def snapshot(self, tick_ns: int) -> Observation:
        """The observation at `tick_ns`.

        Raises:
            ObservationNotReady: a source has no message at or before the tick, or only one older than its limit.
            CodecError: a message does not hold what the contract says.
        """
        if problems := self.problems(tick_ns):
            raise ObservationNotReady("; ".join(problems))
        images: dict[str, np.ndarray] = {}
        state = np.full(self._slots, np.nan)
        ages_ns: dict[str, int] = {}
        received_ns = 0
        for source in self._sources:
            entry = source.newest(tick_ns)
            assert entry is not None
            decoded = entry.decode(source)
            if isinstance(source.spec, CameraSource):
                images[source.name] = decoded
            else:
                indices, values = decoded
                state[indices] = values
            ages_ns[source.name] = tick_ns - entry.stamp_ns
            received_ns = max(received_ns, entry.received_ns)
        return Observation(tick_ns, images, state, ages_ns, received_ns)


@dataclass
class _Entry:
    stamp_ns: int
    received_ns: int
    msg: Any
    decoded: Any = None

    def decode(self, source: _Source) -> Any:
        if self.decoded is None:
            self.decoded = source.decode(source.spec, self.msg)
            self.msg = None
        return self.decoded


class _Source:
    """One source's messages, oldest first."""

    def __init__(self, name: str, spec: CameraSource | JointSource, decode: Callable[[Any, Any], Any]) -> None:
        self.name = name
        self.spec = spec
        self.decode = decode
        self.entries: deque[_Entry] = deque()

    def add(self, entry: _Entry, history_ns: int) -> None:
        at = len(self.entries)
        while at and self.entries[at - 1].stamp_ns > entry.stamp_ns:
            at -= 1
        self.entries.insert(at, entry)
        # The newest message from before the window stays: it is still what the source last said.
        oldest_ns = self.entries[-1].stamp_ns - history_ns
        while len(self.entries) > 1 and self.entries[1].stamp_ns <= oldest_ns:
            self.entries.popleft()

    def newest(self, tick_ns: int) -> _Entry | None:
        return next((entry for entry in reversed(self.entries) if entry.stamp_ns <= tick_ns), None)

    def problem(self, tick_ns: int) -> str | None:
        what = (
            f"camera {self.name} ({self.spec.topic})" if isinstance(self.spec, CameraSource) else f"state {self.name}"
        )
        entry = self.newest(tick_ns)
        if entry is None:
            if not self.entries:
                return f"{what}: no message yet"
            ahead_ms = (self.entries[0].stamp_ns - tick_ns) / 1e6
            return f"{what}: no message at or before the tick, the oldest kept is {ahead_ms:.0f} ms after it"
        age_ms = (tick_ns - entry.stamp_ns) / 1e6
        if age_ms <= self.spec.max_age_ms:
            return None
        text = f"{what}: newest message is {age_ms:.0f} ms old, limit {self.spec.max_age_ms:.0f} ms"
        gap_ns = entry.received_ns - entry.stamp_ns
        if abs(gap_ns) > _CLOCK_GAP_NS:
            text += f" (it arrived {gap_ns / 1e6:.0f} ms after its stamp: are the clocks synchronised?)"
        return text
