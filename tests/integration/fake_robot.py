"""A robot of three publishers and a listener: what the nodes need to see, without physics."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from activemimic_bringup.nodes.node import qos_profile
from activemimic_description.codec import decode_slots, encode_image
from activemimic_description.contract import Contract
from activemimic_description.messages import RosMessages, header, ros_class
from activemimic_description.robot import load_robot
from diagnostic_msgs.msg import DiagnosticArray


class FakeRobot:
    """Publishes /joint_states and the cameras at 30 Hz; is at once where it is commanded to be."""

    def __init__(self, node: Any, contract: Contract) -> None:
        self.node = node
        self.contract = contract
        self.positions = load_robot(contract.robot).home.copy()
        self.commands: list[np.ndarray] = []
        self.diagnostics: dict[str, tuple[str, dict[str, str]]] = {}
        self.stopped_topics: set[str] = set()
        self.frozen_topics: set[str] = set()  # the same frame with new stamps
        self.resized_topics: set[str] = set()
        self.follows = True
        self.jammed: set[int] = set()  # slots that stay where they are
        self.glitch: Callable[[np.ndarray], np.ndarray] | None = None  # what is published in place of the positions
        self._messages = RosMessages()
        self._lock = threading.Lock()
        self._image: np.ndarray = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
        self._frozen = self._image.copy()
        self._publishers = {
            topic: node.create_publisher(ros_class(entry.type), topic, qos_profile(entry.qos))
            for topic, entry in contract.topics().items()
            if entry not in contract.commands
        }
        for sink in contract.commands:
            node.create_subscription(ros_class(sink.type), sink.topic, self._on_command, qos_profile(sink.qos))
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        node.create_timer(1 / 30, self._publish)

    def report(self, node: str) -> tuple[str, dict[str, str]]:
        """Message and values of the last diagnostics of a node; empty before the first."""
        return self.diagnostics.get(node, ("", {}))

    def forget_commands(self) -> None:
        self.commands.clear()

    def _publish(self) -> None:
        now_ns = self.node.get_clock().now().nanoseconds
        self._image[:8, :8] += 1  # no two frames of a living camera are the same
        for camera in self.contract.cameras.values():
            if camera.topic not in self.stopped_topics:
                image = self._frozen if camera.topic in self.frozen_topics else self._image
                if camera.topic in self.resized_topics:
                    image = np.ascontiguousarray(image[::2, ::2])
                    camera = camera.model_copy(update={"width": image.shape[1], "height": image.shape[0]})
                message = encode_image(camera, image, now_ns, self._messages)
                self._publishers[camera.topic].publish(message)
        (source,) = self.contract.state
        if source.topic not in self.stopped_topics:
            measured = self.positions if self.glitch is None else self.glitch(self.positions)
            self._publishers[source.topic].publish(self.joint_state(measured, now_ns))

    def joint_state(self, measured: np.ndarray, now_ns: int) -> Any:
        """The message that says that the robot is `measured` (S,) there."""
        (source,) = self.contract.state
        raw = (measured[source.indices] - source.offset) / source.gain
        return self._messages.make(
            source.type, header=header(now_ns), name=[field.name for field in source.fields], position=raw
        )

    def _on_command(self, message: Any) -> None:
        (sink,) = self.contract.commands
        indices, values = decode_slots(sink, message)
        if self.follows:
            free = ~np.isin(indices, list(self.jammed))
            self.positions[indices[free]] = values[free]
        self.commands.append(self.positions.copy())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = (status.message, {entry.key: entry.value for entry in status.values})
