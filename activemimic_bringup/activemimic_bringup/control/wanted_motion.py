"""How a wanted trajectory moves, from its samples: the state (position, velocity, acceleration) a follower should have.

A trajectory that the axis can follow is taken as it is, without lag. One that it cannot (the corners between a policy's
waypoints, the noise of a hand) is smoothed first: chasing its every corner at full jerk would make the axis oscillate
between corners, farther from the trajectory than a smooth motion through its middle.
"""

from __future__ import annotations

import numpy as np

# A jerk above this share of the limit is a corner or noise; the rest of the limit is left for correcting errors.
_FOLLOWABLE_JERK = 0.6
# Smoothing goes on so long after a corner: longer than the 0.1 s between waypoints at 10 Hz, the slowest policies.
_SMOOTH_FOR_S = 0.15
# Bandwidth of the smoothing, rad/s: higher follows corners closer. A corner that turns this share of the full velocity
# then asks for about the whole jerk; above the highest, for more acceleration than there is.
_CORNER_SHARE, _HIGHEST_BANDWIDTH = 0.125, 40.0
# More than this many velocity limits between two samples is a jump to a new trajectory, not a motion.
_JUMP = 1.5
# Smoothing that has gone astray by so many seconds of full velocity (after a sudden stop, say) is given up.
_ASTRAY_S = 0.01


class WantedMotion:
    """Estimates the motion of wanted positions (S,) that arrive once every `period_s`; see `update`."""

    def __init__(self, max_velocity: np.ndarray, max_jerk: np.ndarray, period_s: float) -> None:
        self._period_s = T = period_s
        self._jump = _JUMP * max_velocity * T
        self._astray = _ASTRAY_S * max_velocity
        self._corner = _FOLLOWABLE_JERK * max_jerk * T  # the change of acceleration from one sample to the next
        self._smooth_for = round(_SMOOTH_FOR_S / T)
        # Critically damped fading-memory filter of second degree: a constant acceleration is followed without lag.
        # Gains of g-h-k filters, Brookner, "Tracking and Kalman Filtering Made Easy", table 1.10.1.
        bandwidth = np.minimum(np.sqrt(max_jerk / (_CORNER_SHARE * max_velocity)), _HIGHEST_BANDWIDTH)
        theta = np.exp(-bandwidth * T)
        self._gains = (1 - theta**3, 1.5 * (1 - theta) ** 2 * (1 + theta) / T, (1 - theta) ** 3 / T**2)
        self._started = False
        self._wanted = np.zeros((3, len(max_velocity)))  # the newest samples, oldest first
        self._given = np.zeros((2, len(max_velocity)))  # and velocities
        self._state: np.ndarray = np.zeros((3, len(max_velocity)))  # position, velocity, acceleration
        self._since_corner: np.ndarray = np.zeros(len(max_velocity), dtype=np.int64)

    def reset(self) -> None:
        """Forget what was wanted: the next sample starts a trajectory."""
        self._started = False

    def update(self, wanted: np.ndarray, velocity: np.ndarray | None = None) -> np.ndarray:
        """Position, velocity and acceleration (3, S) of the wanted motion at this sample.

        Args:
            wanted: (S,) wanted positions.
            velocity: (S,) wanted velocities if they are known, else they are taken from the positions.
        """
        T = self._period_s
        uniform = np.zeros_like(wanted) if velocity is None else velocity
        jumped = np.abs(wanted - self._wanted[2]) > self._jump
        jumped |= np.abs(self._state[0] - self._wanted[2]) > self._astray
        if not self._started or jumped.any():
            self._start(jumped if self._started else np.ones_like(jumped), wanted, uniform)
        slopes = np.diff(self._wanted, axis=0, append=wanted[None]) / T
        older, newer = np.diff(slopes, axis=0) / T
        corner = np.abs(newer - older) > self._corner
        if velocity is not None:
            older, newer = np.diff(self._given, axis=0, append=velocity[None]) / T
            corner |= np.abs(newer - older) > self._corner
        # What two differences agree on (minmod): half the lag of their mean where it matters, and no noise at rest.
        acceleration = np.where(older * newer > 0.0, np.where(np.abs(older) < np.abs(newer), older, newer), 0.0)
        # A difference of positions is the velocity half a period ago.
        newest = slopes[2] + acceleration * (T / 2) if velocity is None else velocity
        self._wanted[:2], self._wanted[2] = self._wanted[1:], wanted
        self._given[0], self._given[1] = self._given[1], uniform
        self._since_corner = np.where(corner, 0, self._since_corner + 1)
        followable = self._since_corner >= self._smooth_for
        self._state = np.where(followable, np.stack([wanted, newest, acceleration]), self._smoothed(wanted))
        return self._state

    def _smoothed(self, wanted: np.ndarray) -> np.ndarray:
        T = self._period_s
        position, velocity, acceleration = self._state
        position = position + T * (velocity + T * acceleration / 2)
        velocity = velocity + T * acceleration
        error = wanted - position
        g, h, k = self._gains
        return np.stack([position + g * error, velocity + h * error, acceleration + k * error])

    def _start(self, where: np.ndarray, wanted: np.ndarray, velocity: np.ndarray) -> None:
        """Begin anew in the slots `where` (S,), as if they had come to `wanted` uniformly."""
        T = self._period_s
        self._started = True
        for samples, ages_s in ((self._wanted, (3 * T, 2 * T, T)), (self._state[:1], (T,))):
            for sample, age_s in zip(samples, ages_s, strict=True):
                sample[where] = (wanted - age_s * velocity)[where]
        self._given[:, where] = self._state[1, where] = velocity[where]
        self._state[2, where] = 0.0
        self._since_corner[where] = self._smooth_for
