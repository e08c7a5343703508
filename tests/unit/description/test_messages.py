"""Both factories make the same message, down to the bytes a publisher sends."""

from __future__ import annotations

import array
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from activemimic_description.messages import BagMessages, MessageTypeError, RosMessages, header, stamp

CASES: dict[str, dict[str, Any]] = {
    "sensor_msgs/msg/JointState": {
        "header": header(1_234_567_890_123_456_789, "base"),
        "name": ["a", "bcd"],
        "position": np.array([1.0, -2.5]),
    },
    "sensor_msgs/msg/CompressedImage": {"header": header(5), "format": "jpeg", "data": b"\xff\xd8abc"},
    "trajectory_msgs/msg/JointTrajectory": {
        "header": header(7),
        "joint_names": ["a", "b"],
        "points": [
            {"positions": [1.0, 2.0], "time_from_start": stamp(33_333_333)},
            {"positions": np.array([3.0, 4.0]), "velocities": np.ones(2)},
        ],
    },
    "diagnostic_msgs/msg/DiagnosticArray": {
        "status": [{"level": 2, "name": "camera", "values": [{"key": "age", "value": "3"}]}]
    },
    "sensor_msgs/msg/CameraInfo": {"k": np.arange(9), "d": [0.1, 0.2], "width": 3},
}


@pytest.fixture
def ros() -> RosMessages:
    pytest.importorskip("rclpy", reason="needs ROS 2's Python packages")
    return RosMessages()


@pytest.mark.parametrize("type_name", CASES)
def test_both_factories_make_the_same_bytes(ros: RosMessages, type_name: str) -> None:
    bag = BagMessages()
    ours = ros.serialize(ros.make(type_name, **CASES[type_name]), type_name)
    theirs = bag.serialize(bag.make(type_name, **CASES[type_name]), type_name)
    assert ours == theirs


@pytest.mark.parametrize("type_name", CASES)
def test_each_reads_what_the_other_wrote(ros: RosMessages, type_name: str) -> None:
    from activemimic_description.messages import ros_class
    from rclpy.serialization import deserialize_message

    bag = BagMessages()
    original = ros.make(type_name, **CASES[type_name])
    data = bag.serialize(bag.make(type_name, **CASES[type_name]), type_name)
    assert deserialize_message(data, ros_class(type_name)) == original
    assert bag.serialize(bag.store.deserialize_cdr(data, type_name), type_name) == data


def test_a_publisher_sends_the_bytes_that_the_bag_factory_makes(ros: RosMessages) -> None:
    import rclpy
    from activemimic_description.messages import ros_class
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor

    context = Context()
    rclpy.init(context=context, domain_id=91)
    node = rclpy.create_node("bytes_on_the_wire", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received: dict[str, bytes] = {}
    publishers = {}
    for number, type_name in enumerate(CASES):
        node.create_subscription(
            ros_class(type_name),
            f"/bytes_{number}",
            lambda data, type_name=type_name: received.__setitem__(type_name, bytes(data)),
            10,
            raw=True,
        )
        publishers[type_name] = node.create_publisher(ros_class(type_name), f"/bytes_{number}", 10)
    until = time.monotonic() + 10
    while len(received) < len(CASES) and time.monotonic() < until:
        for type_name, publisher in publishers.items():
            publisher.publish(ros.make(type_name, **CASES[type_name]))
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)

    bag = BagMessages()
    assert received == {name: bag.serialize(bag.make(name, **fields), name) for name, fields in CASES.items()}


def test_an_image_is_handed_over_as_bytes_not_element_by_element(
    ros: RosMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FromBytes(array.array):  # type: ignore[type-arg]
        def __new__(cls, code: str, elements: Sequence[int] = ()) -> FromBytes:
            assert isinstance(elements, FromBytes) or len(elements) == 0
            return super().__new__(cls, code, elements)

    image = np.zeros((480, 640, 3), np.uint8)
    monkeypatch.setattr(array, "array", FromBytes)
    msg = ros.make("sensor_msgs/msg/Image", data=image, encoding="rgb8", height=480, width=640, step=1920)
    assert isinstance(msg.data, FromBytes)
    assert len(msg.data) == image.size


def test_a_type_that_is_not_installed_names_the_package_to_install(ros: RosMessages) -> None:
    with pytest.raises(MessageTypeError, match=r"genie_msgs/msg/HeadState is not installed .* package genie_msgs"):
        ros.make("genie_msgs/msg/HeadState")
    with pytest.raises(MessageTypeError, match="sensor_msgs has no message JointStat"):
        ros.make("sensor_msgs/msg/JointStat")


def test_an_unknown_field_names_those_there_are() -> None:
    with pytest.raises(MessageTypeError, match="has no field 'positions': it has header, name, position"):
        BagMessages().make("sensor_msgs/msg/JointState", positions=[1.0])


def test_a_stamp_before_the_epoch_second_splits_into_whole_and_rest() -> None:
    assert stamp(3_000_000_007) == {"sec": 3, "nanosec": 7}
