"""The graphs: what runs together, and that launch files and `activemimic up` cannot differ."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from activemimic_bringup.launching import graph as graphs
from activemimic_bringup.launching.graph import GRAPHS, Argument, GraphError, NodeSpec
from activemimic_bringup.launching.parameters import NODES
from activemimic_bringup.launching.processes import command_line

LAUNCH_FOLDER = Path(__file__).parents[3] / "launch"

# Every optional node is in one of these.
CHOICES = [
    ("sim", {}),
    ("sim", {"checkpoint": "a", "out": "b", "seed": "3", "rate_hz": "60", "diagnostics": "/robot/diagnostics"}),
    ("policy", {"checkpoint": "a", "instruction": "yes"}),
    ("record", {}),
    ("record", {"sim": "true"}),
    ("evaluate", {"checkpoint": "a", "episodes": "b"}),
    ("evaluate", {"mode": "expert"}),
]


@pytest.mark.parametrize(
    ("name", "texts", "nodes"),
    [
        ("sim", {}, "sim controller"),
        ("sim", {"checkpoint": "a"}, "sim controller policy"),
        ("sim", {"out": "a"}, "sim controller recorder"),
        ("policy", {"checkpoint": "a"}, "controller policy"),
        ("record", {}, "controller recorder"),
        ("record", {"sim": "true"}, "sim controller recorder"),
        ("evaluate", {"checkpoint": "a"}, "sim controller policy evaluator"),
        ("evaluate", {"mode": "expert", "episodes": "a"}, "sim controller recorder evaluator"),
    ],
)
def test_the_arguments_decide_which_nodes_run(name: str, texts: Mapping[str, str], nodes: str) -> None:
    assert [spec.name for spec in GRAPHS[name].specs(texts)] == nodes.split()


def test_the_controller_outlives_its_neighbours_where_somebody_watches() -> None:
    for name, texts in CHOICES:
        essential = {spec.name for spec in GRAPHS[name].specs(texts) if spec.essential}
        everybody = {spec.name for spec in GRAPHS[name].specs(texts)}
        assert essential == (everybody if name == "evaluate" else {"controller"})


def test_a_policy_is_started_again_only_if_that_was_asked_for() -> None:
    for name in ("sim", "policy"):
        for text in ("true", "false"):
            specs = GRAPHS[name].specs({"checkpoint": "a", "respawn_policy": text})
            assert [spec.name for spec in specs if spec.respawn] == (["policy"] if text == "true" else [])


@pytest.mark.parametrize(("name", "texts"), CHOICES)
def test_every_parameter_of_a_graph_is_declared_by_its_node_with_its_type(name: str, texts: Mapping[str, str]) -> None:
    for spec in GRAPHS[name].specs(texts):
        if spec.name == "sim":
            continue  # declares its own: held against the running node in tests/integration
        declared = {parameter.name: type(parameter.default) for parameter in NODES[spec.name]}
        given = {parameter: type(value) for parameter, value in spec.parameters.items()}
        assert given.items() <= declared.items()


def test_every_module_of_a_graph_exists() -> None:
    for name, texts in CHOICES:
        for spec in GRAPHS[name].specs(texts):
            assert importlib.util.find_spec(spec.module) is not None, spec.module


def test_where_the_simulator_is_the_policy_is_told_the_tasks_words_unless_others_are_given() -> None:
    for name in ("sim", "evaluate"):
        for words, told in (("", "find the yogurt, grasp it and lift it"), ("look left", "look left")):
            texts = {"checkpoint": "a", "task": "finding", "instruction": words}
            specs = {spec.name: spec for spec in GRAPHS[name].specs(texts)}
            assert specs["policy"].parameters["instruction"] == told
    assert specs["evaluator"].parameters["instruction"] == "look left"


def test_a_real_robot_stays_still_until_it_is_armed() -> None:
    for name in ("policy", "record", "evaluate"):
        (controller,) = (spec for spec in GRAPHS[name].specs({}) if spec.name == "controller")
        assert controller.parameters["start_running"] is False


@pytest.mark.parametrize(
    ("name", "texts", "words"),
    [
        ("sim", {"colour": "red"}, "graph sim has no argument 'colour'; it has: contract, task"),
        ("sim", {"seed": "many"}, "argument seed: expected a whole number, found 'many'"),
        ("sim", {"running": "perhaps"}, "argument running: expected true or false, found 'perhaps'"),
        (
            "sim",
            {"task": "juggling"},
            "argument task: expected one of restocking, reaching, finding, pouring, found 'juggling'",
        ),
    ],
)
def test_a_wrong_argument_is_named(name: str, texts: Mapping[str, str], words: str) -> None:
    with pytest.raises(GraphError) as caught:
        GRAPHS[name].specs(texts)
    assert words in str(caught.value)


def test_an_unknown_graph_is_answered_with_those_there_are() -> None:
    with pytest.raises(GraphError, match="there are: sim, policy, record, evaluate"):
        graphs.graph("dance")


def test_the_users_own_fast_dds_profile_is_left_alone() -> None:
    assert graphs.shared_environment({}) == {"FASTRTPS_DEFAULT_PROFILES_FILE": str(graphs.FASTDDS_PROFILE)}
    assert graphs.shared_environment({"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"}) == {}
    assert graphs.FASTDDS_PROFILE.is_file()


def test_nodes_are_seen_on_this_computer_alone_unless_the_user_says_otherwise() -> None:
    localhost, subnet = ({"ROS_AUTOMATIC_DISCOVERY_RANGE": name} for name in ("LOCALHOST", "SUBNET"))
    assert graphs.discovery_environment("localhost", {}) == localhost
    assert graphs.discovery_environment("subnet", localhost) == subnet
    assert graphs.discovery_environment("inherit", {}) == {}
    for chosen in (subnet, {"ROS_STATIC_PEERS": "robot"}, {"ROS_LOCALHOST_ONLY": "0"}):
        assert graphs.discovery_environment("localhost", chosen) == {}
    assert graphs.discovery_environment("localhost", {"ROS_DISTRO": "humble"}) == {"ROS_LOCALHOST_ONLY": "1"}
    assert graphs.discovery_environment("subnet", {"ROS_DISTRO": "humble"}) == {"ROS_LOCALHOST_ONLY": "0"}
    for spec in GRAPHS["sim"].specs({"discovery": "subnet"}):
        assert spec.environment.items() >= subnet.items()


def test_the_operators_key_is_named_to_those_who_use_it() -> None:
    specs = {spec.name: spec for spec in GRAPHS["evaluate"].specs({"operator_key_file": "key", "checkpoint": "a"})}
    assert {name for name, spec in specs.items() if spec.parameters.get("operator_key_file") == "key"} == {
        "controller",
        "evaluator",
    }


def test_every_node_gets_its_enclave_of_a_keystore(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="has no enclave /activemimic/sim"):
        GRAPHS["sim"].specs({"security": str(tmp_path)})
    for node in ("sim", "controller"):
        (tmp_path / "enclaves" / "activemimic" / node).mkdir(parents=True)
    for spec in GRAPHS["sim"].specs({"security": str(tmp_path)}):
        assert spec.environment["ROS_SECURITY_KEYSTORE"] == str(tmp_path)
        assert spec.environment["ROS_SECURITY_STRATEGY"] == "Enforce"
        assert spec.environment["ROS_SECURITY_ENABLE"] == "true"
        line = command_line(spec)
        assert line[line.index("--enclave") + 1] == f"/activemimic/{spec.name}"


def test_a_command_line_keeps_strings_strings() -> None:
    spec = NodeSpec("n", "p", "e", "m", {"text": 'yes "1"', "number": 2, "flag": True}, (("/a", "/b"),))
    assert command_line(spec) == [
        *(sys.executable, "-m", "m", "--ros-args", "-r", "__node:=n", "-r", "/a:=/b"),
        *("-p", 'text:="yes \\"1\\""', "-p", "number:=2", "-p", "flag:=true"),
    ]


def test_every_launch_file_is_a_graph_and_every_graph_has_one() -> None:
    assert {path.name for path in LAUNCH_FOLDER.glob("*.launch.py")} == {f"{name}.launch.py" for name in GRAPHS}


@pytest.mark.parametrize(("name", "texts"), CHOICES)
def test_launch_and_up_start_the_same_nodes(name: str, texts: Mapping[str, str]) -> None:
    pytest.importorskip("launch_ros", reason="needs launch and launch_ros (not on PyPI): a ROS installation")
    described = described_by_launch(name, texts)
    expected = {
        spec.name: (
            f"{spec.package}/{spec.executable}",
            dict(spec.parameters),
            set(spec.remappings),
            dict(spec.environment),
        )
        for spec in GRAPHS[name].specs(texts)
    }
    assert described == expected


def test_launch_declares_the_graphs_arguments() -> None:
    pytest.importorskip("launch_ros", reason="needs launch and launch_ros (not on PyPI): a ROS installation")
    from launch.actions import DeclareLaunchArgument

    for name, graph in GRAPHS.items():
        declared = [entity for entity in load(name).entities if isinstance(entity, DeclareLaunchArgument)]
        assert [entity.name for entity in declared] == [argument.name for argument in graph.arguments]
        for entity, argument in zip(declared, graph.arguments, strict=True):
            assert entity.description.startswith(argument.description)  # launch adds the choices
            assert argument.parse("".join(part.text for part in entity.default_value)) == argument.default
            assert tuple(entity.choices or ()) == argument.choices


def described_by_launch(name: str, texts: Mapping[str, str]) -> dict[str, tuple]:
    """What `ros2 launch` would start, taken from launch_ros' own actions, as {name: …}."""
    import yaml
    from launch.actions import OpaqueFunction, SetEnvironmentVariable
    from launch.utilities import perform_substitutions

    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update({a.name: default_text(a) for a in GRAPHS[name].arguments} | dict(texts))
    entities = load(name).entities
    for entity in entities:
        if isinstance(entity, SetEnvironmentVariable):
            entity.execute(context)
    if "FASTDDS_DEFAULT_PROFILES_FILE" not in context.environment:
        assert "FASTRTPS_DEFAULT_PROFILES_FILE" in context.environment
    (make_nodes,) = (entity for entity in entities if isinstance(entity, OpaqueFunction))
    found = {}
    for action in make_nodes.execute(context):
        action._perform_substitutions(context)
        parameters: dict = {}
        for argument, is_file in action._Node__expanded_parameter_arguments:
            assert is_file
            for content in yaml.safe_load(Path(argument).read_text()).values():
                parameters |= content["ros__parameters"]
        environment = {
            perform_substitutions(context, key): perform_substitutions(context, value)
            for key, value in action.additional_env or []
        }
        found[action._Node__expanded_node_name] = (
            f"{action.node_package}/{action.node_executable}",
            parameters,
            set(action.expanded_remapping_rules or ()),
            environment,
        )
    return found


def default_text(argument: Argument) -> str:
    return str(argument.default).lower() if isinstance(argument.default, bool) else str(argument.default)


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"{name}_launch", LAUNCH_FOLDER / f"{name}.launch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()
