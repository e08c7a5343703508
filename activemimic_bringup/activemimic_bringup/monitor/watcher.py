"""ROS shell of `watching.Watch`: listens, and says nothing. Images are counted undecoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import rclpy
from activemimic_description.contract import Contract, load_contract
from activemimic_description.messages import ros_class
from activemimic_description.stack_topics import CONTROL, DIAGNOSTICS, INFERENCE, TIMING
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from activemimic_bringup.monitor.watch import Frame, Watch
from activemimic_bringup.nodes.node import qos_profile

ONCE_S = 3.0  # of listening for one frame, after the controller was heard
PATIENCE_S = 10.0  # with a controller that is not heard


class Watcher:
    """A node that only listens. To be used as a context manager."""

    def __init__(self, contract: str, cameras: bool = True) -> None:
        spoken = load_contract(contract)
        rates = {name: camera.rate_hz for name, camera in spoken.cameras.items()} if cameras else {}
        self.watch = Watch(rates)
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C shall end the view, not ROS under it
        self._node = rclpy.create_node("top")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        subscribe = self._node.create_subscription
        subscribe(DiagnosticArray, DIAGNOSTICS.name, self._on_diagnostics, 100)
        subscribe(DiagnosticStatus, CONTROL.name, self._on_control, 100)
        subscribe(DiagnosticStatus, INFERENCE.name, self._on_inference, 100)
        subscribe(DiagnosticStatus, TIMING.name, lambda message: self.watch.on_timing(_values(message)), 100)
        if cameras:
            self._count_images(spoken)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def listen(self, seconds: float) -> Frame:
        """Take what comes within `seconds`, and say what there is to see then."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)
        return self.watch.frame(time.monotonic())

    def once(self) -> Frame:
        """A frame with the rates in it, as soon as the controller was heard; without it after PATIENCE_S."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.watch.heard_controller() and time.monotonic() < until_s:
            self.listen(0.1)
        return self.listen(ONCE_S if self.watch.heard_controller() else 0.0)

    def _count_images(self, contract: Contract) -> None:
        for name, camera in contract.cameras.items():
            self._node.create_subscription(
                ros_class(camera.type), camera.topic, self._counter_of(name), qos_profile(camera.qos), raw=True
            )

    def _counter_of(self, camera: str) -> Callable[[bytes], None]:
        return lambda data: self.watch.on_image(camera, time.monotonic())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.watch.on_diagnostics(status.name, status.message, _values(status), time.monotonic())

    def _on_control(self, message: DiagnosticStatus) -> None:
        self.watch.on_control(message.message, _values(message), time.monotonic())

    def _on_inference(self, message: DiagnosticStatus) -> None:
        self.watch.on_inference(_values(message), time.monotonic())


def _values(message: DiagnosticStatus) -> Mapping[str, str]:
    return {entry.key: entry.value for entry in message.values}
