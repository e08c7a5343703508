"""ROS shell of `control.Controller`: state and chunks in, commands out, at a fixed rate."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from typing import Any

from activemimic_control.controller import Command, Controller, ControllerConfig, LimitEvent, Source
from activemimic_control.timing import ChunkTimer, ChunkTimes
from activemimic_description.chunk_fields import largest_message, read_trajectory
from activemimic_description.codec import CodecError, encode_command, stamp_ns
from activemimic_description.common.rates import PeriodMonitor, StreamMonitor
from activemimic_description.common.scheduling import favoured
from activemimic_description.contract import JointSource, load_contract
from activemimic_description.measured_state import MeasuredState
from activemimic_description.messages import RosMessages, ros_class
from activemimic_description.robot import load_robot
from activemimic_description.stack_topics import CHALLENGE, CHUNK, CONTROL, DEADMAN, HEARTBEAT, SHADOW, TELEOP, TIMING
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from activemimic_bringup.launching.parameters import CONTROLLER
from activemimic_bringup.nodes.node import OK, WARN, Diagnostics, declare, diagnostic, qos_profile, run
from activemimic_bringup.nodes.operator_key import KEYED_WORDS, Challenges, controllers_key
from activemimic_bringup.nodes.realtime import NICENESS, PRIORITY, claim_realtime

WORDS = ("arm", "run", "hold", "stop", "reset")
INTERVENTION_NS = 100_000_000  # between two reports of one kind
LOOK_ROUND_S = 0.1  # for others who publish what only one may
UNDISTURBED_NS = 1_000_000  # between two readings of the steady clock, with one of the other clock between them

_HOW_TO_RUN = "activemimic robot arm, then activemimic robot run"
_ASKS_FOR_KEY = "the operator key is asked for: activemimic robot {}"
_LEVELS = {"running": OK, "armed": OK, "idle": OK, "holding": WARN, "stopped": WARN}


class ControllerNode(Node):
    """Subscribes the contract's state topics, /activemimic/chunk and /activemimic/teleop; commands the robot."""

    def __init__(self) -> None:
        with favoured(NICENESS, PRIORITY):
            super().__init__("controller")
        values = declare(self, CONTROLLER, self._on_set)
        key = controllers_key(values["operator_key_file"])
        self._challenges = Challenges(key) if key else None
        self._contract = load_contract(values["contract"])
        period_s = 1.0 / values["rate_hz"]
        config = ControllerConfig(
            period_s=period_s,
            max_chunk_age_s=values["max_chunk_age_s"],
            max_chunk_points=self._contract.max_chunk_points,
            max_chunk_s=self._contract.max_chunk_s,
            max_chunk_gap_s=values["max_chunk_gap_s"],
            max_heartbeat_gap_s=values["max_heartbeat_gap_s"],
            max_state_age_s=values["max_state_age_s"],
            max_lead_rad=values["max_lead_rad"],
            max_lead_m=values["max_lead_m"],
            margin_m=values["collision_margin_m"],
            motion_scale=values["motion_scale"],
            deadman_s=values["deadman_s"],
            latch_policy_grippers=values["latch_policy_grippers"],
            chunk_aggregation=values["chunk_aggregation"],
        )
        robot = load_robot(self._contract.robot)
        self._slots = [slot.name for slot in robot.slots]
        self._controller = Controller(robot, config)
        self._measured = MeasuredState(self._contract)
        self._messages = RosMessages()
        self._periods = PeriodMonitor(size=round(10 * values["rate_hz"]))
        self._misses = 0  # updates more than half a period late
        self._last_steady_ns = 0
        self._chunk_timer = ChunkTimer(len(self._slots))
        self._streams = {source.topic: StreamMonitor(source.rate_hz) for source in self._contract.state}
        self._said = Command(None, "idle", "")
        self._reported_ns: dict[str, int] = {}
        self._start_running = values["start_running"]
        self._ending = False
        self._connect(period_s)
        self._realtime = claim_realtime()
        self.get_logger().info(
            f"ready: contract {self._contract.name}, {values['rate_hz']:g} Hz, {self._realtime}; "
            f"{'it runs as soon as the robot is there' if self._start_running else _HOW_TO_RUN}"
        )
        if key is None:
            self.get_logger().warning("the operator key is off: anyone in this ROS domain may arm and run the robot")

    def begin_to_end(self) -> None:
        """Brake; from now on nobody can arm or run it."""
        self._ending, self._start_running = True, False
        self._controller.hold()

    @property
    def ended(self) -> bool:
        """Whether the robot rests after a signal to end; it may be asked from then on."""
        return self._ending and self._controller.at_rest

    def close(self) -> None:
        """Give up the planner while the interpreter is whole: it would complain of leaks at the end."""
        gc.unfreeze()
        del self._controller

    def _connect(self, period_s: float) -> None:
        self._sinks = {
            sink.topic: self.create_publisher(ros_class(sink.type), sink.topic, qos_profile(sink.qos))
            for sink in self._contract.commands
        }
        self._shadow = self.create_publisher(JointState, SHADOW.name, 10)
        self._control = self.create_publisher(DiagnosticStatus, CONTROL.name, 100)
        self._timing = self.create_publisher(DiagnosticStatus, TIMING.name, 100)
        self._diagnostics = Diagnostics(self)
        for source in self._contract.state:
            self._subscribe_state(source)
        self._subscribe_chunks(CHUNK.name, "policy")
        self._subscribe_chunks(TELEOP.name, "teleop")
        self.create_subscription(DiagnosticStatus, HEARTBEAT.name, self._on_heartbeat, 10)
        self.create_subscription(Bool, DEADMAN.name, self._on_deadman, 10)
        for word in WORDS:
            self.create_service(Trigger, f"~/{word}", self._answer_to(word))
        self.create_service(Trigger, CHALLENGE.name, self._on_challenge)
        steady = Clock(
            clock_type=ClockType.STEADY_TIME
        )  # a timer of the node's clock stands still when that jumps back
        self.create_timer(period_s, self._on_timer, clock=steady)
        self.create_timer(1.0, self._report, clock=steady)
        self.create_timer(LOOK_ROUND_S, self._look_round, clock=steady)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _subscribe_state(self, source: JointSource) -> None:
        def on_state(message: Any) -> None:
            now_ns = self._now_ns()
            try:
                measured = self._measured.add(source.topic, message, now_ns)
            except CodecError as error:
                self.get_logger().error(f"state ignored: {error}", throttle_duration_sec=5.0)
                self._controller.counters["state_invalid"] += 1
                return
            self._streams[source.topic].add(stamp_ns(message), now_ns)
            if measured is not None:
                self._controller.on_state(*measured, now_ns=now_ns)
                self._tell_times(self._chunk_timer.on_state(*measured))

        self.create_subscription(ros_class(source.type), source.topic, on_state, qos_profile(source.qos))

    def _subscribe_chunks(self, topic: str, source: Source) -> None:
        largest = largest_message(len(self._slots), self._contract.max_chunk_points)

        def on_chunk(data: bytes) -> None:
            try:
                if len(data) > largest:  # reading it would take longer than a cycle
                    raise ValueError(f"{len(data)} bytes, expected at most {largest}")
                fields = read_trajectory(deserialize_message(data, JointTrajectory))
            except (RuntimeError, ValueError) as error:  # of bytes that are no such message
                self._controller.counters["rejected_message"] += 1
                self.get_logger().warning(f"{source} chunk rejected: {error}", throttle_duration_sec=1.0)
                return
            now_ns = self._now_ns()
            verdict = self._controller.on_chunk(fields, source, now_ns)
            if verdict.accepted:
                self._tell_times(self._chunk_timer.on_chunk(fields.stamp_ns, source, now_ns))
            else:
                self.get_logger().warning(verdict.reason, throttle_duration_sec=1.0)

        self.create_subscription(JointTrajectory, topic, on_chunk, 10, raw=True)

    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        values = {entry.key: entry.value for entry in message.values}
        try:
            period_s = float(values.get("chunk_period_s", 0.0))
        except ValueError:
            period_s = 0.0
        problem = "" if message.level == OK else message.message or "it does not say why"
        self._controller.on_heartbeat(problem, period_s if 0.0 < period_s <= self._contract.max_chunk_s else 0.0)

    def _on_deadman(self, message: Bool) -> None:
        self._controller.on_deadman(message.data, self._now_ns())

    def _on_timer(self) -> None:
        now_ns, steady_ns = self._clocks()
        if self._start_running and not self._controller.arm(now_ns):
            self._start_running = False
            self._controller.run(now_ns)
        command = self._controller.update(now_ns, steady_ns)
        self._watch_own_period(steady_ns)
        if command.positions is not None:
            if command.shadow:
                self._publish_shadow(command, now_ns)
            else:
                for topic, message in encode_command(self._contract, command.positions, now_ns, self._messages):
                    self._sinks[topic].publish(message)
        self._chunk_timer.on_command(None if command.shadow else command.positions, command.source, now_ns)
        self._tell(command, now_ns)

    def _clocks(self) -> tuple[int, int]:
        """Both clocks at one moment: what is put aside between two readings takes the one for a jump of the other."""
        for _ in range(10):
            before_ns = time.monotonic_ns()
            now_ns, steady_ns = self._now_ns(), time.monotonic_ns()
            if steady_ns - before_ns < UNDISTURBED_NS:
                break
        return now_ns, steady_ns

    def _watch_own_period(self, steady_ns: int) -> None:
        period_ns = 1e9 * self._controller.config.period_s
        self._misses += bool(self._last_steady_ns) and steady_ns - self._last_steady_ns > 1.5 * period_ns
        self._last_steady_ns = steady_ns
        self._periods.add(steady_ns)

    def _publish_shadow(self, command: Command, now_ns: int) -> None:
        message = JointState(name=self._slots, position=command.positions.tolist())  # type: ignore[union-attr]
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 1_000_000_000)
        self._shadow.publish(message)

    def _tell(self, command: Command, now_ns: int) -> None:
        """Log and publish a change of mode or of who moves the robot at once, limit events a few times a second."""
        said, self._said = self._said, command
        if (command.mode, command.source) != (said.mode, said.source):
            values = {"mode": command.mode, "source": command.source, "stamp": now_ns}
            level = _LEVELS[command.mode]
            self._control.publish(diagnostic("controller", level, f"{command.mode}: {command.reason}", values))
            if command.mode != said.mode and level == WARN:
                self.get_logger().warning(f"{command.mode}: {command.reason}")
            elif command.mode != said.mode:
                self.get_logger().info(f"{command.mode}: {command.reason}")
        while self._controller.limit_events:
            self._publish_limit_event(self._controller.limit_events.popleft(), now_ns)

    def _publish_limit_event(self, limit_event: LimitEvent, now_ns: int) -> None:
        if now_ns - self._reported_ns.get(limit_event.kind, 0) < INTERVENTION_NS:
            return
        self._reported_ns[limit_event.kind] = now_ns
        values = {
            "kind": limit_event.kind,
            "slot": limit_event.slot,
            "asked": limit_event.asked,
            "sent": limit_event.sent,
            "stamp": now_ns,
        }
        self._control.publish(diagnostic("controller", WARN, limit_event.reason, values))

    def _tell_times(self, times: ChunkTimes | None) -> None:
        if times is not None:
            values = {
                "source": times.source,
                "stamp": times.stamp_ns,
                "chunk_age_ms": times.chunk_age_ms,
                "first_command_ms": times.first_command_ms,
                "motion_ms": times.motion_ms,
            }
            self._timing.publish(diagnostic("controller", OK, "chunk", values))

    def _answer_to(self, word: str) -> Any:
        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            refusal = _ASKS_FOR_KEY.format(word) if self._challenges and word in KEYED_WORDS else self._say(word)
            response.success = not refusal
            response.message = refusal or self._controller.mode
            return response

        return answer

    def _on_challenge(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._challenges is not None
        response.message = self._challenges.new(time.monotonic_ns()) if self._challenges else "the operator key is off"
        return response

    def _on_set(self, values: dict[str, Any]) -> str:
        """Why a word said with the operator's key is refused; "" when it was done."""
        if "operator" not in values:
            return ""
        if self._challenges is None:
            return "the operator key is off: call ~/arm and ~/run"
        if len(values) > 1:
            return "operator: expected to be set alone"
        word, refusal = self._challenges.judge(values["operator"], time.monotonic_ns())
        return refusal or self._say(word)

    def _say(self, word: str) -> str:
        """Do what an operator's word asks for; the answer is why not, or ""."""
        self._start_running = False  # whoever speaks to it has taken over
        if self._ending and word in ("arm", "run"):
            return "the controller is ending"
        self._look_round()
        act = getattr(self._controller, word)
        return str(act(self._now_ns()) if word in ("arm", "run") else act())

    def _look_round(self) -> None:
        """Whoever else commands the robot, measures it or publishes chunks makes it hold."""
        states = (source.topic for source in self._contract.state)
        others = (CHUNK.name, TELEOP.name, HEARTBEAT.name, DEADMAN.name, *states)
        self._controller.on_conflict(self._crowded(others), rival=self._crowded(self._sinks))

    def _crowded(self, topics: Iterable[str]) -> str:
        """Those of the topics that have more than one publisher, in words."""
        found = []
        for topic in topics:
            if self.count_publishers(topic) > 1:
                names = sorted(info.node_name for info in self.get_publishers_info_by_topic(topic))
                found.append(f"{len(names)} publishers on {topic}: {', '.join(names)}")
        return "; ".join(found)

    def _report(self) -> None:
        summary = self._periods.summary()
        controller = self._controller
        values = {
            "mode": controller.mode,
            "source": self._said.source,
            "reason": controller.reason,
            "rate_hz": summary.rate_hz,
            "period_p99_ms": summary.period_p99_ms,
            "period_max_ms": summary.period_max_ms,
            "deadline_misses": self._misses,
            "state_age_ms": controller.state_age_s * 1e3,
            "scheduling": self._realtime,
            **{f"{topic}_rate_hz": stream.rate_hz for topic, stream in self._streams.items()},
            **{f"{topic}_drops": stream.drops for topic, stream in self._streams.items()},
            **controller.counters,
        }
        self._diagnostics.publish(_LEVELS[controller.mode], f"{controller.mode}: {controller.reason}", values)


def main() -> None:
    run(ControllerNode)


if __name__ == "__main__":
    main()
