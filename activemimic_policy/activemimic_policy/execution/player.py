"""Plays chunks on the controller's clock: the newest accepted chunk says what to command now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from activemimic_policy.execution.chunk import Chunk
from activemimic_policy.execution.gripper_latch import CLOSE_AT, GripperLatch

Slots = npt.NDArray[np.float64]


class ChunkPlayer:
    """Linear interpolation between a chunk's points, without a jump when a chunk replaces another.

    A new chunk starts from where the robot was last told to be and meets its own points at the first one that is
    at least half a step ahead: what the old and the new chunk disagree about is spread over that time.

    `latch_grippers` passes the gripper slots through a GripperLatch: right for a policy, wrong for teleoperation.
    """

    def __init__(self, slots: Sequence[str], gripper_slots: Sequence[str] = (), latch_grippers: bool = True) -> None:
        self._slots = tuple(slots)
        self._latches: dict[int, GripperLatch] = {}
        if latch_grippers:
            self._latches = {self._slots.index(name): GripperLatch() for name in gripper_slots}
        self.reset()

    @property
    def chunk(self) -> Chunk | None:
        """The chunk that is being played, or was last."""
        return self._chunk

    def reset(self, positions: npt.ArrayLike | None = None) -> None:
        """Forgets every chunk; the next one starts from `positions` (S,), such as the measured pose, if given."""
        self._chunk: Chunk | None = None
        self._last = None if positions is None else np.asarray(positions, dtype=np.float64).copy()
        self._last_ns: int | None = None
        self._start: tuple[int, Slots] | None = None  # where the running chunk began, time and positions
        self._starts_anew = False
        self._fed_point = -1  # the last point whose gripper command the latches have seen
        self._latch_due_ns: int | None = None
        for slot, latch in self._latches.items():
            latch.reset(closed=self._last is not None and self._last[slot] >= CLOSE_AT)

    def accept(self, chunk: Chunk) -> None:
        """Replaces the running chunk. Raises ChunkError when `chunk` is unsound, and keeps the running one."""
        chunk.validate(self._slots)
        self._chunk, self._starts_anew, self._fed_point = chunk, True, -1

    def sample(self, t_ns: int) -> Slots | None:
        """What to command at t_ns, (S,); None before any chunk and after a chunk's last point.

        To be called at every control tick, with times that do not go back.
        """
        chunk, before_ns = self._chunk, self._last_ns
        self._last_ns = t_ns
        if chunk is None or t_ns > chunk.end_ns:
            return None
        if self._starts_anew:
            self._start = self._where_it_begins(chunk, before_ns, t_ns)
            self._starts_anew = False
        positions = self._interpolate(chunk, t_ns)
        if self._latches:
            self._latch(chunk, t_ns, positions)
        self._last = positions
        return positions.copy()

    def _where_it_begins(self, chunk: Chunk, before_ns: int | None, t_ns: int) -> tuple[int, Slots] | None:
        if self._last is None:
            return None
        # A former sample that is long past says where the robot is, but not since when.
        recent = before_ns is not None and t_ns - before_ns <= chunk.step_ns
        return (before_ns if recent and before_ns is not None else t_ns), self._last

    def _interpolate(self, chunk: Chunk, t_ns: int) -> Slots:
        """Between the two points around t_ns; before the first reachable point, from where the chunk began."""
        last = len(chunk.positions) - 1
        following = _point_after(chunk, t_ns)
        if self._start is not None:
            start_ns, start = self._start
            reached = min(_point_after(chunk, start_ns + chunk.step_ns // 2), last)
            if following <= reached:
                return _between(start_ns, start, _due_ns(chunk, reached), chunk.positions[reached], t_ns)
        if following == 0:
            return chunk.positions[0].copy()
        if following > last:
            return chunk.positions[last].copy()
        former = following - 1
        return _between(
            _due_ns(chunk, former), chunk.positions[former], _due_ns(chunk, following), chunk.positions[following], t_ns
        )

    def _latch(self, chunk: Chunk, t_ns: int, positions: Slots) -> None:
        """Puts the latched grippers into `positions`; the latches count chunk steps, not control ticks."""
        heading = min(_point_after(chunk, t_ns), len(chunk.positions) - 1)
        unseen = chunk.positions[min(self._fed_point + 1, heading) if self._fed_point >= 0 else heading : heading + 1]
        self._fed_point = heading
        due = self._latch_due_ns is None or t_ns >= self._latch_due_ns
        if due:
            former = t_ns if self._latch_due_ns is None else self._latch_due_ns
            # Steps are counted on their own clock, which a new chunk does not restart: chunks that replace each
            # other quickly must not count one moment twice.
            self._latch_due_ns = former + chunk.step_ns if t_ns - former < chunk.step_ns else t_ns + chunk.step_ns
        for slot, latch in self._latches.items():
            command = float(unseen[:, slot].max())
            if due or command >= CLOSE_AT:
                latch.update(command)
            positions[slot] = latch.output


def _due_ns(chunk: Chunk, point: int) -> int:
    return chunk.stamp_ns + (point + 1) * chunk.step_ns


def _point_after(chunk: Chunk, t_ns: int) -> int:
    """The first point that is due later than t_ns, or at it; it may be past the chunk's end."""
    return max(0, -((chunk.stamp_ns - t_ns) // chunk.step_ns) - 1)


def _between(t0_ns: int, start: Slots, t1_ns: int, end: Slots, t_ns: int) -> Slots:
    if t1_ns <= t0_ns:
        return end.copy()
    share = min(max((t_ns - t0_ns) / (t1_ns - t0_ns), 0.0), 1.0)
    return start + share * (end - start)
