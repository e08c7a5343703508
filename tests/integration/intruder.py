"""A stranger in a ROS domain: tries what should need leave, and prints what came of it as one JSON object.

`python intruder.py` alone, or with KEY_FILE. It commands the robot directly last, and only when `--command` is given.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from activemimic_bringup.nodes.ros_client import RosClient, spinning_node
from activemimic_description.codec import decode_slots, encode_command
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, ros_class
from activemimic_description.stack_topics import CONTROLLER_HOLD, RECORDER_DISCARD, RECORDER_START
from activemimic_rollout.trials.trial_series import TrialError
from trajectory_msgs.msg import JointTrajectory

CONTRACT = load_contract("g1_sim")
PATIENCE_S = 8.0
ELBOW = CONTRACT.slots.index("left_arm_4")


class Intruder:
    """One who has found the domain, if there is anybody in it."""

    def __init__(self, node: Any, key_file: str) -> None:
        self.node = node
        self.client = RosClient(node, PATIENCE_S, key_file)
        self.there = self.client.finds(CONTROLLER_HOLD)
        self.state: np.ndarray | None = None
        (source,) = CONTRACT.state
        node.create_subscription(ros_class(source.type), source.topic, self._on_state, 10)

    def tries(self, commands: bool) -> dict[str, str]:
        if not self.there:
            return {}
        found = {
            "arm": self.told(lambda: self.client.operate("arm")),
            "arm by its service": self.told(lambda: self.client.trigger("/controller/arm")),
            "run": self.told(lambda: self.client.operate("run")),
        }
        for word in ("hold", "stop"):
            found[word] = self.told(lambda word=word: self.client.operate(word))
        time.sleep(1.0)
        found["reset"] = self.told(lambda: self.client.operate("reset"))
        for node, name, value in (
            ("policy", "instruction", "wave"),
            ("policy", "checkpoint", "/etc"),
            ("recorder", "task", "../../elsewhere"),
            ("controller", "use_sim_time", True),
            ("controller", "max_lead_rad", 1.0),
        ):
            found[f"{node} {name}"] = self.told(
                lambda node=node, name=name, value=value: self.client.set_parameters(f"/{node}", {name: value})
            )
        found["record"] = self.told(lambda: self.client.trigger(RECORDER_START.name))
        found["discard"] = self.told(lambda: self.client.trigger(RECORDER_DISCARD.name))
        for topic in ("/activemimic/chunk", "/activemimic/teleop"):
            found[topic] = self.chunks(topic)
        if commands:
            found["/joint_command"] = self.commands()
        return found

    def told(self, attempt: Any) -> str:
        try:
            attempt()
        except TrialError as error:
            return str(error)
        return "done"

    def chunks(self, topic: str) -> str:
        """Whether the controller hears another who publishes chunks. Idle, as it is, it plays none."""
        publisher = self.node.create_publisher(JointTrajectory, topic, 10)
        until_s = time.monotonic() + PATIENCE_S
        while not (heard := publisher.get_subscription_count() > 0) and time.monotonic() < until_s:
            time.sleep(0.05)
        self.node.destroy_publisher(publisher)
        return "heard" if heard else "not heard"

    def commands(self) -> str:
        """Whether the elbow moves."""
        (sink,) = CONTRACT.commands
        publisher = self.node.create_publisher(ros_class(sink.type), sink.topic, 10)
        until_s = time.monotonic() + PATIENCE_S
        while self.state is None and time.monotonic() < until_s:
            time.sleep(0.05)
        if self.state is None:
            return "no joint state"
        begin = self.state.copy()
        target = begin.copy()
        target[ELBOW] += 0.2
        while time.monotonic() < until_s and abs(self.state[ELBOW] - begin[ELBOW]) < 0.1:
            now_ns = self.node.get_clock().now().nanoseconds
            for _, message in encode_command(CONTRACT, target, now_ns, RosMessages()):
                publisher.publish(message)
            time.sleep(0.02)
        self.node.destroy_publisher(publisher)
        return "moved" if abs(self.state[ELBOW] - begin[ELBOW]) >= 0.1 else "not moved"

    def _on_state(self, message: Any) -> None:
        indices, values = decode_slots(CONTRACT.state[0], message)
        self.state = values[np.argsort(indices)]


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--command"]
    with spinning_node("intruder") as node:
        print(json.dumps(Intruder(node, words[0] if words else "/nowhere").tries("--command" in sys.argv)))


if __name__ == "__main__":
    main()
