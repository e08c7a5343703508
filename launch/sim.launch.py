"""The simulated G1 and its controller; with a checkpoint the policy, with `out` the recorder.

The arguments and nodes are those of graph `sim` in activemimic_bringup/graph.py: `ros2 launch -s` lists them.
"""

from activemimic_bringup.ros_launch import launch_description

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return launch_description("sim")
