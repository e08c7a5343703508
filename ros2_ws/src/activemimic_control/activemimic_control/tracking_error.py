"""Whether the robot follows: how far each slot's command lies before where the slot was measured."""

from __future__ import annotations

import numpy as np
from activemimic_description.chunk_fields import NS
from activemimic_description.robot import Robot

NEAR_LIMIT = 0.9  # of the largest lead: the motion brakes before it, so that a stuck joint never quite reaches it
NOTHING_LEFT = 0.1  # of the largest lead: a command that gave way to the robot has come so near to it
STANDS = {"rad": 0.01, "m": 0.002, "fraction": 0.01}  # a slot that moves less stands


class TrackingMonitor:
    """The lead of commands over the measured slots.

    Attributes:
        max_lead: (S,) in slot units; infinite for a gripper, which never reaches its command once it has closed on
            something, and shall not.
    """

    def __init__(self, robot: Robot, max_lead_rad: float, max_lead_m: float, max_stuck_s: float) -> None:
        most = {"rad": max_lead_rad, "m": max_lead_m}
        self.max_lead = np.array([np.inf if slot.is_gripper else most.get(slot.unit, np.inf) for slot in robot.slots])
        self._units = tuple(slot.unit for slot in robot.slots)
        self._names = tuple(slot.name for slot in robot.slots)
        self._stands = np.array([STANDS[slot.unit] for slot in robot.slots])
        self._max_stuck_s = max_stuck_s
        self.reset()

    def reset(self) -> None:
        """Forget which slots stood or were too far off."""
        slots = len(self._names)
        self._stood_at: np.ndarray = np.full(slots, np.nan)
        self._stood_ns: np.ndarray = np.zeros(slots, dtype=np.int64)
        self._near_ns: np.ndarray | None = None
        self._yielding: np.ndarray = np.zeros(slots, dtype=bool)

    def too_far(self, command: np.ndarray, measured: np.ndarray) -> str:
        """Which slot's command is too far from it, in words; "" if none is."""
        lead = np.abs(command - measured)
        return self._words(lead > self.max_lead, lead)

    def stuck(self, command: np.ndarray, measured: np.ndarray, steady_ns: int) -> str:
        """Which slot has stood far from its command, or was too far from it, for too long; to be asked once a cycle."""
        lead = np.abs(command - measured)
        far = lead > NEAR_LIMIT * self.max_lead
        stands = far & (np.abs(measured - self._stood_at) < self._stands)
        self._stood_at = np.where(far, np.where(stands, self._stood_at, measured), np.nan)
        self._stood_ns = np.where(stands, self._stood_ns, steady_ns)
        if self._near_ns is None:
            self._near_ns = np.full(len(lead), steady_ns)
        self._near_ns = np.where(lead > self.max_lead, self._near_ns, steady_ns)
        since_ns = np.minimum(np.where(stands, self._stood_ns, steady_ns), self._near_ns)
        return self._words(steady_ns - since_ns > self._max_stuck_s * NS, lead)

    def yielding(self, command: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """(S,) the slots whose command shall go to where they are: they were pushed away from it, or cannot reach it.

        To be called once a cycle while nothing else is wanted. A slot that began to yield does so to the end, so that
        it does not snap back when it is let go.
        """
        lead = np.abs(command - measured)
        finite = np.isfinite(self.max_lead)
        share = np.divide(lead, self.max_lead, out=np.zeros_like(lead), where=finite)
        self._yielding = (share > NEAR_LIMIT) | (self._yielding & (share > NOTHING_LEFT))
        return self._yielding

    def within(self, wanted: np.ndarray, command: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`wanted` (S,), but for slots whose `command` is too far off: those shall come back to within the limit.

        Returns:
            the positions (S,), and which of them were changed (S,).
        """
        far = np.abs(command - measured) > self.max_lead
        near = NEAR_LIMIT * np.where(far, self.max_lead, 0.0)
        return np.where(far, np.clip(wanted, measured - near, measured + near), wanted), far

    def _words(self, which: np.ndarray, lead: np.ndarray) -> str:
        if not which.any():
            return ""
        s = int(np.argmax(np.where(which, lead / self.max_lead, -np.inf)))
        limit = f"limit {self.max_lead[s]:.4f}"
        return f"{self._names[s]} is {lead[s]:.3f} {self._units[s]} from its command ({limit})"
