"""Turns wanted positions into commands within position, velocity, acceleration and jerk limits, cycle by cycle.

Enters: where every slot should be now. Leaves: where to send it now. Each axis moves for itself, as quickly as its
limits allow: a wanted trajectory within the limits is followed without lag, a jump is caught up with and not overshot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from activemimic_description.common.errors import OperationError
from activemimic_description.robot import Robot
from ruckig import InputParameter, Result, Ruckig, RuckigError, Synchronization, Trajectory

from activemimic_control.acceleration_feedforward import WantedAcceleration
from activemimic_control.braking import brake_from

# Some velocity and acceleration is left to catch up with a target that itself moves at the limit.
_TARGET_SHARE = 0.98
# The planner finds nothing for a few exact distances: for an arm at rest 0.2 rad away, where 10 rad/s^2 are just met
# at 100 rad/s^3, and the wish would never be met. Asked with a little less jerk, it does.
_JERK_SHARES = (1.0, 0.999, 0.99)
_POSITION_ROUNDING = 1e-10  # slot units
_ROUNDING = 1e-9  # share of the limits
_REST = 1e-6  # share of the limits below which an axis counts as resting


class MotionLimiterError(OperationError):
    """No command within the limits could be found: the position is held."""


@dataclass(frozen=True)
class MotionLimits:
    """Limits of every slot, (S,) each, in slot units, per second, per second squared and cubed."""

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray

    def __post_init__(self) -> None:
        shape = self.lower.shape
        for name in ("lower", "upper", "velocity", "acceleration", "jerk"):
            values = getattr(self, name)
            if values.shape != shape or values.ndim != 1 or not np.all(np.isfinite(values)):
                raise ValueError(f"{name} limits: expected {shape} finite numbers, found {values}")
            if name not in ("lower", "upper") and not np.all(values > 0.0):
                raise ValueError(f"{name} limits: expected positive numbers, found {values}")
        if not np.all(self.lower < self.upper):
            raise ValueError(f"position limits: expected lower < upper, found {self.lower} and {self.upper}")

    @classmethod
    def of(cls, robot: Robot, scale: float = 1.0) -> MotionLimits:
        """The robot's own limits; `scale` in (0, 1] makes velocity, acceleration and jerk smaller."""
        if not 0.0 < scale <= 1.0:
            raise ValueError(f"scale of the motion limits: expected more than 0 and at most 1, found {scale}")
        moving = (robot.velocity * scale, robot.acceleration * scale, robot.jerk * scale)
        return cls(robot.lower.copy(), robot.upper.copy(), *moving)


@dataclass(frozen=True)
class Setpoint:
    """What is commanded: position, velocity and acceleration, (S,) each."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @property
    def motion(self) -> np.ndarray:
        """(3, S) position, velocity and acceleration."""
        return np.stack([self.position, self.velocity, self.acceleration])


class MotionLimiter:
    """Follows one wanted position per control cycle within `limits`; call `step` or `brake` once every `period_s`.

    Between commands the motion is one of constant jerk pieces, so differences of the commanded positions keep the
    limits as well. `failures` counts cycles in which the planner found nothing and all axes braked instead.
    """

    def __init__(self, limits: MotionLimits, period_s: float) -> None:
        if not (np.isfinite(period_s) and period_s > 0.0):
            raise ValueError(f"period of the motion limiter: expected a positive number of seconds, found {period_s}")
        self.limits, self.period_s = limits, period_s
        self.failures = 0
        slots = len(limits.lower)
        self._acceleration_feedforward = WantedAcceleration(limits.jerk, period_s)
        self._planner = Ruckig(slots)
        self._trajectory = Trajectory(slots)
        self._input = InputParameter(slots)
        self._input.synchronization = Synchronization.No
        self._setpoint: Setpoint | None = None

    @property
    def setpoint(self) -> Setpoint:
        """The newest command."""
        if self._setpoint is None:
            raise MotionLimiterError("the motion limiter has no start: call reset with the measured position first")
        return self._setpoint

    @property
    def at_rest(self) -> bool:
        """Whether no axis moves."""
        now, limits = self.setpoint, self.limits
        slow = np.abs(now.velocity) <= _REST * limits.velocity
        return bool(np.all(slow & (np.abs(now.acceleration) <= _REST * limits.acceleration)))

    def reset(self, position: np.ndarray) -> None:
        """Start at rest at `position` (S,). One outside its limits is kept, and may only move back inside."""
        position = self._checked(position, "start")
        self._setpoint = Setpoint(position, np.zeros_like(position), np.zeros_like(position))
        self._acceleration_feedforward.reset()

    def step(self, wanted: np.ndarray, wanted_velocity: np.ndarray | None = None) -> Setpoint:
        """The command for now, when the axes should be at `wanted` (S,) and move at `wanted_velocity` (S,), or rest.

        Raises:
            ValueError: a wanted number is not finite; names the slot's index and changes nothing.
            MotionLimiterError: not even braking gave a finite command; the position is held.
        """
        now = self.setpoint
        wanted = np.clip(self._checked(wanted, "wanted position"), self.limits.lower, self.limits.upper)
        velocity = np.zeros_like(wanted)
        if wanted_velocity is not None:
            most = self.limits.velocity
            velocity = np.clip(self._checked(wanted_velocity, "wanted velocity"), -most, most)
        acceleration = self._acceleration_feedforward.update(velocity)
        try:
            moved = self._follow(now, self._stoppable_target(wanted, velocity, acceleration))
            refused = ~self._stoppable(now, moved)
            if refused.any():
                # To a target at rest, the time-optimal plan from a state that can stop stays one that can.
                standing = self._follow(now, Setpoint(wanted, np.zeros_like(wanted), np.zeros_like(wanted)))
                moved = _choose(refused, standing, moved)
                refused = ~self._stoppable(now, moved)
        except RuckigError:
            self.failures += 1
            moved, refused = now, np.ones(len(wanted), dtype=bool)
        if refused.any():
            moved = _choose(refused, self._braked(now), moved)
        return self._commit(now, moved)

    def brake(self) -> Setpoint:
        """The command for now that brings every axis to rest as soon as its limits allow, and holds it there."""
        now = self.setpoint
        self._acceleration_feedforward.reset()
        return self._commit(now, self._braked(now))

    def go_back(self, setpoint: Setpoint) -> None:
        """Take `setpoint`, a former command, for the newest: what came after it was not sent."""
        self._setpoint = setpoint

    def stopping_position(self) -> np.ndarray:
        """(S,) where `brake` would come to rest from the present command."""
        now, limits = self.setpoint, self.limits
        return brake_from(*_parts(now), limits.acceleration, limits.jerk).stop

    def _follow(self, now: Setpoint, target: Setpoint) -> Setpoint:
        """One period of the quickest way from `now` onto the target's motion, which is where it shall be at the end.

        The planner works in a frame that moves along with the target (constant acceleration): there the target rests
        at zero. Told instead to pass the wanted point at the wanted velocity, it makes a run-up to a point that has
        moved on meanwhile: a sum of sines well within the arms' limits came 110 ms late, at twice its jerk.
        """
        T, limits, plan = self.period_s, self.limits, self._input
        before = target.velocity - target.acceleration * T
        start = target.position - T * (target.velocity - target.acceleration * T / 2)
        plan.current_position = (now.position - start).tolist()
        plan.current_velocity = (now.velocity - before).tolist()
        plan.current_acceleration = (now.acceleration - target.acceleration).tolist()
        plan.max_velocity = (limits.velocity - np.maximum(before, target.velocity)).tolist()
        plan.min_velocity = (-limits.velocity - np.minimum(before, target.velocity)).tolist()
        plan.max_acceleration = (limits.acceleration - target.acceleration).tolist()
        plan.min_acceleration = (-limits.acceleration - target.acceleration).tolist()
        self._plan(plan)
        position, velocity, acceleration = self._trajectory.at_time(T)
        return Setpoint(target.position + position, target.velocity + velocity, target.acceleration + acceleration)

    def _plan(self, plan: InputParameter) -> None:
        for share in _JERK_SHARES:
            plan.max_jerk = (share * self.limits.jerk).tolist()
            try:
                if self._planner.calculate(plan, self._trajectory) in (Result.Working, Result.Finished):
                    return
            except RuckigError:
                if share == _JERK_SHARES[-1]:
                    raise
        raise RuckigError("the planner found no motion")

    def _stoppable_target(self, position: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray) -> Setpoint:
        """The target as wanted where its motion could still stop within the limits, else at rest."""
        limits = self.limits
        position = np.clip(position, limits.lower, limits.upper)
        velocity = np.clip(velocity, -_TARGET_SHARE * limits.velocity, _TARGET_SHARE * limits.velocity)
        # As the velocity limit comes near, so must the acceleration end.
        room = np.sqrt(2.0 * limits.jerk * (limits.velocity - np.abs(velocity)))
        most = np.minimum(_TARGET_SHARE * limits.acceleration, np.where(velocity * acceleration > 0.0, room, np.inf))
        # Nor has it been faster than the limit a period ago, where the planner starts.
        before = _TARGET_SHARE * limits.velocity / self.period_s
        slower, faster = velocity / self.period_s - before, velocity / self.period_s + before
        acceleration = np.clip(acceleration, np.maximum(slower, -most), np.minimum(faster, most))
        lowest, highest = brake_from(position, velocity, acceleration, limits.acceleration, limits.jerk).extent()
        keep = (lowest >= limits.lower - _POSITION_ROUNDING) & (highest <= limits.upper + _POSITION_ROUNDING)
        return Setpoint(position, np.where(keep, velocity, 0.0), np.where(keep, acceleration, 0.0))

    def _stoppable(self, now: Setpoint, moved: Setpoint) -> np.ndarray:
        """(S,) whether braking from `moved` keeps every limit: then the next cycle can always brake."""
        limits = self.limits
        left_over = moved.velocity + moved.acceleration * np.abs(moved.acceleration) / (2.0 * limits.jerk)
        fastest = np.maximum(np.abs(moved.velocity), np.abs(left_over))
        brake = brake_from(*_parts(moved), limits.acceleration, limits.jerk)
        lowest, highest = brake.extent()
        inside = (lowest >= np.minimum(limits.lower, now.position) - _POSITION_ROUNDING) & (
            highest <= np.maximum(limits.upper, now.position) + _POSITION_ROUNDING
        )
        slow = fastest <= limits.velocity * (1 + _ROUNDING)
        return inside & slow & (np.abs(moved.acceleration) <= limits.acceleration * (1 + _ROUNDING))

    def _braked(self, now: Setpoint) -> Setpoint:
        limits = self.limits
        brake = brake_from(*_parts(now), limits.acceleration, limits.jerk)
        return Setpoint(*brake.at(self.period_s))

    def _commit(self, now: Setpoint, moved: Setpoint) -> Setpoint:
        if not all(np.isfinite(part).all() for part in _parts(moved)):
            self.reset(now.position)
            raise MotionLimiterError(f"no finite command follows {now}: the position is held")
        lower, upper = np.minimum(self.limits.lower, now.position), np.maximum(self.limits.upper, now.position)
        self._setpoint = Setpoint(np.clip(moved.position, lower, upper), moved.velocity, moved.acceleration)
        for part in _parts(self._setpoint):
            part.setflags(write=False)  # the next command starts from what the caller now holds
        return self._setpoint

    def _checked(self, values: np.ndarray, name: str) -> np.ndarray:
        array = np.array(values, dtype=np.float64)
        if array.shape != self.limits.lower.shape:
            raise ValueError(f"{name}: expected {len(self.limits.lower)} slots, found an array of {array.shape}")
        if not np.isfinite(array).all():
            slot = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"{name}: slot {slot} is {array[slot]}, expected a finite number")
        return array


def _parts(state: Setpoint) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return state.position, state.velocity, state.acceleration


def _choose(where: np.ndarray, this: Setpoint, that: Setpoint) -> Setpoint:
    return Setpoint(*(np.where(where, a, b) for a, b in zip(_parts(this), _parts(that), strict=True)))
