"""What became of each accepted chunk: how old it came, when it was first commanded, when the robot was seen to follow.

`motion` is the way of one command into the measured state. The command is the first one since the chunk arrived that
moves a slot by more than MOVING a second; of those slots the quickest is watched, and the command has arrived when the
slot is measured where it was told to be. Between two states the moment is interpolated. While a robot follows smoothly,
this is the delay with which it tracks; where nothing moves, there is nothing to measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOVING = 0.05  # rad, m or fraction of a gripper's way, a second: slower ones disappear in noise and sag
NOISE = 0.002  # rad, m or fraction: a slot that is measured so near its command is there already


@dataclass(frozen=True)
class ChunkTimes:
    """Times of one chunk in ms; NaN for what did not happen."""

    stamp_ns: int  # of the observation that it answers
    source: str
    chunk_age_ms: float  # from that stamp to its arrival at the controller
    first_command_ms: float  # from there to the first command that follows it
    motion_ms: float  # from the first moving command to its measurement


class ChunkTimer:
    """Follows one chunk at a time; a new one ends the one before. `S` slots; allocates nothing that lasts."""

    def __init__(self, slots: int) -> None:
        self._following = False
        self._stamp_ns = self._received_ns = 0
        self._source = ""
        self._first_ns: int | None = None  # when it was first commanded
        self._before: tuple[int, np.ndarray] | None = None  # the command before
        self._slot = -1  # the one that is watched, since
        self._moved_ns = 0
        self._goal = self._way = 0.0  # where it was told to be, and in which direction that lay
        self._motion_ms = float("nan")
        self._state = np.full(slots, np.nan)
        self._state_ns = 0

    def on_chunk(self, stamp_ns: int, source: str, now_ns: int) -> ChunkTimes | None:
        """A chunk was accepted at `now_ns`. The times of the one before, if it was not told of yet."""
        ended = self._times() if self._following else None
        self._following = True
        self._stamp_ns, self._source, self._received_ns = stamp_ns, source, now_ns
        self._first_ns, self._slot, self._motion_ms = None, -1, float("nan")
        return ended

    def on_command(self, positions: np.ndarray | None, source: str, now_ns: int) -> None:
        """`positions` (S,) were sent to the robot on behalf of `source`; None or "": nobody moves it."""
        if positions is None:
            self._before = None
            return
        before, self._before = self._before, (now_ns, positions)
        if not self._following or source != self._source:
            return
        if self._first_ns is None:
            self._first_ns = now_ns
        if self._slot < 0 and before is not None and now_ns > before[0]:
            self._watch(positions, (positions - before[1]) / (now_ns - before[0]) * 1e9, now_ns)

    def on_state(self, positions: np.ndarray, stamp_ns: int) -> ChunkTimes | None:
        """The robot was measured at `positions` (S,). The chunk's times, once its command has arrived."""
        former, former_ns = self._state, self._state_ns
        self._state, self._state_ns = positions, stamp_ns
        if self._slot < 0 or not self._following or stamp_ns <= self._moved_ns:
            return None
        missing = (self._goal - positions[self._slot]) * self._way
        if missing > 0:
            return None
        was_missing = (self._goal - former[self._slot]) * self._way
        share = was_missing / (was_missing - missing) if was_missing > 0 else 0.0
        arrived_ns = former_ns + share * (stamp_ns - former_ns)
        # One that was there before the command is counted as following at once.
        self._motion_ms = max(0.0, (arrived_ns - self._moved_ns) / 1e6)
        self._following = False
        return self._times()

    def _watch(self, positions: np.ndarray, velocity: np.ndarray, now_ns: int) -> None:
        to_go = (positions - self._state) * np.sign(velocity)
        speed = np.where(to_go > NOISE, np.abs(velocity), 0.0)
        slot = int(np.argmax(speed))
        if speed[slot] > MOVING:
            self._slot, self._moved_ns = slot, now_ns
            self._goal, self._way = float(positions[slot]), float(np.sign(velocity[slot]))

    def _times(self) -> ChunkTimes:
        first_ms = float("nan") if self._first_ns is None else (self._first_ns - self._received_ns) / 1e6
        age_ms = (self._received_ns - self._stamp_ns) / 1e6
        return ChunkTimes(self._stamp_ns, self._source, age_ms, first_ms, self._motion_ms)
