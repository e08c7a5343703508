"""A smooth curve through a chunk's points, and the smooth way from one such curve onto the next.

Everything here is fitted once and evaluated cheaply: a motion is an array (3, S) of position, velocity, acceleration.

Axes: N points, S slots.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Spline:
    """The cubic spline through points (N, S) that are `step_s` seconds apart; time 0 is the first point.

    Position, velocity and acceleration are continuous. At both ends the acceleration runs on as it is (parabolic
    run-out), also before the first point: a chunk begins in the middle of a motion, not at rest. `slope` (S,) is the
    velocity through a single point.

    Between two points the curve departs from their straight line by at most 3/8 of the largest second difference of
    the points; what a robot can follow has second differences of acceleration·step_s².
    """

    def __init__(self, points: Array, step_s: float, slope: Array | None = None) -> None:
        self._step_s = step_s
        self._last = max(len(points) - 2, 0)  # the last piece
        self._pieces = _pieces(points, step_s) if len(points) > 1 else _line(points[0], slope)

    def at(self, time_s: float) -> Array:
        """(3, S) position, velocity and acceleration."""
        piece = min(max(int(time_s // self._step_s), 0), self._last)
        t = time_s - piece * self._step_s
        powers = np.array([[1.0, t, t * t, t * t * t], [0.0, 1.0, 2 * t, 3 * t * t], [0.0, 0.0, 2.0, 6 * t]])
        motion: Array = powers @ self._pieces[piece]
        return motion


class Blend:
    """What fades from a difference of two motions (3, S) at time 0 to nothing at `duration_s`, with its derivatives.

    Added to a curve it makes another that starts from the first motion and is the curve itself from `duration_s` on.
    A difference in position alone fades without overshoot, at 15/8 of its mean speed at most.
    """

    def __init__(self, difference: Array, duration_s: float) -> None:
        self._duration_s = duration_s
        T = duration_s
        e, v, a = difference
        self._coefficients = np.stack(
            [
                e,
                v,
                a / 2,
                -(10 * e + 6 * v * T + 1.5 * a * T**2) / T**3,
                (15 * e + 8 * v * T + 1.5 * a * T**2) / T**4,
                -(6 * e + 3 * v * T + 0.5 * a * T**2) / T**5,
            ]
        )

    def at(self, time_s: float) -> Array | None:
        """(3, S), or None where there is nothing to add."""
        t = time_s
        if t >= self._duration_s:
            return None
        powers = np.array(
            [
                [1.0, t, t**2, t**3, t**4, t**5],
                [0.0, 1.0, 2 * t, 3 * t**2, 4 * t**3, 5 * t**4],
                [0.0, 0.0, 2.0, 6 * t, 12 * t**2, 20 * t**3],
            ]
        )
        motion: Array = powers @ self._coefficients
        return motion


def _pieces(points: Array, step_s: float) -> Array:
    """(N - 1, 4, S) coefficients of 1, t, t², t³, with t from the beginning of each piece."""
    h, bends = step_s, np.zeros_like(points)
    if len(points) > 2:
        bends[1:-1] = _bends_of(len(points)) @ np.diff(points, 2, axis=0) / h**2
        bends[0], bends[-1] = bends[1], bends[-2]
    slopes = np.diff(points, axis=0) / h - h * (2 * bends[:-1] + bends[1:]) / 6
    return np.stack([points[:-1], slopes, bends[:-1] / 2, np.diff(bends, axis=0) / (6 * h)], axis=1)


@lru_cache(maxsize=16)
def _bends_of(count: int) -> Array:
    """(N - 2, N - 2) from the second differences of N points to the accelerations at the inner ones, for step 1."""
    inner = count - 2
    system = 4 * np.eye(inner) + np.eye(inner, k=1) + np.eye(inner, k=-1)
    system[0, 0] += 1  # an end's acceleration is that of the point beside it
    system[-1, -1] += 1
    return np.asarray(6 * np.linalg.inv(system), dtype=np.float64)


def _line(point: Array, slope: Array | None) -> Array:
    rest = np.zeros_like(point)
    return np.stack([point, rest if slope is None else slope, rest, rest])[None]
