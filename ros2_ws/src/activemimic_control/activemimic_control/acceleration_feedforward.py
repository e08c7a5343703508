"""How a wanted trajectory accelerates, from the velocities that are wanted of it cycle by cycle.

A trajectory that the axes can follow is followed without lag where its acceleration is known. Where it has a corner,
the acceleration of before says nothing of what comes, and whoever plans ahead with it swings past what is wanted.
"""

from __future__ import annotations

import numpy as np

# A jerk above this share of the limit is a corner or noise; the rest of the limit is left for correcting errors.
_FOLLOWABLE_JERK = 0.6
# So long after a corner none is told: longer than the 0.1 s between waypoints at 10 Hz, the slowest policies.
_AFTER_CORNER_S = 0.15


class WantedAcceleration:
    """Estimates accelerations (S,) from velocities that arrive once every `period_s`; see `update`."""

    def __init__(self, max_jerk: np.ndarray, period_s: float) -> None:
        self._period_s = period_s
        self._corner = _FOLLOWABLE_JERK * max_jerk * period_s  # the change of acceleration from one sample to the next
        self._after_corner = round(_AFTER_CORNER_S / period_s)
        self._since_corner: np.ndarray = np.full(len(max_jerk), self._after_corner)
        self._velocities: np.ndarray | None = None  # (2, S) the newest, oldest first

    def reset(self) -> None:
        """Forget what was wanted: the next velocity starts a trajectory."""
        self._velocities = None
        self._since_corner[:] = self._after_corner

    def update(self, velocity: np.ndarray) -> np.ndarray:
        """(S,) the acceleration at the sample of the wanted `velocity` (S,); zero just after a corner."""
        if self._velocities is None:
            self._velocities = np.stack([velocity, velocity])
        older, newer = np.diff(self._velocities, axis=0, append=velocity[None]) / self._period_s
        self._velocities = np.stack([self._velocities[1], velocity])
        self._since_corner = np.where(np.abs(newer - older) > self._corner, 0, self._since_corner + 1)
        # What two differences agree on (minmod): half the lag of their mean where it matters, and no noise at rest.
        agreed = np.where(np.abs(older) < np.abs(newer), older, newer)
        known = (older * newer > 0.0) & (self._since_corner >= self._after_corner)
        return np.where(known, agreed, 0.0)
