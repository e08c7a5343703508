"""Policy and controller on a real robot.

Arguments and nodes are those of graph `policy` in activemimic_bringup/launching/graph.py (`ros2 launch -s` lists them).
"""

from activemimic_bringup.launching.ros_launch import launch_description

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return launch_description("policy")
