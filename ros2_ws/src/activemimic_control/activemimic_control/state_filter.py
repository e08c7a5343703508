"""Which measured joint states are believed: a value that no joint can have reached must not move the robot.

In: every robot vector that was measured, with its stamp. Out: the newest one that is believed, and how long there has
been no newer one. Ages are counted on the controller's own steady clock; stamps say only in which order states belong
and how late they came.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from activemimic_description.chunk_fields import NS
from activemimic_description.robot import Robot

from activemimic_control.watchdogs import Fault

NOISE = {"rad": 0.1, "m": 0.03, "fraction": 0.25}  # by so much a slot may change from one state to the next, beside
COAST_S = 0.1  # the way that it makes in the time between them, or in so long if that is longer
LASTING_S = 0.3  # a jump that lasts longer is where the robot is now: it was moved unseen, or its encoder slipped;
SETTLED_S = 0.1  # while nothing is commanded this is enough, which no single message of a slow topic lasts
ZERO = 1e-3  # of a slot: what a driver says that knows nothing, with its noise
CONFIRMATIONS = 3  # states in a row that agree on where it jumped to, or on where it is at first
STILL = {"rad": 0.02, "m": 0.005, "fraction": 0.1}  # a slot that moved less in the last
STILL_S = 0.2  # seconds stands still
WHOLE_LIMB = 6  # slots that are not at zero at home and are measured there: a driver that knows nothing


class StateFilter:
    """The newest believed robot vector.

    Refused, and by that name counted by whoever asks: `invalid` (not finite), `order` (older than the one before),
    `late` and `ahead` (stamps too far from the clock), `jump` (farther than a joint comes, and not where it was
    commanded to be either). A jump that lasts is believed in the end, and `displaced` says which slot it was.

    Attributes:
        slots: (S,) believed last, or None.
        stamp_ns: its stamp.
        refusal: why the newest state was not believed, "" if it was.
        displaced: which slot jumped for good while it was commanded; "" until then, and after `forget_displacement`.
    """

    def __init__(self, robot: Robot, max_lead: np.ndarray, max_age_s: float, max_ahead_s: float) -> None:
        self._names = tuple(slot.name for slot in robot.slots)
        self._velocity = robot.velocity
        self._noise = np.array([NOISE[slot.unit] for slot in robot.slots])
        self._still = np.array([STILL[slot.unit] for slot in robot.slots])
        self._home_is_elsewhere = np.abs(robot.home) > ZERO
        self._max_lead, self._max_age_s, self._max_ahead_s = max_lead, max_age_s, max_ahead_s
        self.slots: np.ndarray | None = None
        self.stamp_ns: int | None = None
        self.refusal = self.displaced = ""
        self._heard_ns = 0  # on the steady clock: when a believed state with a newer stamp came
        self._elsewhere: np.ndarray | None = None  # (S,) where the slots jumped to,
        self._elsewhere_ns = 0  # since when
        self._agreeing = 0  # and how many states say so
        self._believed: deque[tuple[int, np.ndarray]] = deque()  # on the steady clock, the last STILL_S of them
        self._far: np.ndarray = np.zeros(len(self._names), dtype=bool)  # which slots jumped

    def add(
        self, slots: np.ndarray, stamp_ns: int, now_ns: int, steady_ns: int, commanded: np.ndarray | None = None
    ) -> str:
        """Take a measured state (S,); return the kind of its refusal, or "" if it is believed.

        `now_ns` is the time by the clock of the stamps, `commanded` (S,) where the slots are commanded to be, if so.
        """
        kind, self.refusal = self._refused(slots, stamp_ns, now_ns, steady_ns, commanded)
        if kind == "jump" and self._lasts(slots, steady_ns, commanded is not None):
            if commanded is not None:
                self.displaced = self.refusal
            kind = self.refusal = ""
        if kind:
            return kind
        if self.stamp_ns is None or stamp_ns != self.stamp_ns:
            self._heard_ns = steady_ns
        self.slots, self.stamp_ns = np.array(slots, dtype=np.float64), stamp_ns
        self._elsewhere = None
        self._believed.append((steady_ns, self.slots))
        while len(self._believed) > CONFIRMATIONS and steady_ns - self._believed[0][0] > STILL_S * NS:
            self._believed.popleft()
        return ""

    def age_s(self, steady_ns: int) -> float:
        """Since the last believed state; infinite if there was none."""
        return float("inf") if self.slots is None else (steady_ns - self._heard_ns) / NS

    def fault(self, steady_ns: int) -> Fault | None:
        """Whether there has been no believed state for too long."""
        newer = f": newer ones are refused, {self.refusal}" if self.refusal else ""
        if self.slots is None:
            return Fault("state", f"no joint state has arrived{newer}")
        if (age_s := self.age_s(steady_ns)) > self._max_age_s:
            return Fault("state", f"the joint state is {age_s:.2f} s old (limit {self._max_age_s:.2f} s){newer}")
        return None

    def unsure(self, now_ns: int) -> Fault | None:
        """Why nobody can say where the robot is at this moment, well enough to command it there."""
        if self.slots is None or self.stamp_ns is None or len(self._believed) < CONFIRMATIONS:
            return Fault("state", f"fewer than {CONFIRMATIONS} joint states have arrived")
        if (age_s := (now_ns - self.stamp_ns) / NS) > self._max_age_s:
            return Fault("state", f"the joint state is {age_s:.2f} s old (limit {self._max_age_s:.2f} s)")
        if self.refusal:
            return Fault("state", f"the newest joint state is not believed: {self.refusal}")
        at_zero = self._home_is_elsewhere & (np.abs(self.slots) < ZERO)
        if at_zero.sum() >= WHOLE_LIMB:
            names = ", ".join(np.array(self._names)[at_zero])
            return Fault("state", f"{names} are measured at exactly zero: does their driver know where they are?")
        return None

    def moving(self) -> Fault | None:
        """Which slot moves by itself: a command of where it was would pull it back."""
        assert self.slots is not None
        moved = np.ptp(np.array([slots for _, slots in self._believed]), axis=0)
        if (moved < self._still).all():
            return None
        s = int(np.argmax(moved / self._still))
        return Fault("state", f"{self._names[s]} moves ({moved[s]:.3f} in {STILL_S} s): wait until the robot is still")

    def forget_displacement(self) -> None:
        """What is measured now is where the robot starts from."""
        self.displaced = ""

    def _refused(
        self, slots: np.ndarray, stamp_ns: int, now_ns: int, steady_ns: int, commanded: np.ndarray | None
    ) -> tuple[str, str]:
        if not np.isfinite(slots).all():
            bad = ", ".join(np.array(self._names)[~np.isfinite(slots)])
            return "invalid", f"{bad}: expected finite numbers"
        late_s = (now_ns - stamp_ns) / NS
        if late_s > self._max_age_s:
            return "late", f"they come {late_s:.2f} s after their stamps: do the clocks agree?"
        if -late_s > self._max_ahead_s:
            return "ahead", f"they are stamped {-late_s:.2f} s ahead: do the clocks agree?"
        if self.slots is None or self.stamp_ns is None:
            return "", ""
        silent_s = self.age_s(steady_ns)
        if stamp_ns < self.stamp_ns and silent_s <= self._max_age_s:  # later it is a clock that was set back
            return "order", f"their stamps run back by {(self.stamp_ns - stamp_ns) / NS:.3f} s"
        jump = np.abs(slots - self.slots)
        far = jump > self._reach(silent_s)
        if commanded is not None:
            far &= np.abs(slots - commanded) > self._max_lead
        if not far.any():
            return "", ""
        self._far = far
        s = int(np.argmax(np.where(far, jump / self._noise, 0.0)))
        return "jump", f"{self._names[s]} is {jump[s]:.3f} from where it was measured before"

    def _lasts(self, slots: np.ndarray, steady_ns: int, is_commanded: bool) -> bool:
        """Whether the states agree on a jump for long enough."""
        if self._elsewhere is None or (np.abs(slots - self._elsewhere) > self._reach(0.0)).any():
            self._elsewhere_ns, self._agreeing = steady_ns, 0
        self._elsewhere = np.array(slots, dtype=np.float64)
        self._agreeing += 1
        if is_commanded and (np.abs(slots[self._far]) < ZERO).all():
            return False  # zeros throughout are what a driver says that knows nothing
        since_s = (steady_ns - self._elsewhere_ns) / NS
        return self._agreeing >= CONFIRMATIONS and since_s >= (LASTING_S if is_commanded else SETTLED_S)

    def _reach(self, silent_s: float) -> np.ndarray:
        """(S,) how far a slot may be from where it was believed to be `silent_s` ago."""
        return self._velocity * min(silent_s, COAST_S) + self._noise
