"""Rows on a fixed time grid from an episode's messages, looking only backwards, and the stretches that give none.

Row i stands at tick t_i = t_0 + i/fps. Its observation is the newest message of every source with stamp <= t_i, its
action the newest command of every sink with stamp <= t_(i+1): what was commanded for the step that follows. t_0 lies
5 ms after the first instant at which every source and every sink has spoken: sources run at about the grid's rate,
and one whose stamps fell on the ticks would, by a jitter of microseconds, be seen now fresh and now a step old.

A tick gives no row if the newest message of a source is older than the contract lets the policy act on
(`max_age_ms`) or than `max_gap_s`, or the newest command of a sink older than `max_gap_s`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from activemimic_description.codec import CodecError, decode_slots, stamp_ns
from activemimic_description.contract import JointSink
from activemimic_description.observation import Observation, ObservationBuffer, ObservationNotReady

from activemimic_data.bags import EpisodeReader
from activemimic_data.dataset.dataset_error import DatasetError

MAX_GAP_S = 0.3
# More than a timer's jitter, and little against the age of any image.
_CLEAR_OF_STAMPS_NS = 5_000_000
# A source this far behind the others is not waited for any longer; the buffer keeps a little more than that.
_PATIENCE_NS = 2_000_000_000
_HISTORY_S = 2.5
# No robot pauses this long within an episode: beyond it a clock has jumped.
_LONGEST_GAP_S = 600


@dataclass(frozen=True)
class Row:
    """One step: what was observed at `observation.stamp_ns`, and the robot vector commanded for the next tick."""

    observation: Observation
    action: np.ndarray  # (S,) float64, slot units


@dataclass(frozen=True)
class Cut:
    """A stretch of a recording that gives no rows, from one stamp to another, and why."""

    from_ns: int
    to_ns: int
    reason: str


def aligned_rows(reader: EpisodeReader, fps: int, max_gap_s: float = MAX_GAP_S) -> Iterator[Row | Cut]:
    """The rows of one episode in order, and between them, once for each gap, what was cut.

    What lies before the first tick and after the last is a cut if it is longer than `max_gap_s`.

    Raises:
        DatasetError: a topic of the contract is silent throughout, a message is wrong, or a clock jumps.
        BagError: the bag is damaged.
    """
    gap: Cut | None = None
    for found in _Aligner(reader, fps, max_gap_s).ticks():
        if isinstance(found, Row):
            if gap is not None:
                yield gap
                gap = None
            yield found
        elif gap is not None and gap.to_ns >= found.from_ns:
            gap = replace(gap, to_ns=found.to_ns)
            if gap.to_ns - gap.from_ns > _LONGEST_GAP_S * 1_000_000_000:
                raise DatasetError(
                    f"{reader.folder}: stamps jump by more than {_LONGEST_GAP_S} s: expected one clock; {gap.reason}"
                )
        else:
            if gap is not None:
                yield gap
            gap = found
    if gap is not None:
        yield gap


class _Aligner:
    """Walks the ticks while messages come in; a tick without a row is a cut of one step."""

    def __init__(self, reader: EpisodeReader, fps: int, max_gap_s: float) -> None:
        contract = reader.contract
        self._reader, self._fps = reader, fps
        self._max_gap_ns = int(max_gap_s * 1e9)
        self._slots = len(contract.slots)
        self._buffer = ObservationBuffer(contract, history_s=_HISTORY_S)
        self._sinks = {sink.topic: _Commands(sink, deque()) for sink in contract.commands}
        self._topics = [*self._buffer.topics, *self._sinks]
        self._start_ns = 0

    def ticks(self) -> Iterator[Row | Cut]:
        first_ns: dict[str, int] = {}
        newest_ns, step = 0, 0
        for message in self._reader.messages(self._topics):
            stamp = stamp_ns(message.msg)
            newest_ns = max(newest_ns, stamp)
            first_ns.setdefault(message.topic, stamp)
            if message.topic in self._sinks:
                self._sinks[message.topic].entries.append((stamp, message.msg))
            else:
                self._buffer.add(message.topic, message.msg, message.log_time_ns)
            if len(first_ns) < len(self._topics):
                continue
            if not self._start_ns:
                self._start_ns = max(first_ns.values()) + _CLEAR_OF_STAMPS_NS
                yield from self._before(first_ns)
            while newest_ns > self._tick_ns(step) + _PATIENCE_NS or self._complete(step):
                yield self._at(step)
                step += 1
        if not self._start_ns:
            silent = [topic for topic in self._topics if topic not in first_ns]
            raise DatasetError(
                f"{self._reader.folder}: no message on {', '.join(silent)}; expected every topic of the contract"
            )
        # The tail: what was observed and commanded up to the moment the first topic fell silent.
        last_ns = min(self._buffer.newest_common_stamp_ns() or 0, self._newest_command_ns())
        while self._tick_ns(step) <= last_ns:
            yield self._at(step)
            step += 1
        yield from self._after(self._tick_ns(step), newest_ns)

    def _tick_ns(self, number: int) -> int:
        return self._start_ns + number * 1_000_000_000 // self._fps

    def _newest_command_ns(self) -> int:
        return min(commands.newest_stamp_ns for commands in self._sinks.values())

    def _complete(self, step: int) -> bool:
        """Whether nothing that is still to come can belong to the row."""
        common_ns = self._buffer.newest_common_stamp_ns() or 0
        return common_ns >= self._tick_ns(step) and self._newest_command_ns() >= self._tick_ns(step + 1)

    def _at(self, step: int) -> Row | Cut:
        tick_ns, next_ns = self._tick_ns(step), self._tick_ns(step + 1)
        if late := [*self._buffer.problems(tick_ns), *self._late_commands(next_ns)]:
            return Cut(tick_ns, next_ns, "; ".join(late))
        action = np.full(self._slots, np.nan)
        try:
            observation = self._buffer.snapshot(tick_ns)
            for commands in self._sinks.values():
                indices, values = commands.newest(next_ns)
                action[indices] = values
        except (ObservationNotReady, CodecError) as error:
            after_s = step / self._fps
            raise DatasetError(f"{self._reader.folder}: {after_s:.2f} s after its first tick: {error}") from None
        oldest = max(observation.ages_ns, key=lambda name: observation.ages_ns[name])
        if observation.ages_ns[oldest] > self._max_gap_ns:
            return Cut(tick_ns, next_ns, f"{oldest}: {self._too_old(observation.ages_ns[oldest])}")
        return Row(observation, action)

    def _late_commands(self, until_ns: int) -> Iterator[str]:
        for topic, commands in self._sinks.items():
            if (age_ns := until_ns - commands.stamp_ns(until_ns)) > self._max_gap_ns:
                yield f"command {topic}: {self._too_old(age_ns)}"

    def _too_old(self, age_ns: int) -> str:
        return f"newest message is {age_ns / 1e6:.0f} ms old, limit {self._max_gap_ns / 1e6:.0f} ms"

    def _before(self, first_ns: dict[str, int]) -> Iterator[Cut]:
        earliest_ns = min(first_ns.values())
        if self._start_ns - _CLEAR_OF_STAMPS_NS - earliest_ns > self._max_gap_ns:
            last = max(first_ns, key=lambda topic: first_ns[topic])
            yield Cut(earliest_ns, self._start_ns, f"{last} has not spoken yet")

    def _after(self, tick_ns: int, newest_ns: int) -> Iterator[Cut]:
        if newest_ns - tick_ns > self._max_gap_ns:
            late = [*self._buffer.problems(newest_ns), *self._late_commands(newest_ns)]
            yield Cut(tick_ns, newest_ns, "; ".join(late) or "a topic has fallen silent")


@dataclass
class _Commands:
    """One sink's commands, oldest first."""

    sink: JointSink
    entries: deque[tuple[int, Any]]

    @property
    def newest_stamp_ns(self) -> int:
        return self.entries[-1][0]

    def stamp_ns(self, until_ns: int) -> int:
        """The stamp of the newest command with stamp <= `until_ns`; forgets the older ones."""
        while len(self.entries) > 1 and self.entries[1][0] <= until_ns:
            self.entries.popleft()
        return self.entries[0][0]

    def newest(self, until_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices and values of the newest command with stamp <= `until_ns`."""
        self.stamp_ns(until_ns)
        return decode_slots(self.sink, self.entries[0][1])
