"""ROS shell of `control.Controller`: state and chunks in, commands out, at a fixed rate."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from activemimic_description.codec import CodecError, encode_command
from activemimic_description.contract import JointSource, load_contract
from activemimic_description.messages import RosMessages, ros_class
from activemimic_description.robot import load_robot
from rclpy.node import Node
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from activemimic_bringup.control.chunk_fields import read_trajectory
from activemimic_bringup.control.controller import Command, Controller, ControllerConfig, Source
from activemimic_bringup.control.measured_state import MeasuredState
from activemimic_bringup.control.rates import PeriodMonitor
from activemimic_bringup.nodes.node import OK, WARN, Diagnostics, declare, qos_profile, run
from activemimic_bringup.nodes.parameters import CONTROLLER
from activemimic_bringup.nodes.topics import CHUNK, TELEOP

PRIORITY = -10  # niceness: what keeps the robot still must not wait for a policy that thinks
MODE_LASTS_NS = 200_000_000

_LEVELS = {"running": OK, "disabled": OK, "waiting": WARN, "holding": WARN}


class ControllerNode(Node):
    """Subscribes the contract's state topics, /activemimic/chunk and /activemimic/teleop; commands the robot."""

    def __init__(self) -> None:
        super().__init__("controller")
        values = declare(self, CONTROLLER)
        self._contract = load_contract(values["contract"])
        period_s = 1.0 / values["rate_hz"]
        config = ControllerConfig(
            period_s=period_s,
            max_chunk_age_s=values["max_chunk_age_s"],
            max_state_age_s=values["max_state_age_s"],
            latch_policy_grippers=values["latch_policy_grippers"],
            join=values["join"],
        )
        self._controller = Controller(load_robot(self._contract.robot), config)
        self._measured = MeasuredState(self._contract)
        self._messages = RosMessages()
        self._periods = PeriodMonitor(size=round(10 * values["rate_hz"]))
        self._command = Command(None, "disabled", "not enabled")
        self._said_mode, self._mode_since_ns = "disabled", self._now_ns()
        self._sinks = {
            sink.topic: self.create_publisher(ros_class(sink.type), sink.topic, qos_profile(sink.qos))
            for sink in self._contract.commands
        }
        for source in self._contract.state:
            self._subscribe_state(source)
        self._subscribe_chunks(CHUNK.name, "policy")
        self._subscribe_chunks(TELEOP.name, "teleop")
        self.create_service(SetBool, "~/enable", self._on_enable)
        self._diagnostics = Diagnostics(self)
        self.create_timer(period_s, self._on_timer)
        self.create_timer(1.0, self._report)
        if values["start_enabled"]:
            self._controller.enable(self._now_ns())
        self.get_logger().info(
            f"ready: contract {self._contract.name}, {values['rate_hz']:g} Hz, "
            f"{'enabled' if self._controller.enabled else 'call ~/enable to move the robot'}"
        )

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _subscribe_state(self, source: JointSource) -> None:
        def on_state(message: Any) -> None:
            try:
                measured = self._measured.add(source.topic, message)
            except CodecError as error:
                self.get_logger().error(f"state ignored: {error}", throttle_duration_sec=5.0)
                self._controller.counters["state_invalid"] += 1
                return
            if measured is not None:
                self._controller.on_state(*measured, now_ns=self._now_ns())

        self.create_subscription(ros_class(source.type), source.topic, on_state, qos_profile(source.qos))

    def _subscribe_chunks(self, topic: str, source: Source) -> None:
        def on_chunk(message: JointTrajectory) -> None:
            verdict = self._controller.on_chunk(read_trajectory(message), source, self._now_ns())
            if not verdict.accepted:
                self.get_logger().warning(verdict.reason, throttle_duration_sec=1.0)

        self.create_subscription(JointTrajectory, topic, on_chunk, 10)

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        command = self._controller.update(now_ns)
        if command.positions is not None:
            self._periods.add(now_ns)
            for topic, message in encode_command(self._contract, command.positions, now_ns, self._messages):
                self._sinks[topic].publish(message)
        self._command = command
        self._say_mode(now_ns)

    def _say_mode(self, now_ns: int) -> None:
        """Log a change of mode once it has lasted: between two chunks the robot may hold for a moment."""
        if self._command.mode == self._said_mode:
            self._mode_since_ns = now_ns
        elif now_ns - self._mode_since_ns > MODE_LASTS_NS:
            self.get_logger().info(f"{self._command.mode}: {self._command.reason}")
            self._said_mode = self._command.mode

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            self._controller.enable(self._now_ns())
            self._periods.reset()
        else:
            self._controller.disable()
        response.success = True
        response.message = "enabled" if request.data else "disabled"
        return response

    def _report(self) -> None:
        summary = self._periods.summary()
        values = {
            "mode": self._command.mode,
            "reason": self._command.reason,
            "rate_hz": summary.rate_hz,
            "period_p99_ms": summary.period_p99_ms,
            "period_max_ms": summary.period_max_ms,
            "state_age_ms": self._controller.state_age_s(self._now_ns()) * 1e3,
            **self._controller.counters,
        }
        level = _LEVELS[self._command.mode]
        self._diagnostics.publish(level, f"{self._command.mode}: {self._command.reason}", values)


def main() -> None:
    with contextlib.suppress(PermissionError):  # without the right to it the controller runs as any other process
        os.nice(PRIORITY)
    run(ControllerNode)


if __name__ == "__main__":
    main()
