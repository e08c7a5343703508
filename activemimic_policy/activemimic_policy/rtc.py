"""What the next chunk shall go on from: the chunk that is executed while the policy thinks.

The policy's side of joining (real-time chunking). `in_flight` before an inference, `sent` after it.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from activemimic_control.chunk_trajectory import Spline
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import NS
from activemimic_description.common.errors import InvalidInputError

if TYPE_CHECKING:
    from activemimic_policy.inference import InFlight

RTC_MODES = ("auto", "replace", "rtc_trained", "rtc_guided")
DELAYS = 10  # inferences that the next delay is expected from: the longest of them
UNKNOWN_DELAY_STEPS = 4  # expected of a guided policy before anything was measured
LAG_NS = 300_000_000  # the robot may be this far behind its commands
STRAY_S = 0.1  # and this far off, in seconds at full speed, before the chunk counts as not executed


class RtcError(InvalidInputError):
    """A mode of real-time chunking that the policy cannot do; the text says what it can."""


class Spec(Protocol):
    """What is asked of `activemimic_policy.spec.PolicySpec`."""

    @property
    def slots(self) -> Any: ...
    @property
    def absolute_slots(self) -> Any: ...
    @property
    def step_ns(self) -> int: ...
    @property
    def max_delay_steps(self) -> int: ...


class RealTimeChunking:
    """Remembers the chunk that was sent last and how long chunks take to arrive.

    velocity (S,): the slots' limits, in slot units per second. `rtc_mode` is one of RTC_MODES; `auto` takes
    rtc_trained for a policy that was trained for it, else replace (figures: docs/explanation/chunk-aggregation.md).

    `counters`: chunks that `continued` another; that did not because there was `no_chunk`, it had `ended`, or the
    robot `strayed` from it; and delays that were `clamped` to what the policy was trained for.

    Raises RtcError if the policy cannot do so.
    """

    def __init__(self, spec: Spec, velocity: np.ndarray, rtc_mode: str = "auto") -> None:
        if rtc_mode not in RTC_MODES:
            raise RtcError(f"rtc_mode: expected one of {', '.join(RTC_MODES)}, found {rtc_mode!r}")
        if rtc_mode == "rtc_trained" and spec.max_delay_steps == 0:
            raise RtcError(
                "join: rtc_trained needs a policy that was trained with policy.max_delay_steps; "
                "this one can do replace and rtc_guided"
            )
        if rtc_mode == "auto":
            rtc_mode = "rtc_trained" if spec.max_delay_steps else "replace"
        self.rtc_mode = rtc_mode
        self.counters: Counter[str] = Counter()
        self._spec = spec
        self._moving = np.array([slot not in spec.absolute_slots for slot in spec.slots])
        self._stray = velocity * STRAY_S
        self._delays: deque[int] = deque(maxlen=DELAYS)
        self.restart()

    @property
    def guided(self) -> bool:
        """Whether the policy is guided towards the chunk in flight, for want of training."""
        return self.rtc_mode == "rtc_guided"

    @property
    def delay_steps(self) -> int:
        """Policy steps from an observation's stamp to when its chunk can be used, as expected of the next."""
        if self._delays:
            return max(self._delays)
        return self._spec.max_delay_steps or UNKNOWN_DELAY_STEPS

    def restart(self) -> None:
        """Forget the chunk in flight. The next inference is a cold one, whose delay is not counted."""
        self._chunk: Chunk | None = None
        self._cold = True

    def sent(self, chunk: Chunk, now_ns: int) -> None:
        """`chunk` was handed to the controller at `now_ns`."""
        # A step that has begun is decided: the robot is on its way to that target.
        delay = -((chunk.stamp_ns - now_ns) // self._spec.step_ns)
        if not self._cold:
            self._delays.append(max(delay, 0))
        self._cold = False
        self._chunk = chunk

    def in_flight(self, stamp_ns: int, state: np.ndarray) -> InFlight | None:
        """What the chunk that answers the observation of `stamp_ns` shall go on from; None: from nothing.

        state (S,) in slot units is the observation's.
        """
        if self.rtc_mode == "replace":
            return None
        chunk = self._chunk
        if chunk is None:
            self.counters["no_chunk"] += 1
            return None
        targets = self._remaining(chunk, stamp_ns)
        if not len(targets):
            self.counters["ended"] += 1
            return None
        if self._strayed(chunk, stamp_ns, state):
            self.counters["strayed"] += 1
            return None
        from activemimic_policy.inference import InFlight  # seconds of torch, which whoever infers has loaded

        delay = self.delay_steps
        if not self.guided and delay > self._spec.max_delay_steps:
            self.counters["clamped"] += 1
            delay = self._spec.max_delay_steps
        self.counters["continued"] += 1
        return InFlight(targets, min(delay, len(targets)))

    def _remaining(self, chunk: Chunk, stamp_ns: int) -> np.ndarray:
        """(N, S) targets of `chunk` on the grid of an observation at `stamp_ns`, as the controller plays them."""
        count = (chunk.end_ns - stamp_ns) // self._spec.step_ns
        due_ns = stamp_ns + self._spec.step_ns * np.arange(1, min(count, len(chunk.positions)) + 1)
        return self._played(chunk, due_ns)

    def _played(self, chunk: Chunk, times_ns: np.ndarray) -> np.ndarray:
        """(N, S) where the chunk wants the slots at the times; before its first point, that point."""
        due_ns = chunk.stamp_ns + chunk.step_ns * np.arange(1, len(chunk.positions) + 1)
        times_ns = np.clip(times_ns, due_ns[0], due_ns[-1])
        spline = Spline(chunk.positions, chunk.step_ns / NS)
        played = np.array([spline.at((t - due_ns[0]) / NS)[0] for t in times_ns]).reshape(-1, chunk.positions.shape[1])
        for slot in np.flatnonzero(~self._moving):  # between open and closed there is nothing to overshoot
            played[:, slot] = np.interp(times_ns - due_ns[0], due_ns - due_ns[0], chunk.positions[:, slot])
        return played

    def _strayed(self, chunk: Chunk, stamp_ns: int, state: np.ndarray) -> bool:
        """Whether the robot is nowhere near where the chunk wanted it to be shortly before the observation.

        Nobody tells the policy that the controller holds, brakes or listens to somebody else, but it shows.
        """
        times_ns = np.linspace(max(stamp_ns - LAG_NS, chunk.stamp_ns), stamp_ns, 7).astype(np.int64)
        path = self._played(chunk, times_ns)
        # Per slot the nearest of the recent places: slots do not lag alike.
        off = np.abs(path - state).min(axis=0)
        between = (path.min(axis=0) <= state) & (state <= path.max(axis=0))
        return bool(np.any((off > self._stray) & ~between & self._moving))
