"""The controller: the only part that commands the robot, and the one that stays in charge when others fail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from activemimic_description.robot import Robot
from activemimic_policy.execution.chunk import Chunk
from activemimic_policy.execution.joining import make_joining
from activemimic_policy.execution.player import ChunkPlayer

from activemimic_bringup.control.chunk_fields import NS, ChunkFields, ChunkRejectedError, check_fields, fields_of

Source = Literal["policy", "teleop"]
Mode = Literal["disabled", "waiting", "holding", "running"]


@dataclass(frozen=True)
class ControllerConfig:
    """Times in seconds. `period_s` is the time from one `update` to the next."""

    period_s: float = 1 / 30
    max_chunk_age_s: float = 1.0  # of a chunk's observation, when the chunk arrives
    max_chunk_lead_s: float = 0.1  # how far its observation may lie in the future: clocks that differ
    max_state_age_s: float = 0.3
    latch_policy_grippers: bool = True
    join: str = "replace"  # how the policy's chunks are joined: a name of `execution.joining.JOININGS`


@dataclass(frozen=True)
class Verdict:
    accepted: bool
    reason: str


@dataclass(frozen=True)
class Command:
    """What shall be sent now: positions (S,) in slot units, or None for nothing at all."""

    positions: np.ndarray | None
    mode: Mode
    reason: str


class Controller:
    """Plays chunks on the caller's clock, within the robot's limits; holds the last command when in doubt.

    `counters` counts interventions by kind: rejected_*, holding_*, limited_position, limited_velocity
    (updates in which at least one slot was limited), state_invalid.
    """

    def __init__(self, robot: Robot, config: ControllerConfig | None = None) -> None:
        self.config = config or ControllerConfig()
        self.counters: Counter[str] = Counter()
        self._slot_names = tuple(slot.name for slot in robot.slots)
        grippers = [slot.name for slot in robot.slots if slot.is_gripper]
        joining = make_joining(self.config.join)
        self._policy = ChunkPlayer(self._slot_names, grippers, self.config.latch_policy_grippers, joining)
        self._teleop = ChunkPlayer(self._slot_names, grippers, latch_grippers=False)
        self._lower, self._upper = robot.lower, robot.upper
        self._max_step = robot.velocity * self.config.period_s
        self._state: np.ndarray | None = None
        self._state_stamp_ns = 0
        self._enabled_ns: int | None = None
        self._last: np.ndarray | None = None  # the last command, (S,), and
        self._last_ns = 0  # when it was given
        self._in_charge: Source | None = None  # whose chunk was accepted last, and
        self._end_ns: int | None = None  # when that ends

    @property
    def enabled(self) -> bool:
        return self._enabled_ns is not None

    def state_age_s(self, now_ns: int) -> float:
        """Age of the newest measured state; infinite if there is none."""
        return float("inf") if self._state is None else (now_ns - self._state_stamp_ns) / NS

    def enable(self, now_ns: int) -> None:
        """Start from the measured pose; states and chunks from before `now_ns` no longer count."""
        self._enabled_ns = now_ns
        self._last = self._end_ns = self._in_charge = None

    def disable(self) -> None:
        """Send nothing any more."""
        self._enabled_ns = None

    def on_state(self, slots: np.ndarray, stamp_ns: int, now_ns: int) -> None:
        """Take a measured robot vector (S,). One that is not finite is counted and ignored."""
        if not np.all(np.isfinite(slots)):
            self.counters["state_invalid"] += 1
            return
        self._state = np.asarray(slots, dtype=np.float64)
        self._state_stamp_ns = stamp_ns

    def on_chunk(self, chunk: Chunk | ChunkFields, source: Source, now_ns: int) -> Verdict:
        """Accept a chunk whole or reject it whole; a rejected one changes nothing."""
        fields = fields_of(chunk, self._slot_names) if isinstance(chunk, Chunk) else chunk
        try:
            self._check_time(fields, now_ns)
            checked = check_fields(fields, self._slot_names)
            if checked.end_ns < now_ns:
                raise ChunkRejectedError("stale", f"its last point was due {(now_ns - checked.end_ns) / NS:.2f} s ago")
            if not self._started(now_ns):
                raise ChunkRejectedError("no_state", "no joint state since the controller was enabled")
            if source == "policy" and self._teleop.chunk and now_ns <= self._teleop.chunk.end_ns:
                raise ChunkRejectedError("teleop", "teleoperation is in charge")
        except ChunkRejectedError as rejection:
            self.counters[f"rejected_{rejection.kind}"] += 1
            return Verdict(False, f"{source} chunk rejected: {rejection}")
        player, other = (self._policy, self._teleop) if source == "policy" else (self._teleop, self._policy)
        if source != self._in_charge:
            player.reset(self._last)  # it goes on from where, and since when, the robot is
            player.sample(self._last_ns)
            other.reset()
        player.accept(checked)
        self._in_charge = source
        self._end_ns = checked.end_ns
        self.counters[f"accepted_{source}"] += 1
        return Verdict(True, "accepted")

    def update(self, now_ns: int) -> Command:
        """The command for now. Call it once every `period_s`: the velocity limit counts on it."""
        if self._enabled_ns is None:
            return Command(None, "disabled", "not enabled")
        if not self._started(now_ns) or self._last is None:
            reason = self._state_fault(now_ns) or "no joint state since the controller was enabled"
            return Command(None, "waiting", reason)
        mode, reason, target = self._target(now_ns, self._last)
        self._last, self._last_ns = self._limited(target, self._last), now_ns
        return Command(self._last.copy(), mode, reason)

    def _started(self, now_ns: int) -> bool:
        """Whether there is a pose to go on from; takes the measured one as soon as it is newer than enabling."""
        if self._enabled_ns is None or self._state is None:
            return False
        if self._last is None and self._state_stamp_ns >= self._enabled_ns and not self._state_fault(now_ns):
            self._last, self._last_ns = np.clip(self._state, self._lower, self._upper), now_ns
            self._policy.reset()
            self._teleop.reset()
        return self._last is not None

    def _target(self, now_ns: int, last: np.ndarray) -> tuple[Mode, str, np.ndarray]:
        if state_fault := self._state_fault(now_ns):
            self.counters["holding_state"] += 1
            return "holding", state_fault, last
        for name, player in (("teleop", self._teleop), ("policy", self._policy)):
            wanted = player.sample(now_ns)
            if wanted is not None:
                return "running", f"playing a {name} chunk", wanted.position
        self.counters["holding_no_chunk"] += 1
        if self._end_ns is None:
            return "holding", "no chunk accepted since the controller was enabled", last
        return "holding", f"the last chunk ended {(now_ns - self._end_ns) / NS:.1f} s ago", last

    def _limited(self, target: np.ndarray, last: np.ndarray) -> np.ndarray:
        within = np.clip(target, self._lower, self._upper)
        slow = np.clip(within, last - self._max_step, last + self._max_step)
        self.counters["limited_position"] += bool(np.any(np.abs(within - target) > 1e-9))
        self.counters["limited_velocity"] += bool(np.any(np.abs(slow - within) > 1e-9))
        return slow

    def _state_fault(self, now_ns: int) -> str:
        if self._state is None:
            return "no joint state has arrived"
        age_s = self.state_age_s(now_ns)
        if age_s > self.config.max_state_age_s:
            return f"the joint state is {age_s:.2f} s old (limit {self.config.max_state_age_s:.2f} s)"
        return ""

    def _check_time(self, fields: ChunkFields, now_ns: int) -> None:
        if self._enabled_ns is None:
            raise ChunkRejectedError("disabled", "the controller is not enabled")
        age_s = (now_ns - fields.stamp_ns) / NS
        if age_s < -self.config.max_chunk_lead_s:
            raise ChunkRejectedError("future", f"its observation lies {-age_s:.2f} s ahead; do the clocks agree?")
        if age_s > self.config.max_chunk_age_s:
            limit = self.config.max_chunk_age_s
            raise ChunkRejectedError("stale", f"its observation is {age_s:.2f} s old (limit {limit:.2f} s)")
        if fields.stamp_ns < self._enabled_ns:
            raise ChunkRejectedError("before_enable", "its observation is older than the enabling of the controller")
