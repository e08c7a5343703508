"""Whether the robot follows: how far each joint's command lies before where the joint was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from activemimic_bringup.control.chunk_fields import NS

NEAR_LIMIT = 0.9  # of the largest lead: the motion brakes before it, so that a stuck joint never quite reaches it
STANDS = 0.01  # rad: a joint that moves less stands


class Following:
    """The lead of commands over the measured joints; `max_lead` (S,), infinite for a slot that may lead."""

    def __init__(self, slot_names: Sequence[str], max_lead: np.ndarray, max_stuck_s: float) -> None:
        self._names, self._max_lead, self._max_stuck_s = tuple(slot_names), max_lead, max_stuck_s
        self.reset()

    def reset(self) -> None:
        """Forget which joints stood."""
        self._stood_at: np.ndarray = np.full(len(self._names), np.nan)
        self._since_ns: np.ndarray = np.zeros(len(self._names), dtype=np.int64)

    def too_far(self, command: np.ndarray, measured: np.ndarray) -> str:
        """Which joint's command is too far from it, in words; "" if none is."""
        lead = np.abs(command - measured)
        return self._words(lead > self._max_lead, lead)

    def stuck(self, command: np.ndarray, measured: np.ndarray, now_ns: int) -> str:
        """Which joint has stood far from its command for too long, in words; to be called once a cycle."""
        lead = np.abs(command - measured)
        far = lead > NEAR_LIMIT * self._max_lead
        stands = far & (np.abs(measured - self._stood_at) < STANDS)
        self._stood_at = np.where(far, np.where(stands, self._stood_at, measured), np.nan)
        self._since_ns = np.where(stands, self._since_ns, now_ns)
        return self._words(stands & (now_ns - self._since_ns > self._max_stuck_s * NS), lead)

    def near(self, command: np.ndarray, before: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """`command` (S,), no farther from the measured joint than is allowed, or than the command before it was."""
        lowest = np.minimum(before, measured - self._max_lead)
        return np.clip(command, lowest, np.maximum(before, measured + self._max_lead))

    def _words(self, which: np.ndarray, lead: np.ndarray) -> str:
        if not which.any():
            return ""
        s = int(np.argmax(np.where(which, lead - self._max_lead, -np.inf)))
        return f"{self._names[s]} is {lead[s]:.3f} rad from its command (limit {self._max_lead[s]:.4f})"
