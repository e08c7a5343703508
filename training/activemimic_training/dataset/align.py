"""Rows on a fixed time grid from an episode's messages, looking only backwards.

Row i stands at tick t_i = t_0 + i/fps. Its observation is the newest message of every source with stamp <= t_i, its
action the newest command of every sink with stamp <= t_(i+1): what was commanded for the step that follows. t_0 lies
5 ms after the first instant at which every source and every sink has spoken: sources run at about the grid's rate,
and one whose stamps fell on the ticks would, by a jitter of microseconds, be seen now fresh and now a step old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from activemimic_description.codec import CodecError, decode_slots, stamp_ns
from activemimic_description.contract import JointSink
from activemimic_description.observation import Observation, ObservationBuffer, ObservationNotReady

from activemimic_training.bags import EpisodeReader
from activemimic_training.dataset.errors import DatasetError

# More than a timer's jitter, and little against the age of any image.
_CLEAR_OF_STAMPS_NS = 5_000_000
# A source this far behind the others is not waited for any longer; the buffer keeps a little more than that.
_PATIENCE_NS = 2_000_000_000
_HISTORY_S = 2.5


@dataclass(frozen=True)
class Row:
    """One step: what was observed at `observation.stamp_ns`, and the robot vector commanded for the next tick."""

    observation: Observation
    action: np.ndarray  # (S,) float64, slot units


def aligned_rows(reader: EpisodeReader, fps: int) -> Iterator[Row]:
    """The rows of one episode, in order.

    Raises:
        DatasetError: a topic of the contract is silent, or a source is late or wrong at a tick.
        BagError: the bag is damaged.
    """
    contract = reader.contract
    buffer = ObservationBuffer(contract, history_s=_HISTORY_S)
    sinks = {sink.topic: _Commands(sink, deque()) for sink in contract.commands}
    first_ns: dict[str, int] = {}
    newest_ns = 0
    step = 0
    start_ns: int | None = None

    def tick_ns(number: int) -> int:
        assert start_ns is not None
        return start_ns + number * 1_000_000_000 // fps

    def row() -> Row:
        action = np.full(len(contract.slots), np.nan)
        try:
            observation = buffer.snapshot(tick_ns(step))
            for commands in sinks.values():
                indices, values = commands.newest(tick_ns(step + 1))
                action[indices] = values
        except (ObservationNotReady, CodecError) as error:
            raise DatasetError(f"{reader.folder}: {step / fps:.2f} s after its first row: {error}") from None
        return Row(observation, action)

    for message in reader.messages([*buffer.topics, *sinks]):
        stamp = stamp_ns(message.msg)
        newest_ns = max(newest_ns, stamp)
        first_ns.setdefault(message.topic, stamp)
        if message.topic in sinks:
            sinks[message.topic].entries.append((stamp, message.msg))
        else:
            buffer.add(message.topic, message.msg, message.log_time_ns)
        if len(first_ns) < len(buffer.topics) + len(sinks):
            continue
        if start_ns is None:
            start_ns = max(first_ns.values()) + _CLEAR_OF_STAMPS_NS
        while newest_ns > tick_ns(step) + _PATIENCE_NS or (
            (buffer.newest_common_stamp_ns() or 0) >= tick_ns(step)
            and min(commands.newest_stamp_ns for commands in sinks.values()) >= tick_ns(step + 1)
        ):
            yield row()
            step += 1
    if start_ns is None:
        silent = [topic for topic in (*buffer.topics, *sinks) if topic not in first_ns]
        raise DatasetError(f"{reader.folder}: no message on {', '.join(silent)}; expected every topic of the contract")
    # The tail: what was observed and commanded up to the moment the first topic fell silent.
    last_ns = min(buffer.newest_common_stamp_ns() or 0, *(commands.newest_stamp_ns for commands in sinks.values()))
    while tick_ns(step) <= last_ns:
        yield row()
        step += 1


@dataclass
class _Commands:
    """One sink's commands, oldest first."""

    sink: JointSink
    entries: deque[tuple[int, Any]]

    @property
    def newest_stamp_ns(self) -> int:
        return self.entries[-1][0]

    def newest(self, until_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices and values of the newest command with stamp <= `until_ns`; forgets the older ones."""
        while len(self.entries) > 1 and self.entries[1][0] <= until_ns:
            self.entries.popleft()
        return decode_slots(self.sink, self.entries[0][1])
