"""The controller: the only part that commands the robot, and the one that stays in charge when others fail.

    idle ──arm──▶ armed ──run──▶ running ──fault or hold──▶ holding ──run──▶ running
      ◀─────────────────────── reset ────────────────────────┘ ┊
    any of them ──stop──▶ stopped ──reset──▶ idle

Idle commands nothing: what would be commanded is worked out as a shadow. Armed holds the measured posture. Holding came
by itself or by word, and is left on an operator's word alone. Where somebody else commands the robot it brakes, and is
idle once it rests: two streams of commands would fight.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import (
    NS,
    ChunkFields,
    ChunkRejectedError,
    check_fields,
    check_size,
    fields_of,
)
from activemimic_description.robot import Robot

from activemimic_control.chunk_aggregation import make_chunk_aggregation
from activemimic_control.chunk_validation import ChunkValidator
from activemimic_control.collision import CollisionGuard, Workspace
from activemimic_control.limiter import MotionLimiter, MotionLimiterError, MotionLimits, Setpoint
from activemimic_control.player import ChunkPlayer, Wanted
from activemimic_control.state_filter import StateFilter
from activemimic_control.tracking_error import TrackingMonitor
from activemimic_control.watchdogs import Clocks, Fault, PolicyWatch

Source = Literal["policy", "teleop"]
Mode = Literal["idle", "armed", "running", "holding", "stopped"]
FRESH_S = 0.1  # a joint state this new says where the robot is
BEYOND = {"rad": 0.05, "m": 0.01, "fraction": 0.1}  # a slot's limits, by which it may be measured: calibration, noise
ENOUGH_RESTING = 5  # commands of one posture: one that is lost on the way leaves some to see that it rests
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ControllerConfig:
    """Times in seconds. `period_s` is the time from one `update` to the next."""

    period_s: float = 0.01
    max_chunk_age_s: float = 1.0  # of a chunk's observation, when the chunk arrives
    max_chunk_lead_s: float = 0.1  # how far its observation may lie in the future: clocks that differ
    max_chunk_points: int = 128
    max_chunk_s: float = 5.0  # from its observation to its last point
    max_chunk_gap_s: float = 0.5  # after the end of a policy's chunk, before its silence is a fault
    max_heartbeat_gap_s: float = 0.3  # of a policy that has a heartbeat
    max_state_age_s: float = 0.25
    max_period_s: float = 0.2  # from one update to the next
    max_lead_rad: float = 0.2618  # of a command before the measured joint; the vendor refuses more
    max_lead_m: float = 0.05
    max_stuck_s: float = 0.3  # a joint may stand that far from its command
    margin_m: float = 0.02  # between the robot's links
    workspace: Workspace | None = None
    motion_scale: float = 1.0  # of velocity, acceleration and jerk
    deadman_s: float = 0.0  # a deadman's switch has to be pressed at least so often; 0: there is none
    latch_policy_grippers: bool = True
    chunk_aggregation: str = "replace"  # what remains of earlier policy chunks: a name of CHUNK_AGGREGATIONS


@dataclass(frozen=True)
class Verdict:
    accepted: bool
    reason: str


@dataclass(frozen=True)
class Command:
    """What shall be sent now: positions (S,) in slot units, or None for nothing at all.

    A `shadow` goes nowhere near the robot. `source` is who moves it now, "" for nobody.
    """

    positions: np.ndarray | None
    mode: Mode
    reason: str
    shadow: bool = False
    source: Source | Literal[""] = ""


@dataclass(frozen=True)
class LimitEvent:
    """What was asked for a slot, what was sent in its place, and why; `kind` is that of the counter."""

    kind: str
    slot: str
    asked: float
    sent: float
    reason: str


class Controller:
    """Plays chunks on the caller's clock, within the robot's limits; brakes and holds when in doubt.

    `counters` counts limit events by kind: rejected_* (chunks), holding_* (faults that ended a run), limited_position,
    limited_motion, limited_lead and limited_collision (updates in which at least one slot was not sent where it was
    wanted), state_* (measured states that were not believed, see StateFilter). `limit_events` holds the newest of them
    until somebody takes them out.
    """

    def __init__(self, robot: Robot, config: ControllerConfig | None = None) -> None:
        self.config = config = config or ControllerConfig()
        self.counters: Counter[str] = Counter()
        self.limit_events: deque[LimitEvent] = deque(maxlen=32)
        self.mode: Mode = "idle"
        self.reason = "nothing is commanded until it is armed"
        self._slot_names = tuple(slot.name for slot in robot.slots)
        grippers = [slot.name for slot in robot.slots if slot.is_gripper]
        aggregation = make_chunk_aggregation(config.chunk_aggregation)
        self._policy = ChunkPlayer(self._slot_names, grippers, config.latch_policy_grippers, aggregation)
        self._teleop = ChunkPlayer(self._slot_names, grippers, latch_grippers=False)
        self._lower, self._upper = robot.lower, robot.upper
        self._limiter = MotionLimiter(MotionLimits.of(robot, config.motion_scale), config.period_s)
        self._guard = CollisionGuard(robot, config.margin_m, config.workspace)
        self._validator = ChunkValidator(robot)
        self._tracking = TrackingMonitor(robot, config.max_lead_rad, config.max_lead_m, config.max_stuck_s)
        self._measured = StateFilter(robot, self._tracking.max_lead, config.max_state_age_s, config.max_chunk_lead_s)
        beyond = np.array([BEYOND[slot.unit] for slot in robot.slots])
        self._lowest, self._highest = robot.lower - beyond, robot.upper + beyond
        self._clocks = Clocks(config.period_s, config.max_period_s)
        self._watch = PolicyWatch(config.max_heartbeat_gap_s, config.max_chunk_gap_s, config.max_chunk_age_s)
        self._commands = False  # whether it sends commands to the robot,
        self._resting = 0  # and how many of them in a row did not move it
        self._since_ns = 0  # chunks whose observation is older do not count
        self._pressed_ns: int | None = None  # the deadman's switch, last, on the steady clock
        self._conflict = ""
        self._rival = ""  # who else commands the robot
        self._in_charge: Source | None = None  # whose chunk was accepted last, and
        self._end_ns: int | None = None  # when that ends
        self._last_ns = 0  # when the last command was given

    @property
    def state_age_s(self) -> float:
        """Since the newest believed joint state; infinite if there was none."""
        return self._measured.age_s(self._clocks.steady_ns)

    @property
    def at_rest(self) -> bool:
        """Whether the robot is not commanded to move: nothing is commanded at all, or one posture."""
        return not self._commands or self._resting >= ENOUGH_RESTING

    # An operator's words. Each answers why it cannot be, or "".

    def arm(self, now_ns: int) -> str:
        """From idle: command the measured posture. Refused where anything is wrong that would make it hold."""
        if self.mode != "idle":
            return f"it is {self.mode}; reset it first"
        if fault := self._standing_fault() or self._measured.unsure(now_ns) or self._measured.moving():
            return fault.reason
        assert self._measured.slots is not None
        self._start_from(self._measured.slots, now_ns)
        self._measured.forget_displacement()
        self._commands, self._resting = True, ENOUGH_RESTING
        self._forget_chunks(now_ns)
        self._enter("armed", "holds the measured posture")
        return ""

    def run(self, now_ns: int) -> str:
        """From armed or holding: play chunks whose observations are newer than now."""
        if self.mode not in ("armed", "holding"):
            return f"it is {self.mode}; " + ("reset it first" if self.mode == "stopped" else "arm it first")
        if fault := self._standing_fault() or self._measured.unsure(now_ns):
            return fault.reason
        assert self._measured.slots is not None
        far = self._tracking.too_far(self._limiter.setpoint.position, self._measured.slots)
        if elsewhere := self._measured.displaced or far:
            return f"{elsewhere}; reset and arm it"
        self._forget_chunks(now_ns)
        self._enter("running", "waits for a first chunk")
        return ""

    def hold(self) -> str:
        """From armed or running: brake and hold the posture. In any other mode nothing moves anyway."""
        if self.mode in ("armed", "running"):
            self._enter("holding", "an operator said so")
        return ""

    def stop(self) -> str:
        """Brake, hold, and do nothing else until it is reset. From idle: command nothing until it is reset."""
        self._enter("stopped", "an operator said so")
        return ""

    def reset(self) -> str:
        """To idle, once the robot rests: nothing is commanded any more."""
        if not self.at_rest:
            return "the robot is still braking"
        self._release("nothing is commanded until it is armed")
        return ""

    # What arrives.

    def on_state(self, slots: np.ndarray, stamp_ns: int, now_ns: int) -> None:
        """Take a measured robot vector (S,). One that is not believed is counted and ignored."""
        commanded = self._limiter.setpoint.position if self._commands else None
        if refused := self._measured.add(slots, stamp_ns, now_ns, self._clocks.steady_ns, commanded):
            self.counters[f"state_{refused}"] += 1

    def on_deadman(self, pressed: bool, now_ns: int) -> None:
        """Take what the deadman's switch says."""
        self._pressed_ns = self._clocks.steady_ns if pressed else None

    def on_conflict(self, conflict: str, rival: str = "") -> None:
        """Take who publishes beside the one that may: joint states or chunks, and (`rival`) commands; "" if nobody."""
        self._conflict, self._rival = conflict, rival

    def on_heartbeat(self, problem: str, chunk_period_s: float) -> None:
        """Take the policy's heartbeat: why it cannot infer ("" if it can), and the time from one chunk to the next."""
        self._watch.on_heartbeat(problem, chunk_period_s, self._clocks.steady_ns)

    def on_chunk(self, chunk: Chunk | ChunkFields, source: Source, now_ns: int) -> Verdict:
        """Accept a chunk whole or reject it whole; a rejected one changes nothing."""
        fields = fields_of(chunk, self._slot_names) if isinstance(chunk, Chunk) else chunk
        if source == "policy":
            self._watch.on_chunk(self._clocks.steady_ns)
        try:
            checked = self._checked(fields, source, now_ns)
        except ChunkRejectedError as rejection:
            self.counters[f"rejected_{rejection.kind}"] += 1
            return Verdict(False, f"{source} chunk rejected: {rejection}")
        player, other = (self._policy, self._teleop) if source == "policy" else (self._teleop, self._policy)
        if self.mode == "idle" and self._measured.slots is not None:
            self._start_from(self._measured.slots, now_ns)  # a shadow: the robot does not follow it
            self._in_charge = None
        if source != self._in_charge:
            player.reset(self._limiter.setpoint.motion, self._last_ns)  # it goes on as the robot moves now
            other.reset()
            self._watch.reset(self._clocks.steady_ns)
        player.accept(checked)
        self._in_charge = source
        self._end_ns = checked.end_ns
        age_s, left_s = (now_ns - checked.stamp_ns) / NS, (checked.end_ns - now_ns) / NS
        self._watch.on_accepted(age_s, left_s, self._clocks.steady_ns)
        self.counters[f"accepted_{source}"] += 1
        return Verdict(True, "accepted")

    def update(self, now_ns: int, steady_ns: int | None = None) -> Command:
        """The command for now. Call it once every `period_s`: the limits of motion count on it, not on `now_ns`.

        `steady_ns` is the time of a clock that cannot be set; without it clocks are not compared.
        """
        clock_fault = self._clocks.look(now_ns, now_ns if steady_ns is None else steady_ns)
        if self.mode in ("armed", "running"):
            fault = clock_fault or self._standing_fault() or self._running_fault()
            if fault is not None:
                self._fail(fault)
        self._last_ns = now_ns
        if self._commands and self._rival and self.at_rest:
            self._leave_to_rival()
        if not self._commands and (self.mode == "stopped" or self._end_ns is None or now_ns > self._end_ns):
            return Command(None, self.mode, self.reason)
        setpoint, source = self._moved(now_ns)
        self._resting = self._resting + 1 if self._limiter.at_rest else 0
        return Command(setpoint.position.copy(), self.mode, self.reason, not self._commands, source)

    def _moved(self, now_ns: int) -> tuple[Setpoint, Source | Literal[""]]:
        """One cycle of the limiter: towards what the chunks want, after a robot that was pushed away, or to rest."""
        if self.mode in ("running", "idle"):
            for source, player in (("teleop", self._teleop), ("policy", self._policy)):
                wanted = player.sample(now_ns)
                if wanted is not None:
                    if self.mode == "running":
                        self.reason = f"playing a {source} chunk"
                    return self._towards(wanted), source  # type: ignore[return-value]
            if self.mode == "running" and self._end_ns is not None:
                self.reason = f"waits for a chunk since {(now_ns - self._end_ns) / NS:.1f} s"
        if self._commands and self.state_age_s < FRESH_S and not (self._conflict or self._rival):
            assert self._measured.slots is not None
            yielding = self._tracking.yielding(self._limiter.setpoint.position, self._measured.slots)
            if yielding.any():
                return self._after_the_robot(yielding, self._measured.slots), ""
        return self._limiter.brake(), ""

    def _after_the_robot(self, yielding: np.ndarray, measured: np.ndarray) -> Setpoint:
        """The slots that yield (S,) go to where they are `measured` (S,), all others to rest."""
        before = self._limiter.setpoint
        rest = self._limiter.stopping_position()
        setpoint = self._stepped(np.where(yielding, measured, rest), np.zeros_like(rest))
        if too_close := self._guard.check(before.position, self._limiter.stopping_position()):
            return self._instead(before, rest, "limited_collision", too_close)
        self._note("limited_lead", yielding, before.position, setpoint.position, "the command goes after the robot")
        return setpoint

    def _towards(self, wanted: Wanted) -> Setpoint:
        before = self._limiter.setpoint
        within = np.clip(wanted.position, self._lower, self._upper)
        beyond = np.abs(within - wanted.position) > _ROUNDING
        self._note("limited_position", beyond, wanted.position, within, "outside its limits")
        measured = self._measured.slots if self.mode == "running" else None
        back, far = within, np.zeros_like(beyond)
        if measured is not None:
            back, far = self._tracking.within(within, before.position, measured)
        setpoint = self._stepped(back, np.where(beyond | far, 0.0, wanted.velocity))
        late = np.abs(setpoint.position - back) > self._max_deviation()
        self._note("limited_motion", late, within, setpoint.position, "as quickly as its limits allow")
        stop = self._limiter.stopping_position()  # what must not be reached is braked for in time
        if too_close := self._guard.check(before.position, stop):
            return self._instead(before, within, "limited_collision", too_close)
        if measured is not None and (too_far := self._tracking.too_far(np.where(far, measured, stop), measured)):
            return self._instead(before, within, "limited_lead", too_far)
        self._note("limited_lead", far, within, setpoint.position, "the robot does not follow")
        return setpoint

    def _stepped(self, position: np.ndarray, velocity: np.ndarray) -> Setpoint:
        """The limiter's next command towards `position` (S,); where it finds none, a fault and the quickest stop."""
        before = self._limiter.setpoint
        try:
            return self._limiter.step(position, velocity)
        except (MotionLimiterError, ValueError) as error:
            self._fail(Fault("limiter", str(error)))
            self._limiter.go_back(before)
            return self._limiter.brake()

    def _instead(self, before: Setpoint, wanted: np.ndarray, kind: str, reason: str) -> Setpoint:
        """Brake from the setpoint `before` in place of what would have come next."""
        self._limiter.go_back(before)
        braked = self._limiter.brake()
        change = np.abs(wanted - braked.position)
        self._note(kind, change == change.max(), wanted, braked.position, reason)
        if self.mode == "running":
            self.reason = reason
        return braked

    def _note(self, kind: str, slots: np.ndarray, asked: np.ndarray, sent: np.ndarray, reason: str) -> None:
        if slots.any():
            self.counters[kind] += 1
            s = int(np.argmax(np.where(slots, np.abs(asked - sent), -1.0)))
            name = self._slot_names[s]
            self.limit_events.append(LimitEvent(kind, name, float(asked[s]), float(sent[s]), f"{name}: {reason}"))

    def _max_deviation(self) -> np.ndarray:
        """(S,) more than a cycle's motion behind what is wanted is a limited motion, less is a follower's error."""
        return self._limiter.limits.velocity * self.config.period_s

    # What may be wrong.

    def _standing_fault(self) -> Fault | None:
        """What must not be while the robot is commanded, whatever it does: it refuses to arm, and it makes it hold."""
        if self._rival or self._conflict:
            return Fault("conflict", "; ".join(filter(None, (self._rival, self._conflict))))
        if self.config.deadman_s and (
            self._pressed_ns is None or (self._clocks.steady_ns - self._pressed_ns) / NS > self.config.deadman_s
        ):
            return Fault("deadman", "the deadman's switch is not pressed")
        return self._measured.fault(self._clocks.steady_ns) or self._posture_fault()

    def _posture_fault(self) -> Fault | None:
        measured = self._measured.slots
        assert measured is not None
        outside = (measured < self._lowest) | (measured > self._highest)
        if not outside.any():
            return None
        s = int(np.argmax(outside))
        where = f"{self._slot_names[s]} is measured at {measured[s]:.3f}"
        return Fault("posture", f"{where}, outside its limits ({self._lower[s]:.3f} to {self._upper[s]:.3f})")

    def _running_fault(self) -> Fault | None:
        steady_ns = self._clocks.steady_ns
        is_policy = self.mode == "running" and self._in_charge == "policy"
        if is_policy and (fault := self._watch.fault(steady_ns)):
            return fault
        assert self._measured.slots is not None
        stuck = self._tracking.stuck(self._limiter.setpoint.position, self._measured.slots, steady_ns)
        return Fault("not_following", f"the robot does not follow: {stuck}") if stuck else None

    def _fail(self, fault: Fault) -> None:
        self.counters[f"holding_{fault.kind}"] += 1
        if self.mode in ("armed", "running"):
            self._enter("holding", fault.reason)

    def _checked(self, fields: ChunkFields, source: Source, now_ns: int) -> Chunk:
        check_size(fields, self.config.max_chunk_points, self.config.max_chunk_s)
        self._check_time(fields, now_ns)
        checked = check_fields(fields, self._slot_names)
        if checked.end_ns < now_ns:
            raise ChunkRejectedError("stale", f"its last point was due {(now_ns - checked.end_ns) / NS:.2f} s ago")
        if fault := self._measured.fault(self._clocks.steady_ns):
            raise ChunkRejectedError("no_state", fault.reason)
        if source == "policy" and self._teleop.chunk and now_ns <= self._teleop.chunk.end_ns:
            raise ChunkRejectedError("teleop", "teleoperation is in charge")
        assert self._measured.slots is not None
        self._validator.check(checked, self._measured.slots, now_ns)
        return checked

    def _check_time(self, fields: ChunkFields, now_ns: int) -> None:
        if self.mode not in ("running", "idle"):
            raise ChunkRejectedError("not_running", f"the controller is {self.mode}: {self.reason}")
        age_s = (now_ns - fields.stamp_ns) / NS
        if age_s < -self.config.max_chunk_lead_s:
            raise ChunkRejectedError("future", f"its observation lies {-age_s:.2f} s ahead; do the clocks agree?")
        if age_s > self.config.max_chunk_age_s:
            limit = self.config.max_chunk_age_s
            raise ChunkRejectedError("stale", f"its observation is {age_s:.2f} s old (limit {limit:.2f} s)")
        if fields.stamp_ns < self._since_ns:
            raise ChunkRejectedError("before_run", "its observation is older than the word to run")

    # From one mode to another.

    def _enter(self, mode: Mode, reason: str) -> None:
        if mode in ("holding", "stopped") and self.mode != mode:
            self._forget_chunks(self._last_ns)
        self.mode, self.reason = mode, reason

    def _release(self, reason: str) -> None:
        """To idle: from now on nothing is commanded."""
        self._commands = False
        self._forget_chunks(self._last_ns)
        self._enter("idle", reason)

    def _leave_to_rival(self) -> None:
        reason = f"commands nothing, since another one does: {self._rival}"
        if self.mode == "stopped":
            self._commands, self.reason = False, reason
        else:
            self._release(reason)

    def _start_from(self, posture: np.ndarray, now_ns: int) -> None:
        self._limiter.reset(posture)
        self._tracking.reset()
        self._last_ns = now_ns

    def _forget_chunks(self, now_ns: int) -> None:
        self._since_ns = now_ns
        self._in_charge = self._end_ns = None
        self._watch.reset(self._clocks.steady_ns)
        self._policy.reset()
        self._teleop.reset()
