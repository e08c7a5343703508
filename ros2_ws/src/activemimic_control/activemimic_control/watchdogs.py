"""What makes the controller hold: a clock that jumps, a policy that fell silent.

Every watchdog is a plain look at times and numbers; the first complaint is what the person at the robot reads. All
silences are measured on the controller's own steady clock, on which time does not pass while it itself stands still:
what came meanwhile waits in a queue, and nobody else was silent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from activemimic_description.chunk_fields import NS
from activemimic_description.liveness import LivedTime

CLOCK_JUMP_S = 0.05  # between two cycles, by which the wall clock and the steady clock disagree
LONGEST_CYCLES = 5  # that one update may count for on the steady clock
RHYTHM = 8  # chunks that say how often one comes,
FEWEST = 3  # and so many times between two of them to know
LATE_S = 0.25  # by which a chunk may be later than its rhythm
OVERTAKEN_S = 0.05  # a complaint may be so much older than the chunk that came before it
PAUSE_S = 2.0  # between two chunks: the rhythm begins anew


@dataclass(frozen=True)
class Fault:
    """Why the robot has to hold; `kind` is the short name it is counted under."""

    kind: str
    reason: str


class Clocks:
    """The controller's own two clocks: time stamps come by one that may be set, periods by one that may not."""

    def __init__(self, period_s: float, max_period_s: float) -> None:
        self._lived = LivedTime(round(LONGEST_CYCLES * period_s * NS))
        self._max_period_s = max_period_s
        self._last: tuple[int, int] | None = None

    @property
    def steady_ns(self) -> int:
        """The time that the controller has been at work: a cycle that came late counts as LONGEST_CYCLES."""
        return self._lived.ns

    def look(self, now_ns: int, steady_ns: int) -> Fault | None:
        """Once a cycle: `now_ns` of the clock of the stamps, `steady_ns` of one that only runs forward."""
        self._lived.beat(steady_ns)
        last, self._last = self._last, (now_ns, steady_ns)
        if last is None:
            return None
        stamped_s, steady_s = (now_ns - last[0]) / NS, (steady_ns - last[1]) / NS
        if abs(stamped_s - steady_s) > CLOCK_JUMP_S:
            return Fault("clock", f"the clock jumped by {stamped_s - steady_s:+.2f} s")
        if steady_s > self._max_period_s:
            return Fault(
                "period", f"the controller itself stood still for {steady_s:.2f} s; is the computer overloaded?"
            )
        return None


class PolicyWatch:
    """Whether the policy that moves the robot still lives: by its heartbeat, by the rhythm of its chunks, by their age.

    A policy without a heartbeat is known by its rhythm alone. One with a heartbeat may take as long as its slowest
    inferences of late: what it cannot do, it says.
    """

    def __init__(self, max_heartbeat_gap_s: float, max_chunk_gap_s: float, max_chunk_age_s: float) -> None:
        self._max_beat_gap_s, self._max_gap_s, self._max_age_s = max_heartbeat_gap_s, max_chunk_gap_s, max_chunk_age_s
        self._beat_ns: int | None = None
        self._problem = ""
        self._declared_s = 0.0  # time from one chunk to the next, as the policy says
        self._chunk_ns: int | None = None  # when the last chunk came, whether or not it was accepted
        self._intervals_s: deque[float] = deque(maxlen=RHYTHM)
        self.reset(0)

    def reset(self, steady_ns: int) -> None:
        """What is played begins anew. A heartbeat that has ended is not expected to go on."""
        if self._beat_ns is not None and (steady_ns - self._beat_ns) / NS > self._max_beat_gap_s:
            self._beat_ns, self._declared_s = None, 0.0
        self._ages_s: deque[float] = deque(maxlen=RHYTHM)  # of the accepted chunks' observations, at their arrival
        self._accepted_ns = 0  # when the last of those came,
        self._left_s = 0.0  # and how long it was to be played from then on

    def on_heartbeat(self, problem: str, chunk_period_s: float, steady_ns: int) -> None:
        """Take the policy's heartbeat: why it cannot infer ("" if it can), and how often a chunk comes."""
        self._beat_ns, self._problem, self._declared_s = steady_ns, problem, chunk_period_s

    def on_chunk(self, steady_ns: int) -> None:
        """A chunk has come, whatever became of it."""
        if self._chunk_ns is not None:
            self._intervals_s.append((steady_ns - self._chunk_ns) / NS)
            if self._intervals_s[-1] > PAUSE_S:
                self._intervals_s.clear()
        self._chunk_ns = steady_ns

    def on_accepted(self, age_s: float, left_s: float, steady_ns: int) -> None:
        """The chunk was accepted: `age_s` after its observation, to be played for `left_s`."""
        self._ages_s.append(max(age_s, 0.0))
        self._accepted_ns, self._left_s = steady_ns, left_s

    def fault(self, steady_ns: int) -> Fault | None:
        """Why the policy does not move the robot any more; None while it does, and before its first chunk."""
        if self._chunk_ns is None or not self._ages_s:
            return None
        if self._beat_ns is not None:
            beat_s = (steady_ns - self._beat_ns) / NS
            if beat_s > self._max_beat_gap_s:
                return Fault("no_heartbeat", f"the policy has been silent: no heartbeat for {beat_s:.2f} s")
            if self._problem and (self._beat_ns - self._accepted_ns) / NS > OVERTAKEN_S:
                return Fault("policy", f"the policy does not infer: {self._problem}")
        silent_s = self._silence(steady_ns)
        return Fault("no_chunk", f"the policy has been silent: {silent_s}") if silent_s else None

    def _silence(self, steady_ns: int) -> str:
        assert self._chunk_ns is not None
        quiet_s, played_s = (steady_ns - self._chunk_ns) / NS, (steady_ns - self._accepted_ns) / NS
        has_rhythm = len(self._intervals_s) >= FEWEST
        rhythm_s = max(self._intervals_s) if has_rhythm else 0.0
        if self._beat_ns is not None and self._declared_s:
            # One that takes longer to infer than it declares comes as often as it can.
            period_s = max(self._declared_s, rhythm_s, *self._ages_s)
            slack_s = max(LATE_S, 2 * max(self._ages_s))
        else:
            period_s = min(rhythm_s, self._left_s) if has_rhythm else self._left_s
            slack_s = LATE_S
            if played_s - self._left_s > self._max_gap_s:
                return f"its last chunk ended {played_s - self._left_s:.2f} s ago"
        if (self._declared_s or has_rhythm) and quiet_s > period_s + slack_s:
            return f"no chunk for {quiet_s:.2f} s, where one comes every {period_s:.2f} s"
        if (age_s := self._ages_s[-1] + played_s) > max(period_s, rhythm_s) + self._max_age_s + LATE_S:
            return f"what is played answers an observation that is {age_s:.2f} s old"
        return ""
