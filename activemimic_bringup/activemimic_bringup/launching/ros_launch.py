"""A graph as a `ros2 launch` description. Imports `launch` and `launch_ros`, which come with a ROS installation."""

from __future__ import annotations

import os
from collections.abc import Callable

from activemimic_description.common.lifetime import LAUNCHER_PID
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from activemimic_bringup.launching.graph import RESPAWN_DELAY_S, Argument, NodeSpec, graph, shared_environment
from activemimic_bringup.launching.processes import NodeDiedError


def launch_description(graph_name: str) -> LaunchDescription:
    """Declare the graph's arguments; its nodes are made when their values are known."""
    chosen = graph(graph_name)
    environment = {**shared_environment(), LAUNCHER_PID: str(os.getpid())}  # launch starts nodes from its main thread

    def make_nodes(context: LaunchContext) -> list[Node]:
        texts = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in chosen.arguments}
        return [_action(spec) for spec in chosen.specs(texts)]

    return LaunchDescription(
        [
            *(_declaration(argument) for argument in chosen.arguments),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
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


def _action(spec: NodeSpec) -> Node:
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
        on_exit=_on_exit(spec),
    )


def _on_exit(spec: NodeSpec) -> Callable[[ProcessExited, LaunchContext], list[Action] | None]:
    def on_exit(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
        code = event.returncode
        if context.is_shutdown:
            return None
        if spec.ends_graph(code):
            if code == 0:
                return [Shutdown(reason=spec.obituary(code))]
            raise NodeDiedError(spec.obituary(code))  # launch then ends all nodes, and itself with exit code 1
        told = LogInfo(msg=spec.obituary(code))
        again = TimerAction(period=RESPAWN_DELAY_S, actions=[_action(spec)])
        return [told, again] if spec.respawns(code) else [told]

    return on_exit
