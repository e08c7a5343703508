"""A graph as a `ros2 launch` description. Imports `launch` and `launch_ros`, which come with a ROS installation."""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from activemimic_bringup.graph import Argument, Graph, NodeSpec, graph, shared_environment


def launch_description(graph_name: str) -> LaunchDescription:
    """Declare the graph's arguments; its nodes are made when their values are known."""
    chosen = graph(graph_name)

    def make_nodes(context: LaunchContext) -> list[Node]:
        texts = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in chosen.arguments}
        return [_action(spec, _ends_graph(chosen, spec)) for spec in chosen.specs(texts)]

    return LaunchDescription(
        [
            *(_declaration(argument) for argument in chosen.arguments),
            *(SetEnvironmentVariable(name, value) for name, value in shared_environment().items()),
            OpaqueFunction(function=make_nodes),
        ]
    )


def _declaration(argument: Argument) -> DeclareLaunchArgument:
    default = str(argument.default).lower() if isinstance(argument.default, bool) else str(argument.default)
    return DeclareLaunchArgument(
        argument.name,
        default_value=default,
        description=argument.description,
        choices=list(argument.choices) or None,
    )


def _action(spec: NodeSpec, end: str) -> Node:
    parameters = {name: ParameterValue(value, value_type=type(value)) for name, value in spec.parameters.items()}
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        parameters=[parameters],
        remappings=list(spec.remappings),
        ros_arguments=["--enclave", spec.enclave] if spec.enclave else None,
        additional_env=dict(spec.environment),
        output="screen",
        emulate_tty=True,
        on_exit=[Shutdown(reason=end)],
    )


def _ends_graph(chosen: Graph, spec: NodeSpec) -> str:
    return f"node {spec.name} of graph {chosen.name} ended"
