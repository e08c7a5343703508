"""ROS shell of `recording.Recording`: serialised messages go from the wire to the file as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from activemimic_data.bags.writer import FLUSH_S
from activemimic_description.contract import Qos, load_contract
from activemimic_description.messages import ros_class
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from activemimic_bringup.launching.parameters import RECORDER
from activemimic_bringup.nodes.node import OK, WARN, Diagnostics, declare, qos_profile, run
from activemimic_bringup.nodes.recording import STACK_TOPICS, Recording, RecordingRefusedError

_STACK_QOS = Qos(reliability="reliable", depth=100, durability="volatile")


class RecorderNode(Node):
    """Records the contract's topics and those of the stack; ~/start, ~/stop and ~/discard one episode each."""

    def __init__(self) -> None:
        super().__init__("recorder")
        values = declare(self, RECORDER)
        contract = load_contract(values["contract"])
        self._recording = Recording(contract, Path(values["out"]), values["min_free_gb"], self.get_logger().warning)
        for topic, entry in contract.topics().items():
            # A deeper queue than the contract's: the writer may pause for the disk, and must not lose messages.
            self._subscribe(topic, entry.type, entry.qos.model_copy(update={"depth": 100}), warn=True)
        for topic, type_name in STACK_TOPICS.items():
            self._subscribe(topic, type_name, _STACK_QOS, warn=False)
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(SetBool, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/discard", self._on_discard)
        self._diagnostics = Diagnostics(self)
        self.create_timer(1.0, self._report)
        self.create_timer(FLUSH_S, self._recording.flush)
        self.get_logger().info(f"ready: contract {contract.name}, episodes go to {self._recording.out}")

    def close(self) -> None:
        """An episode that is still being recorded is kept, with its outcome unknown."""
        if self._recording.folder is not None:
            try:
                folder, info = self._recording.stop(success=None)
            except RecordingRefusedError as error:
                self.get_logger().error(str(error))
                return
            self.get_logger().warning(f"{folder}: closed at shutdown after {info.duration_s:.1f} s, outcome unknown")

    def _subscribe(self, topic: str, type_name: str, qos: Qos, warn: bool) -> None:
        """`warn` of publishers whose QoS or type does not fit; each such watch costs time with every message."""

        def on_message(data: Any, info: Any) -> None:
            self._recording.on_message(
                topic,
                data,
                # When it reached this process, not when this process found time for it.
                received_ns=info.get("received_timestamp") or self.get_clock().now().nanoseconds,
                publish_ns=info.get("source_timestamp"),
                sequence=info.get("publication_sequence_number"),
            )

        self.create_subscription(
            ros_class(type_name),
            topic,
            on_message,  # type: ignore[arg-type]
            qos_profile(qos),
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=warn),
        )

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        values = {name: self.get_parameter(name).value for name in ("task", "instruction", "seed")}
        published = [sink.topic for sink in self._recording.contract.commands if self.count_publishers(sink.topic)]
        now_ns = self.get_clock().now().nanoseconds
        return self._answer(response, lambda: self._recording.start(**values, now_ns=now_ns, published=published))

    def _on_stop(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        return self._answer(response, lambda: self._stopped(request.data))

    def _on_discard(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda: f"discarded {self._recording.discard()}")

    def _stopped(self, success: bool) -> str:
        folder, info = self._recording.stop(success)
        total = sum(info.messages.values())
        return f"{folder}: {info.outcome}, {info.duration_s:.1f} s, {total} messages, {info.messages_lost} lost"

    def _answer(self, response: Any, action: Any) -> Any:
        try:
            response.message = str(action())
            response.success = True
            self.get_logger().info(response.message)
        except RecordingRefusedError as error:
            response.message = str(error)
            response.success = False
            self.get_logger().warning(response.message)
        self._report()  # at once: whoever asked wants to see it
        return response

    def _report(self) -> None:
        state = self._recording.look(self.get_clock().now().nanoseconds)
        folder = state.folder
        values = {
            "recording": folder is not None,
            "episode": folder.name if folder else "",
            "messages": state.messages,
            "lost": state.lost,
            "duration_s": state.duration_s,
            "size_mb": state.size_bytes / 1e6,
            "free_gb": state.free_gb,
            "out": self._recording.out,
            "trouble": state.trouble,
            **{f"{topic}_rate_hz": rate_hz for topic, rate_hz in state.rates_hz.items()},
            **{f"{topic}_contract_hz": entry.rate_hz for topic, entry in self._recording.contract.topics().items()},
        }
        if folder:
            self._diagnostics.publish(OK, f"recording {folder.name}", values)
        else:
            self._diagnostics.publish(WARN if state.trouble else OK, state.trouble or "idle", values)


def main() -> None:
    run(RecorderNode)


if __name__ == "__main__":
    main()
