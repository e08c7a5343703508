"""What every node does alike: declare parameters, spin, report, and end cleanly."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn, Protocol

import rclpy
from activemimic_description.common.errors import InvalidInputError, explanation
from activemimic_description.common.lifetime import SAME_SIGNAL_S, end_with_launcher, ending_signals
from activemimic_description.stack_topics import DIAGNOSTICS
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from activemimic_bringup.launching.parameters import Parameter, Value, refusal

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LONGEST_END_S = 3.0  # from the first signal


class ConfigurationError(InvalidInputError):
    """Parameters with which a node cannot start; the text says which and what to do."""


class Qos(Protocol):
    """The part of a contract's QoS that rclpy needs."""

    @property
    def reliability(self) -> str: ...
    @property
    def durability(self) -> str: ...
    @property
    def depth(self) -> int: ...


def run(make_node: Callable[[], Node]) -> NoReturn:
    """Start ROS, make the node, spin until a signal or the end of the launcher, end it, and exit.

    A node with a `begin_to_end()` gets it called after the first signal (SIGINT, SIGTERM or SIGHUP) and spins on until
    its `ended` is true, for LONGEST_END_S at most, or until a second signal. All others end at the first.

    Exit code 0 after a signal or when the node's `finished` turns true (its `exit_code`, if it has one); 1 if it was
    not `ended`; 2 with the reason on stderr after one of the project's own errors. A node with a `close()` gets it
    called before its publishers go. rclpy's own signal handlers shut the context down at once, so that nothing could
    be said or saved any more.
    """
    stop = _StopOnSignal()
    end_with_launcher()
    node: Node | None = None
    in_order = True
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        stop.interrupts = False
        in_order = _spin(node, stop)
    except Exception as error:
        if (text := explanation(error)) is None:
            raise
        with contextlib.suppress(OSError):  # a terminal that is gone
            print(f"error: {text}", file=sys.stderr, flush=True)
        sys.exit(2)
    finally:
        stop.interrupts = False
        if node is not None:
            if hasattr(node, "close"):
                node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        stop.ignore()
    sys.exit(getattr(node, "exit_code", 0) if in_order else 1)


OnSet = Callable[[dict[str, Any]], str]  # takes values that fit their declaration; its answer is why it refuses, or ""


def declare(node: Node, parameters: Sequence[Parameter], on_set: OnSet | None = None) -> dict[str, Any]:
    """Declare the parameters with description, type and range; return their values.

    What is set later is held against the table, then `on_set` decides, so that nothing is done for a set of values of
    which one is refused. The clock is chosen at the start: with `use_sim_time` switched on, what is old would never be
    found old.

    Raises ConfigurationError for a value of the wrong type, out of its range, not among its choices or against its
    pattern.
    """
    values = {}
    for parameter in parameters:
        try:
            value = node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter)).value
        except rclpy.exceptions.ParameterException as error:
            raise ConfigurationError(f"parameter {parameter.name}: {error}") from None
        if reason := parameter.refusal(value):
            raise ConfigurationError(reason)
        values[parameter.name] = value
    fix_clock(node)

    def check(changes: list[rclpy.parameter.Parameter]) -> SetParametersResult:
        new = {change.name: change.value for change in changes}
        reason = refusal(parameters, new) or (on_set(new) if on_set else "")
        return SetParametersResult(successful=not reason, reason=reason)

    node.add_on_set_parameters_callback(check)
    return values


def fix_clock(node: Node) -> None:
    """Make `use_sim_time` a parameter that is given at the start alone."""
    about = "Take the time of /clock, from the start on."
    descriptor = ParameterDescriptor(type=ParameterType.PARAMETER_BOOL, description=about, read_only=True)
    node.set_descriptor("use_sim_time", descriptor)


def qos_profile(qos: Qos) -> QoSProfile:
    """rclpy's profile for a contract's QoS."""
    return QoSProfile(
        depth=qos.depth,
        reliability=ReliabilityPolicy[qos.reliability.upper()],
        durability=DurabilityPolicy[qos.durability.upper()],
    )


def diagnostic(name: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """A status whose numbers are written as short decimals."""
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id="",
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


class Diagnostics:
    """Publishes the state of one node on /diagnostics."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, DIAGNOSTICS.name, 10)

    def publish(self, level: bytes, message: str, values: Mapping[str, object]) -> None:
        array = DiagnosticArray(status=[diagnostic(self._node.get_name(), level, message, values)])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)


class _StopOnSignal:
    """Set by SIGINT, SIGTERM and SIGHUP. While a node is still being made (`interrupts`), the signal ends it there."""

    def __init__(self) -> None:
        self.requested_s: float | None = None  # when the first signal came (time.monotonic)
        self.again = False
        self.interrupts = True
        self._signals = ending_signals()
        for number in self._signals:
            signal.signal(number, self._on_signal)

    def ignore(self) -> None:
        """The interpreter puts handlers of its own back while it ends: a late signal would kill it there."""
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.requested_s is None:
            self.requested_s = now_s
        self.again = now_s > self.requested_s + SAME_SIGNAL_S
        if self.interrupts:
            sys.exit(0)


def _spin(node: Any, stop: _StopOnSignal) -> bool:
    """Spin until the node has finished or is to end; whether it came to its own end."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    in_order = True
    with contextlib.suppress(ExternalShutdownException):
        while stop.requested_s is None and not getattr(node, "finished", False):
            _spin_once(node, executor)
        if stop.requested_s is not None and hasattr(node, "begin_to_end"):
            in_order = _end_in_order(node, executor, stop)
    executor.shutdown()
    return in_order


def _end_in_order(node: Any, executor: SingleThreadedExecutor, stop: _StopOnSignal) -> bool:
    node.begin_to_end()
    if not node.ended:
        node.get_logger().warning("braking; a second Ctrl-C ends at once")
    deadline_s = time.monotonic() + LONGEST_END_S
    while not node.ended:
        if stop.again:
            node.get_logger().error("second signal: ends at once, while the robot may still move")
            return False
        if time.monotonic() > deadline_s:
            node.get_logger().error(f"not at rest {LONGEST_END_S:g} s after the signal: ends all the same")
            return False
        _spin_once(node, executor)
    return True


def _spin_once(node: Any, executor: SingleThreadedExecutor) -> None:
    """Bytes on some topic that are not its message are told, and are no reason to end."""
    try:
        executor.spin_once(timeout_sec=0.1)
    except rclpy_implementation.RMWError as error:
        node.get_logger().error(f"a message cannot be read: {error}", throttle_duration_sec=5.0)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=parameter.description,
        read_only=not parameter.run_time,
        additional_constraints=f"one of {', '.join(parameter.choices)}" if parameter.choices else "",
    )
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor


def _text(value: object | Value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
