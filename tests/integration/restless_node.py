"""A node that never comes to rest, for tests of how it is made to end nevertheless."""

from __future__ import annotations

from activemimic_bringup.nodes.node import run
from rclpy.node import Node


class RestlessNode(Node):
    ended = False

    def __init__(self) -> None:
        super().__init__("restless")
        self.get_logger().info("ready")

    def begin_to_end(self) -> None:
        pass


if __name__ == "__main__":
    run(RestlessNode)
