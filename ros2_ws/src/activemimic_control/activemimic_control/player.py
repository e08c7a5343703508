"""Plays chunks on the controller's clock: what is accepted says what to command now, and how fast to move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from activemimic_description.chunk import Chunk

from activemimic_control.chunk_aggregation import ChunkAggregation, Replace
from activemimic_control.chunk_trajectory import Blend, Spline
from activemimic_control.gripper_latch import CLOSE_AT, GripperLatch

_NS = 1e9
_POSITION, _VELOCITY = 0, 1
_TRANSITION_STEPS = 2  # measured: one step has three times the jerk, three gain little (docs: chunk-aggregation.md)


@dataclass(frozen=True, eq=False)
class Wanted:
    """Where every slot should be now and how fast it should move: (S,) each, in slot units, and per second."""

    position: npt.NDArray[np.float64]
    velocity: npt.NDArray[np.float64]


class ChunkPlayer:
    """A spline through each chunk's points, and a motion without a jump, kink or jolt from one onto the next.

    A new chunk goes on from the position, velocity and acceleration that were wanted last, and meets its own curve
    at the first of its points that is at least two steps ahead: what the old and the new chunk disagree about is
    spread over that time. From there on every point is passed exactly. A chunk that answers the present, while
    nothing else is played, is met at its very first point.

    `latch_grippers` passes the gripper slots through a GripperLatch: right for a policy, wrong for teleoperation.
    `aggregation` says what remains of the chunks before.
    """

    def __init__(
        self,
        slots: Sequence[str],
        latched_slots: Sequence[str] = (),
        latch_grippers: bool = True,
        aggregation: ChunkAggregation | None = None,
    ) -> None:
        self._slots = tuple(slots)
        self._latches: dict[int, GripperLatch] = {}
        if latch_grippers:
            self._latches = {self._slots.index(name): GripperLatch() for name in latched_slots}
        self._aggregation = aggregation or Replace()
        self.reset()

    @property
    def chunk(self) -> Chunk | None:
        """The chunk that is being played, or was last."""
        return self._chunk

    def reset(self, motion: npt.ArrayLike | None = None, t_ns: int | None = None) -> None:
        """Forgets every chunk.

        Args:
            motion: (3, S) position, velocity and acceleration at t_ns from which the next chunk goes on.
        """
        self._aggregation.reset()
        self._chunk: Chunk | None = None
        self._spline: Spline | None = None
        self._first = 0  # the chunk's point that the spline begins with
        self._blend: Blend | None = None
        self._blend_ns = 0  # when the blend began
        # (3, S): the motion wanted last
        self._last = None if motion is None else np.array(motion, dtype=np.float64)
        self._last_ns = t_ns
        self._playing = self._last is not None and bool(self._last[_VELOCITY:].any())  # whether something was wanted
        self._starts_anew = False
        self._fed_point = -1  # the last point whose gripper command the latches have seen
        self._latch_due_ns: int | None = None
        for slot, latch in self._latches.items():
            latch.reset(closed=self._last is not None and self._last[_POSITION, slot] >= CLOSE_AT)

    def accept(self, chunk: Chunk) -> None:
        """Goes on with `chunk`. Raises ChunkError when it is unsound, and keeps the running one."""
        chunk.validate(self._slots)
        joined = self._aggregation.add(chunk)
        if joined is not chunk and self._latches:
            # The mean of open and closed is neither: a gripper does what the newest chunk says.
            positions = joined.positions.copy()
            positions[:, list(self._latches)] = chunk.positions[:, list(self._latches)]
            joined = replace(joined, positions=positions)
        self._chunk, self._starts_anew, self._fed_point = joined, True, -1
        # Points whose time has passed bend the curve no more: the old chunk was executed in their place.
        passed = 0 if self._last_ns is None else _point_after(joined, self._last_ns + 1)
        self._first = min(passed, len(joined.positions) - 1)
        self._spline = Spline(joined.positions[self._first :], joined.step_ns / _NS)

    def sample(self, t_ns: int) -> Wanted | None:
        """What to command at t_ns; None before any chunk and after a chunk's last point.

        To be called at every control tick, with times that do not go back.
        """
        chunk, before_ns = self._chunk, self._last_ns
        self._last_ns = t_ns
        if chunk is None or t_ns > chunk.end_ns:
            if self._last is not None:
                self._last[_VELOCITY:] = 0.0  # nothing is wanted: the robot is held where it is
            self._playing = False
            return None
        if self._starts_anew:
            self._transition(chunk, before_ns, t_ns)
            self._starts_anew = False
        motion = self._motion(chunk, t_ns)
        if self._latches:
            self._latch(chunk, t_ns, motion[_POSITION])
            motion[_VELOCITY:, list(self._latches)] = 0.0
        self._last, self._playing = motion, True
        return Wanted(motion[_POSITION].copy(), motion[_VELOCITY].copy())

    def _transition(self, chunk: Chunk, before_ns: int | None, t_ns: int) -> None:
        """Lays the way from the motion wanted last onto the chunk's curve."""
        self._blend = None
        if self._last is None:
            return
        # A former sample that is long past says where the robot is, but not since when.
        recent = before_ns is not None and t_ns - before_ns <= chunk.step_ns
        start_ns = before_ns if recent and before_ns is not None else t_ns
        last = len(chunk.positions) - 1
        steps = 1 if not self._playing and start_ns <= chunk.stamp_ns else _TRANSITION_STEPS
        reached = min(_point_after(chunk, start_ns + steps * chunk.step_ns), last)
        # A chunk that ends at once is not worth a jump.
        duration_s = max(_due_ns(chunk, reached) - start_ns, chunk.step_ns // 2) / _NS
        if self._first == last:
            # One point says where to be and not how fast: as fast as it takes to get there.
            slope = (chunk.positions[last] - self._last[_POSITION]) / duration_s
            self._spline = Spline(chunk.positions[last:], chunk.step_ns / _NS, slope)
        curve = self._curve(chunk, start_ns)
        self._blend, self._blend_ns = Blend(self._last - curve, duration_s), start_ns

    def _motion(self, chunk: Chunk, t_ns: int) -> npt.NDArray[np.float64]:
        """(3, S) at t_ns, grippers like any slot."""
        if self._blend is None:  # from nowhere: it waits at its first point until that is due
            return self._curve(chunk, max(t_ns, _due_ns(chunk, self._first)))
        rest = self._blend.at((t_ns - self._blend_ns) / _NS)
        curve = self._curve(chunk, t_ns)
        return curve if rest is None else curve + rest

    def _curve(self, chunk: Chunk, t_ns: int) -> npt.NDArray[np.float64]:
        assert self._spline is not None
        return self._spline.at((t_ns - _due_ns(chunk, self._first)) / _NS)

    def _latch(self, chunk: Chunk, t_ns: int, positions: npt.NDArray[np.float64]) -> None:
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
                latch.update(command, _open_steps(chunk.positions[heading + 1 :, slot]))
            positions[slot] = latch.output


def _open_steps(commands: npt.NDArray[np.float64]) -> int:
    """How many of a gripper's commands (N,), from the first on, are open in a row."""
    closing = commands >= CLOSE_AT
    return int(closing.argmax()) if closing.any() else len(closing)


def _due_ns(chunk: Chunk, point: int) -> int:
    return chunk.stamp_ns + (point + 1) * chunk.step_ns


def _point_after(chunk: Chunk, t_ns: int) -> int:
    """The first point that is due later than t_ns, or at it; it may be past the chunk's end."""
    return max(0, -((chunk.stamp_ns - t_ns) // chunk.step_ns) - 1)
