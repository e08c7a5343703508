"""A policy in a process of its own that waves the elbows for ever: something to kill, freeze and double.

It says `loaded`, and begins when it is told so by a line.
"""

from __future__ import annotations

import sys

import numpy as np
import rclpy
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import write_trajectory
from activemimic_description.codec import decode_slots
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, ros_class
from trajectory_msgs.msg import JointTrajectory

STEP_NS, POINTS, PERIOD_S = 33_333_333, 24, 0.2
WAVE_RAD, WAVE_RAD_S = 0.25, 3.0
MOVING = ("left_arm_4", "right_arm_4", "head_yaw")


def main() -> None:
    contract = load_contract("g1_sim")
    slots = [contract.slots.index(name) for name in MOVING]
    print("loaded", flush=True)
    sys.stdin.readline()
    rclpy.init(args=sys.argv)
    node = rclpy.create_node("scripted_policy")
    publisher = node.create_publisher(JointTrajectory, "/activemimic/chunk", 10)
    messages = RosMessages()
    start: list[np.ndarray] = []
    (source,) = contract.state

    def on_state(message) -> None:
        if not start:
            indices, values = decode_slots(source, message)
            start.append(values[np.argsort(indices)])

    def on_timer() -> None:
        if not start:
            return
        now_ns = node.get_clock().now().nanoseconds
        positions = np.tile(start[0], (POINTS, 1))
        due_s = (now_ns + STEP_NS * np.arange(1, POINTS + 1)) / 1e9
        positions[:, slots] += WAVE_RAD * np.sin(WAVE_RAD_S * due_s)[:, None]
        publisher.publish(write_trajectory(Chunk(now_ns, STEP_NS, positions), contract.slots, messages))

    node.create_subscription(ros_class(source.type), source.topic, on_state, 10)
    node.create_timer(PERIOD_S, on_timer)
    print("ready", flush=True)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
