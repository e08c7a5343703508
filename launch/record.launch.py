"""Recorder and controller, for teleoperated episodes.

Arguments and nodes are those of graph `record` in activemimic_bringup/launching/graph.py (`ros2 launch -s` lists them).
"""

from activemimic_bringup.launching.ros_launch import launch_description

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return launch_description("record")
