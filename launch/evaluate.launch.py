"""Trials in the simulator, run by the evaluator.

Arguments and nodes are those of graph `evaluate` in `activemimic_bringup/launching/graph.py` (see `ros2 launch -s`).
"""

from activemimic_bringup.launching.ros_launch import launch_description

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return launch_description("evaluate")
