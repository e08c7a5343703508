"""The other nodes' services, parameters and reports, called from a thread while a node spins in another."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from activemimic_description.stack_topics import CHALLENGE, DIAGNOSTICS, TASK, Service
from activemimic_rollout.trials.trial_series import TaskStatus, TrialError
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from activemimic_bringup.nodes.operator_key import KEYED_WORDS, OperatorKeyError, answer, read_key


@contextmanager
def spinning_node(name: str) -> Iterator[Node]:
    """A node that spins in a thread of its own. ROS starts and ends with it."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C shall end the command, not ROS under it
    node = rclpy.create_node(name)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    spinning = threading.Thread(target=spin, daemon=True)
    spinning.start()
    try:
        yield node
    finally:
        rclpy.try_shutdown()
        spinning.join(timeout=2.0)


class StoppedError(Exception):
    """The node was asked to end in the middle of a trial."""


class RosClient:
    """`trials.Client` over ROS services. Used from a thread while the node spins in another."""

    def __init__(self, node: Node, timeout_s: float, key_file: str = "") -> None:
        self._node = node
        self._key_file = key_file
        self._timeout_s = timeout_s
        self._stopping = threading.Event()
        self._services: dict[str, Any] = {}
        self._status: TaskStatus | None = None
        self._diagnostics: dict[str, dict[str, str]] = {}
        self._heard_s: dict[str, float] = {}
        node.create_subscription(DiagnosticStatus, TASK.name, self._on_status, 10)
        node.create_subscription(DiagnosticArray, DIAGNOSTICS.name, self._on_diagnostics, 10)

    def stop(self) -> None:
        """Make `sleep` raise StoppedError, and calls wait no longer than a second."""
        self._stopping.set()

    def set_parameters(self, node: str, values: Mapping[str, Any]) -> None:
        service = f"{node}/set_parameters"
        messages = [Parameter(key, value=value).to_parameter_msg() for key, value in values.items()]
        answered = self._call(service, SetParameters, SetParameters.Request(parameters=messages))
        for key, result in zip(values, answered.results, strict=True):
            if not result.successful:
                raise TrialError(f"{service}: {key}: {result.reason}")

    def trigger(self, service: str) -> str:
        return self._word(service, Trigger, Trigger.Request())

    def finds(self, service: Service) -> bool:
        """Whether somebody serves it, after waiting for that."""
        return bool(self._client(service.name, Trigger).wait_for_service(timeout_sec=self._patience_s()))

    def set_bool(self, service: str, data: bool) -> str:
        return self._word(service, SetBool, SetBool.Request(data=data))

    def operate(self, word: str) -> None:
        """Say a word to the controller: arm and run with the operator's key, if it asks for that.

        Raises TrialError with the controller's refusal, or with what is wrong with the key.
        """
        if word in KEYED_WORDS:
            self._client("/controller/set_parameters", SetParameters)  # to be found while the challenge is asked for
            challenge = self._call(CHALLENGE.name, Trigger, Trigger.Request())
            if challenge.success:
                self._answer_challenge(word, challenge.message)
                return
        self.trigger(f"/controller/{word}")

    def set_active(self, node: str, active: bool) -> None:
        """Bring a managed node to its state active, or to inactive; one that is there already is left alone."""
        state = self._call(f"{node}/get_state", GetState, GetState.Request()).current_state.label
        rising = {"unconfigured": ("configure", "activate"), "active": ()}.get(state, ("activate",))
        resting = ("deactivate",) if state == "active" else ()
        for transition in rising if active else resting:
            request = ChangeState.Request(transition=Transition(label=transition))
            if not self._call(f"{node}/change_state", ChangeState, request).success:
                raise TrialError(f"{node} is {state} and could not {transition}; its log says why")

    def task_status(self) -> TaskStatus | None:
        return self._status

    def diagnostics(self) -> dict[str, dict[str, str]]:
        return dict(self._diagnostics)

    def silent_s(self, node: str) -> float:
        """Since the node's last diagnostics; infinite if there were none."""
        return time.monotonic() - self._heard_s[node] if node in self._heard_s else math.inf

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoppedError

    def _answer_challenge(self, word: str, nonce: str) -> None:
        try:
            said = Parameter("operator", value=answer(read_key(self._key_file), word, nonce)).to_parameter_msg()
        except OperatorKeyError as error:
            raise TrialError(str(error)) from None
        request = SetParameters.Request(parameters=[said])
        (result,) = self._call("/controller/set_parameters", SetParameters, request).results
        if not result.successful:
            raise TrialError(f"/controller/{word}: {result.reason}")

    def _word(self, service: str, service_type: Any, request: Any) -> str:
        answered = self._call(service, service_type, request)
        if not answered.success:
            raise TrialError(f"{service}: {answered.message}")
        return str(answered.message)

    def _call(self, service: str, service_type: Any, request: Any) -> Any:
        client = self._client(service, service_type)
        if not client.wait_for_service(timeout_sec=self._patience_s()):
            raise TrialError(f"{service}: no such service after {self._patience_s():g} s; is its node running?")
        return self._answer(service, client.call_async(request))

    def _client(self, service: str, service_type: Any) -> Any:
        if service not in self._services:
            self._services[service] = self._node.create_client(service_type, service)
        return self._services[service]

    def _answer(self, service: str, future: Future) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(self._patience_s()):
            raise TrialError(f"{service}: no answer within {self._patience_s():g} s")
        return future.result()

    def _patience_s(self) -> float:
        return min(self._timeout_s, 1.0) if self._stopping.is_set() else self._timeout_s

    def _on_status(self, message: DiagnosticStatus) -> None:
        values = {entry.key: entry.value for entry in message.values}
        try:
            self._status = TaskStatus(
                received_s=time.monotonic(),
                task=values["task"],
                seed=int(values["seed"]),
                time_s=float(values["time_s"]),
                success=values["success"] == "true",
                failure=values.get("failure", ""),
                values=values,
            )
        except (KeyError, ValueError) as error:
            self._node.get_logger().error(
                f"/sim/task: not a task status: {error!r} in {values}", throttle_duration_sec=5.0
            )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._heard_s[status.name] = time.monotonic()
            self._diagnostics[status.name] = {entry.key: entry.value for entry in status.values}
