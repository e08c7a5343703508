"""Publishes a recorded episode again: the recorded bytes, in the recorded timing, with the contract's QoS."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence

import rclpy
from activemimic_data.bags import EpisodeReader
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.contract import Qos
from activemimic_description.messages import ros_class
from rclpy.duration import Duration
from rclpy.signals import SignalHandlerOptions

from activemimic_bringup.nodes.node import qos_profile

DISCOVERY_S = 3.0  # in which other publishers are found; without our profile of Fast DDS it may take as long
SETTLE_S = 1.0  # in which two nodes that have just met get to know each other
LISTENERS_S = 2.0  # for listeners to connect, and in the end to acknowledge; without any it plays all the same
_QOS = Qos(reliability="reliable", depth=100, durability="volatile")


class ReplayError(InvalidInputError):
    """An episode that cannot be played so; the text says why and what to do."""


class Replay:
    """A node with a publisher for each chosen topic, by default the contract's cameras and joint states.

    `rate` is times the recorded speed. With `now`, a header stamp becomes the moment of publishing, less what the
    message was late when it was recorded. To be used as a context manager.

    Raises:
        ReplayError: a topic is not in the episode, or somebody publishes it already: a robot's nodes would take
            what was recorded for what happens.
    """

    def __init__(self, reader: EpisodeReader, topics: Sequence[str] | None, rate: float, now: bool) -> None:
        contract = reader.contract
        entries = contract.topics()
        commands = {sink.topic for sink in contract.commands}
        self.topics = list(topics or (topic for topic in entries if topic not in commands and topic in reader.types))
        if unknown := [topic for topic in self.topics if topic not in reader.types]:
            raise ReplayError(f"{reader.folder} has no topic {', '.join(unknown)}; it has {', '.join(reader.types)}")
        self._reader = reader
        self._rate = rate
        self._stamped = {topic for topic in self.topics if now and reader.begins_with_header(topic)}
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C shall end the playing, not ROS under it
        self._node = rclpy.create_node("replay")
        try:
            self._refuse_other_publishers()
        except ReplayError:
            self.close()
            raise
        self._publishers = {
            topic: self._node.create_publisher(
                ros_class(reader.types[topic]),
                topic,
                qos_profile(entries[topic].qos if topic in entries else _QOS),
            )
            for topic in self.topics
        }

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()

    def rounds(self, loop: bool) -> Iterator[int]:
        """Play the episode once, or for ever; yields after each time how many messages were published."""
        self._wait_for_listeners()
        yield self._play()
        while loop:
            yield self._play()
        for publisher in self._publishers.values():  # what is sent reliably arrives before this process ends
            publisher.wait_for_all_acked(Duration(seconds=LISTENERS_S))

    def _play(self) -> int:
        begin_s, begin_ns = time.monotonic(), self._node.get_clock().now().nanoseconds
        count = 0
        for message in self._reader.raw_messages(self.topics):
            after_s = (message.log_time_ns - self._reader.info.start_ns) / 1e9 / self._rate
            if (wait_s := begin_s + after_s - time.monotonic()) > 0:
                time.sleep(wait_s)
            later_ns = begin_ns + round(after_s * 1e9) - message.log_time_ns
            data = shifted(message.data, later_ns) if message.topic in self._stamped else message.data
            self._publishers[message.topic].publish(data)
            count += 1
        return count

    def _wait_for_listeners(self) -> None:
        until_s = time.monotonic() + LISTENERS_S
        while time.monotonic() < until_s:
            if all(publisher.get_subscription_count() for publisher in self._publishers.values()):
                time.sleep(SETTLE_S)
                return
            time.sleep(0.05)

    def _refuse_other_publishers(self) -> None:
        until_s = time.monotonic() + DISCOVERY_S
        while time.monotonic() < until_s:
            if taken := next((topic for topic in self.topics if self._node.count_publishers(topic)), None):
                time.sleep(SETTLE_S)  # a publisher is known before its node's name is
                names = [info.node_name for info in self._node.get_publishers_info_by_topic(taken)]
                raise ReplayError(
                    f"{taken} is published already, by {', '.join(names)}; end it, name other topics with --topics, "
                    f"or choose another ROS_DOMAIN_ID"
                )
            time.sleep(0.05)


def shifted(data: bytes, by_ns: int) -> bytes:
    """A CDR message that begins with a std_msgs/msg/Header, its stamp moved by `by_ns`."""
    layout = "<iI" if data[1] & 1 else ">iI"
    sec, nanosec = struct.unpack_from(layout, data, 4)
    moved = struct.pack(layout, *divmod(sec * 1_000_000_000 + nanosec + by_ns, 1_000_000_000))
    return data[:4] + moved + data[12:]
