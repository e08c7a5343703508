"""The quickest stop that acceleration and jerk limits allow, in closed form: where it ends and how far it swings.

Every axis brakes for itself: its acceleration is turned against the motion at full jerk, held at the limit if the
motion is fast enough, and released at full jerk so that velocity and acceleration become zero together.
Arrays are (S,), one value a slot; units are slot units and seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Brake:
    """The stop from one state: three phases of constant jerk, `-direction * jerk`, 0 and `direction * jerk`."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray
    direction: np.ndarray  # +1 or -1: of the motion that is stopped
    phases_s: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def duration_s(self) -> np.ndarray:
        """(S,) seconds until each axis rests."""
        return self.phases_s[0] + self.phases_s[1] + self.phases_s[2]

    def at(self, time_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, velocity and acceleration (S,) each, `time_s` after the start; at rest from `duration_s` on."""
        position, velocity, acceleration = self.position, self.velocity, self.acceleration
        left_s: float | np.ndarray = time_s
        for phase_s, sign in zip(self.phases_s, (-1.0, 0.0, 1.0), strict=True):
            t = np.minimum(left_s, phase_s)
            left_s = left_s - t
            jerk = sign * self.direction * self.jerk
            position = position + t * (velocity + t * (acceleration / 2 + t * jerk / 6))
            velocity = velocity + t * (acceleration + t * jerk / 2)
            acceleration = acceleration + t * jerk
        moving = self.duration_s > time_s  # rounding must not leave a creep behind
        return position, np.where(moving, velocity, 0.0), np.where(moving, acceleration, 0.0)

    @property
    def stop(self) -> np.ndarray:
        """(S,) where each axis comes to rest: `at(inf)` in fewer steps, for the control cycle."""
        push_s, hold_s, release_s = self.phases_s
        v, a = self.direction * self.velocity, self.direction * self.acceleration
        pushed = push_s * (v + push_s * (a / 2.0 - push_s * self.jerk / 6.0))
        # What follows, read backwards from rest: released from -jerk * release_s, before that held there.
        released = self.jerk * release_s**3 / 6.0
        held = self.jerk * release_s * hold_s * (release_s + hold_s) / 2.0
        return self.position + self.direction * (pushed + held + released)

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest position (S,) between the start (included) and the stop."""
        # An axis that still moves one way but is pushed the other way with more than a stop needs turns round once,
        # in the first phase: where velocity + acceleration * t - direction * jerk * t^2 / 2 = 0.
        v, a = self.direction * self.velocity, self.direction * self.acceleration
        t = np.where(v < 0.0, (a - np.sqrt(np.maximum(a * a + 2.0 * self.jerk * v, 0.0))) / self.jerk, 0.0)
        turn = self.position + self.direction * t * (v + t * (a / 2.0 - t * self.jerk / 6.0))
        stop = self.stop
        lowest = np.minimum(np.minimum(self.position, turn), stop)
        return lowest, np.maximum(np.maximum(self.position, turn), stop)


def brake_from(
    position: np.ndarray,
    velocity: np.ndarray,
    acceleration: np.ndarray,
    max_acceleration: np.ndarray,
    max_jerk: np.ndarray,
) -> Brake:
    """The quickest stop from a state whose accelerations lie within `max_acceleration`; all arrays (S,)."""
    # The velocity that is left once the acceleration is released at full jerk says which way to push.
    left_over = velocity + acceleration * np.abs(acceleration) / (2.0 * max_jerk)
    direction = np.where(left_over < 0.0, -1.0, 1.0)
    v, a = direction * velocity, direction * acceleration
    peak = np.minimum(np.sqrt(np.maximum(a * a / 2.0 + max_jerk * v, 0.0)), max_acceleration)
    push_s = np.maximum(a + peak, 0.0) / max_jerk
    after_push = v + (a * a - peak * peak) / (2.0 * max_jerk)
    excess = np.maximum(after_push - peak * peak / (2.0 * max_jerk), 0.0)
    hold_s = np.where(peak < max_acceleration, 0.0, excess / max_acceleration)
    return Brake(position, velocity, acceleration, max_jerk, direction, (push_s, hold_s, peak / max_jerk))
