"""What makes the controller hold: a source that fell silent, a clock that jumped, a robot that does not follow.

Every watchdog is a plain look at times and numbers; the first complaint is what the person at the robot reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from activemimic_bringup.control.chunk_fields import NS

CLOCK_JUMP_S = 0.05  # between two cycles, by which the wall clock and the steady clock disagree


@dataclass(frozen=True)
class Fault:
    """Why the robot has to hold; `kind` is the short name it is counted under."""

    kind: str
    reason: str


class Clocks:
    """The controller's own two clocks: time stamps come by one that may be set, periods by one that may not."""

    def __init__(self, max_period_s: float) -> None:
        self._max_period_s = max_period_s
        self._last: tuple[int, int] | None = None

    def reset(self) -> None:
        """Forget the last cycle: a pause before this one was meant."""
        self._last = None

    def look(self, now_ns: int, steady_ns: int) -> Fault | None:
        """Once a cycle: `now_ns` of the clock of the stamps, `steady_ns` of one that only runs forward."""
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


def state_fault(stamp_ns: int | None, now_ns: int, max_age_s: float) -> Fault | None:
    """Whether the joint state of `stamp_ns` is too old, or there is none."""
    if stamp_ns is None:
        return Fault("state", "no joint state has arrived")
    age_s = (now_ns - stamp_ns) / NS
    if age_s > max_age_s:
        return Fault("state", f"the joint state is {age_s:.2f} s old (limit {max_age_s:.2f} s)")
    return None
